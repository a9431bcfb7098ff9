"""Limits on the command line: what check says, what sample and show give and refuse, and how nothing is left."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from helpers import cell
from toy import nasforge, write_toy

from nasforge.graph.limits import depth
from nasforge.ops.recurrent import OPERATIONS

KNOWN = {operation.name: operation for operation in OPERATIONS}
TANHS = "limits.count.tanh=1"


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_toy(tmp_path)


def sampled(toy: Path, *arguments: str) -> list[dict[str, str]]:
    done = nasforge("sample", toy, *arguments, cwd=toy.parent)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["decisions"] for line in done.stdout.splitlines()]


def test_check_says_how_many_are_within_and_counts_those(toy: Path) -> None:
    everything = cell(3, ops=("tanh", "relu", "identity")).space.everything()
    flat = [each for each in everything if depth(cell(3), each, KNOWN) == 2]
    arguments = ("check", toy, "limits.depth=2")
    (report,) = json.loads(nasforge(*arguments, "--json", cwd=toy.parent).stdout)
    assert (report["size"], report["drawn"], report["within"], report["counted"]) == (54, 54, len(flat), len(flat))
    assert report["limits"] == {
        "parameters": None,
        "flops": None,
        "depth": 2,
        "latency_ms": None,
        "count": {},
    }
    text = nasforge(*arguments, cwd=toy.parent).stdout
    assert "limits: 27 of all 54 are within them" in text
    assert "all 27 architectures within the limits:" in text
    (without,) = json.loads(nasforge("check", toy, "--json", cwd=toy.parent).stdout)
    assert without["limits"] is None and (without["drawn"], without["within"], without["counted"]) == (54, 54, 54)
    assert "limits" not in nasforge("check", toy, cwd=toy.parent).stdout


def test_check_draws_within_the_limits_of_a_large_space(toy: Path) -> None:
    arguments = ("check", toy, "space.nodes=10", "limits={depth: 5, flops: {min: 1.7k}}")
    (report,) = json.loads(nasforge(*arguments, "--json", cwd=toy.parent).stdout)
    assert report["drawn"] == 1000 and 0 < report["within"] < 1000 and report["counted"] == 1000
    assert report["flops"]["min"] >= 1700
    text = nasforge(*arguments, cwd=toy.parent).stdout
    assert f"limits: {report['within']} of 1,000 drawn uniformly (seed 0) are within them" in text
    assert "1,000 architectures within the limits drawn uniformly (seed 0):" in text


def test_sample_and_show_draw_within_the_limits(toy: Path) -> None:
    drawn = sampled(toy, TANHS, "-n", "30")
    assert all(list(each.values()).count("tanh") <= 1 for each in drawn)
    assert any(list(each.values()).count("tanh") > 1 for each in sampled(toy, "-n", "30"))
    for seed in range(3):
        shown = nasforge("show", toy, TANHS, "--seed", str(seed), "--to", "json", cwd=toy.parent)
        assert list(json.loads(shown.stdout).values()).count("tanh") <= 1


def test_show_refuses_an_architecture_outside_with_the_sentences(toy: Path) -> None:
    text = json.dumps({f"node{n}.op": "tanh" for n in range(3)} | {"node1.input": "node0", "node2.input": "node1"})
    assert nasforge("show", toy, "--from", "json", text, cwd=toy.parent).returncode == 0
    done = nasforge("show", toy, TANHS, "limits.depth=2", "--from", "json", text, cwd=toy.parent)
    assert done.returncode == 2 and done.stdout == ""
    assert "outside the limits of this space: depth: 3 are more than 2; count of tanh: 3 are more than 1" in done.stderr


@pytest.mark.parametrize(
    ("command", "rest"), [("check", ()), ("sample", ()), ("show", ("--seed", "0")), ("run", ("--run-dir", "made"))]
)
@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("{parameters: 100}", "parameters failed"),
        ("{count: {tanh: {min: 2}, relu: {min: 2}}}", "count of tanh failed"),
    ],
)
def test_limits_that_leave_nothing_end_soon_and_clearly(
    command: str, rest: tuple[str, ...], limits: str, said: str, toy: Path
) -> None:
    toy.write_text(toy.read_text() + f"limits: {limits}\n")
    start = time.monotonic()
    done = nasforge(command, toy, *rest, cwd=toy.parent)
    seconds = time.monotonic() - start
    assert done.returncode == 2 and "Traceback" not in done.stderr
    line = len(toy.read_text().splitlines())
    assert f"toy.yaml:{line}:9: of " in done.stderr and "none is within the limits" in done.stderr
    assert said in done.stderr and "Widen these limits" in done.stderr
    assert not (toy.parent / "made").exists()
    # Starting Python takes the larger part.
    assert seconds < 4


def test_a_space_whose_limits_leave_nothing_can_still_be_looked_at(toy: Path) -> None:
    assert nasforge("show", toy, "limits.parameters=1", cwd=toy.parent).returncode == 0


def test_limits_without_shapes_are_refused_where_they_need_them(toy: Path) -> None:
    text = toy.read_text()
    toy.write_text(
        text[: text.index("task:")] + text[text.index("strategy:") :] + "limits: {parameters: 5M, depth: 3}\n"
    )
    done = nasforge("check", toy, cwd=toy.parent)
    assert done.returncode == 2 and "limits on parameters cannot be checked" in done.stderr
    assert "toy.yaml:13:9" in done.stderr
    done = nasforge("check", toy, "limits.parameters=null", cwd=toy.parent)
    assert done.returncode == 0 and "within them" in done.stdout


def test_a_faulty_file_and_one_whose_limits_leave_nothing_are_both_reported(toy: Path) -> None:
    other = toy.parent / "other.yaml"
    other.write_text(toy.read_text().replace("tanh", "tahn"))
    toy.write_text(toy.read_text() + "limits: {depth: {min: 9}}\n")
    done = nasforge("check", toy, other, cwd=toy.parent)
    assert done.returncode == 2 and "none is within" in done.stderr and "'tahn'" in done.stderr


def test_check_warns_where_limits_leave_so_little_that_a_draw_may_find_none() -> None:
    space = Path(__file__).parents[2] / "spaces" / "ptb_rnn.yaml"
    rare, common = (
        nasforge("check", space, f"limits={{count: {{tanh: {{min: {least}}}}}}}", cwd=space.parent).stdout
        for least in (10, 3)
    )
    assert "limits: 0 of 1,000" in rare and "2 architectures within the limits" in rare and "may find none" in rare
    assert "may find none" not in common
