"""Runs of several processes that torchrun starts: the same files as ever, from the first of them alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from teams import on_two
from toy import nasforge, write_toy

from nasforge.errors import UsageError
from nasforge.executors.team import Team
from nasforge.plugins import build_plugins
from nasforge.run.directory import RunDirectory
from nasforge.run.group import Group, group_here, refuse_for_ranks, require_ranks
from nasforge.run.member import _agree, _problem
from nasforge.run.start import versions
from nasforge.spec.run_spec import load_run_spec

TWO = Group(0, 2, 0, 600.0)
SHORT = ("derive.shortlist=1", "derive.candidates=3", "compare.random=false", "compare.references=false")
# What the second rank does to files, seen from inside: the lines are written before the plugin's own file is closed.
SPY = """\
import os, sys
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
if os.environ.get("RANK") == "1":
    log = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, b"watching\\n")
    def watch(event, arguments):
        if (event == "open" and arguments[2] & WRITING) or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"):
            os.write(log, f"{{event}} {{arguments[0]}}\\n".encode())
    sys.addaudithook(watch)
"""


def torchrun(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "nasforge"]
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A finished run of two ranks, and what it printed."""
    folder = tmp_path_factory.mktemp("two")
    write_toy(folder)
    (folder / "spy.py").write_text(SPY.format(log=str(folder / "spied")))
    done = torchrun("run", "toy.yaml", *SHORT, "--plugin", "spy.py", "--run-dir", "first", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "first", done


def test_ranks_leave_what_one_process_leaves(two: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    run, done = two
    facts = json.loads((run / "run.json").read_text())
    assert (facts["status"], facts["ranks"], facts["workers"]) == ("done", 2, 1)
    for name in ("weights.safetensors", "model.py", "vocabulary.txt", "cell.svg"):
        assert (run / "best" / name).is_file()
    result = json.loads((run / "result.json").read_text())
    assert done.stdout.count(result["verdict"]["text"]) == 1
    assert done.stdout.count("search (enas): started") == 1
    # Two passes of the search over what fills 2 * 8 columns: half as many steps, as many words.
    tokens = result["data"]["tokens"]["train"]
    per_epoch = -(-(tokens // 16 - 1) // 10)
    assert result["search"]["child_steps"] == 2 * per_epoch
    assert result["search"]["tokens"] == 2 * 16 * (tokens // 16 - 1)


def test_ranks_train_an_architecture_each_where_the_strategy_says_so(
    two: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    run, _ = two
    done = torchrun("run", "toy.yaml", *SHORT, "strategy.architectures=per_rank", "--run-dir", "own", cwd=run.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    shared, own = (json.loads((path / "result.json").read_text()) for path in (run, run.parent / "own"))
    assert own["search"]["child_steps"] == 2 * shared["search"]["child_steps"]
    assert own["search"]["tokens"] == shared["search"]["tokens"]
    assert own["best"]["proxy"] != shared["best"]["proxy"]


def test_only_the_first_rank_writes(two: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    run, _ = two
    watching, *seen = (run.parent / "spied").read_text().splitlines()
    assert watching == "watching"
    assert [line for line in seen if str(run.parent) in line] == []
    assert [path.name for path in (run / "logs").iterdir()] == ["worker-0.log"]


@pytest.mark.slow
def test_a_run_of_two_ranks_can_be_repeated_and_resumed(two: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    run, _ = two
    again = run.parent / "again"
    shutil.copytree(run, again)
    shutil.rmtree(again / "checkpoints")
    (again / "result.json").unlink()
    alone = nasforge("resume", again, cwd=run.parent)
    assert alone.returncode == 2 and "began with 2 rank(s), and here are 1" in alone.stderr
    assert f"torchrun --nproc-per-node 2 -m nasforge resume {again}" in alone.stderr
    done = torchrun("resume", "again", cwd=run.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("journal.jsonl", "result.json", "best/weights.safetensors"):
        assert (again / name).read_bytes() == (run / name).read_bytes()


def test_ranks_are_told_when_no_job_is_left(two: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    run, _ = two
    last = run.parent / "last"
    shutil.copytree(run, last)
    (last / "result.json").unlink()
    done = torchrun("resume", "last", cwd=run.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (last / "result.json").read_bytes() == (run / "result.json").read_bytes()


# When a rank is gone -------------------------------------------------------------------------------------------------


@pytest.fixture
def ranks(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Two ranks in a long training, started by hand: torchrun itself ends the others when one ends."""
    write_toy(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "nasforge", "run", "toy.yaml", *SHORT, "train.epochs=1000", "--run-dir", "run"]
    here = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NASFORGE_GROUP_TIMEOUT": "60"}
    started = [
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, **here, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "checkpoints" / "search").exists():
        assert time.monotonic() < deadline and all(rank.poll() is None for rank in started)
        time.sleep(0.05)
    yield started
    for rank in started:
        rank.kill()
        rank.communicate()


def test_the_first_rank_says_that_another_was_killed(ranks: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    ranks[1].send_signal(signal.SIGKILL)
    _, errors = ranks[0].communicate(timeout=60)
    assert ranks[0].returncode == 1
    assert "rank 0 of 2: another rank of this run has ended or does not answer" in errors
    assert "Traceback" not in errors and ".cc" not in errors
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"
    assert (tmp_path / "run" / "checkpoints" / "search" / "manifest.json").exists()


def test_another_rank_says_that_the_first_was_killed(ranks: list[subprocess.Popen[str]]) -> None:
    ranks[0].send_signal(signal.SIGKILL)
    output, errors = ranks[1].communicate(timeout=60)
    assert ranks[1].returncode == 1 and output == ""
    assert "rank 1 of 2: another rank of this run has ended or does not answer" in errors
    assert "Traceback" not in errors


# What is refused -----------------------------------------------------------------------------------------------------


def test_the_environment_says_which_rank_this_is() -> None:
    assert group_here({}) == group_here({"WORLD_SIZE": "1", "RANK": "0"}) == Group(0, 1, 0, 600.0)
    said = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    assert group_here({**said, "NASFORGE_GROUP_TIMEOUT": "2.5"}) == Group(3, 4, 1, 2.5)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "2", "RANK": "0"}, "LOCAL_RANK, MASTER_ADDR, MASTER_PORT is not set; start them with torchrun"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two in the environment: a number is needed"),
        ({"NASFORGE_GROUP_TIMEOUT": "-1"}, "NASFORGE_GROUP_TIMEOUT=-1: a number of seconds above 0"),
        ({"NASFORGE_GROUP_TIMEOUT": "soon"}, "NASFORGE_GROUP_TIMEOUT=soon in the environment: a number"),
    ],
)
def test_an_environment_that_says_half_of_it_is_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        group_here(environment)


def test_what_several_ranks_cannot_do_is_refused(tmp_path: Path) -> None:
    spec = load_run_spec(write_toy(tmp_path), build_plugins(), overrides=("workers=2",))
    with pytest.raises(UsageError, match="workers: 2 means nothing for 2 ranks"):
        refuse_for_ranks(TWO, spec, "cpu")
    with pytest.raises(UsageError, match="--device cuda:1: each of the 2 ranks takes a device of its own"):
        refuse_for_ranks(TWO, load_run_spec(tmp_path / "toy.yaml", build_plugins()), "cuda:1")
    refuse_for_ranks(Group(0, 1, 0, 600.0), spec, "cuda:1")


def test_a_run_goes_on_with_as_many_ranks_as_it_began_with(tmp_path: Path) -> None:
    require_ranks(tmp_path, {"ranks": 2}, TWO)
    require_ranks(tmp_path, {}, Group(0, 1, 0, 600.0))
    with pytest.raises(UsageError, match=r"began with 1 rank\(s\), and here are 2.* continue with: nasforge resume"):
        require_ranks(tmp_path, {}, TWO)


def test_a_rank_that_cannot_take_part_says_why(two: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    run, _ = two
    told: dict[str, Any] = {"started": RunDirectory(run).read_run()["started"], "versions": versions()}
    assert _problem(RunDirectory(run), told) == ""
    elsewhere = RunDirectory(run / "elsewhere")
    assert "it does not see the run directory" in _problem(elsewhere, told)
    assert "it does not see the run directory" in _problem(RunDirectory(run), {**told, "started": "then"})
    other = {**versions(), "torch": "1.0"}
    assert "other versions than rank 0 (torch" in _problem(RunDirectory(run), {**told, "versions": other})


def _disagrees(team: Team, folder: Path) -> None:
    _agree(team, "")
    with pytest.raises(UsageError, match=r"^rank 1 of 2 on \S+: it has no data$"):
        _agree(team, "it has no data" if team.rank else "")


def test_all_ranks_say_what_is_wrong_with_one(tmp_path: Path) -> None:
    on_two(_disagrees, tmp_path)
