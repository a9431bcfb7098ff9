"""``nasforge show --from`` and ``--to``."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from toy import nasforge
from typer.testing import CliRunner

from nasforge.cli.main import app
from nasforge.errors import NasforgeError

ROOT = Path(__file__).parents[2]
SPACE = str(ROOT / "spaces" / "ptb_rnn.yaml")
PTB = "0 0 0 1 1 2 1 2 0 2 0 5 1 1 0 6 1 8 1 8 1 8 1"
SMALL = (SPACE, "--from", "enas-ptb", "0 0 3", "space.nodes=2")


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["show", *arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def refused(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["show", *arguments])
    assert isinstance(done.exception, NasforgeError) and done.exception.exit_code == 2, done.exception
    return str(done.exception)


def test_a_published_cell_is_shown_in_text_and_as_a_picture(tmp_path: Path) -> None:
    text = shown("--from", "enas-ptb", PTB, SPACE)
    assert "h = mean(node 3, node 4, node 7, node 9, node 10, node 11)" in text
    starts = {"svg": b"<", "png": b"\x89PNG", "dot": b"digraph", "gv": b"digraph", "mmd": b"---", "mermaid": b"---"}
    for ending, start in starts.items():
        file = tmp_path / f"cell.{ending}"
        shown("--from", "enas-ptb", PTB, SPACE, "-o", str(file))
        assert file.read_bytes().startswith(start)
        shown("--from", "enas-ptb", PTB, SPACE, "--space", "-o", str(file))


@pytest.mark.parametrize(("format_", "mark"), [("dot", "n0 -> n2;"), ("mermaid", "n0 --> n2")])
def test_graphviz_and_mermaid_go_to_the_terminal(format_: str, mark: str) -> None:
    cell, overlaid = shown(*SMALL, "--format", format_), shown(*SMALL, "--space", "--format", format_)
    assert mark in cell and mark in overlaid
    assert "relu</" not in cell and "<b>sigmoid</b>" in overlaid and "<b>relu</b>" not in overlaid
    assert "identity" in shown(SPACE, "--format", format_)


def test_overrides_follow_the_file() -> None:
    assert "h = node 1" in shown(*SMALL)
    assert shown(SPACE, "space.nodes=2", "--seed", "3", "--to", "enas-ptb").count(" ") == 2


def test_one_code_s_cell_is_written_as_another_s(tmp_path: Path) -> None:
    assert shown(*SMALL, "--to", "enas-ptb") == "0 0 3\n"
    assert shown(*SMALL, "--to", "enas-lm") == "0 2\n"
    assert shown(*SMALL, "--to", "darts-rnn") == "Genotype(recurrent=[('sigmoid', 0)], concat=[1])\n"
    file = tmp_path / "dag.json"
    shown(*SMALL, "--to", "enas-pytorch", "-o", str(file))
    assert json.loads(file.read_text())["0"] == [[1, "sigmoid"]]
    assert shown(SPACE, "space.nodes=2", "--from", "enas-pytorch", file.read_text(), "--to", "enas-ptb") == "0 0 3\n"


def test_runs_and_architecture_files_are_written_too(
    toy_run: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    run, _ = toy_run
    text = shown(str(run), "--to", "enas-ptb")
    assert len(text.split()) == 5
    assert text == shown(str(run / "best" / "architecture.json"), "--to", "enas-ptb")
    file = tmp_path / "cell.txt"
    shown(str(run), "--to", "enas-ptb", "-o", str(file))
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*SMALL, "--format", "mermade"), "use text, svg, png, dot, mermaid. Did you mean 'mermaid'?"),
        ((SPACE, "--from", "enas-pbt", PTB), "unknown encoding 'enas-pbt'. Did you mean 'enas-ptb'?"),
        ((*SMALL, "--to", "darts"), "unknown encoding 'darts'. Did you mean 'darts-rnn'?"),
        (
            (SPACE, "--from", "enas-ptb", "0 0 3"),
            "a cell of 2 nodes, the space has 12 nodes; the override space.nodes=2",
        ),
        ((SPACE, "--from", "enas-ptb", "0 0"), "enas-ptb: 2 numbers"),
        ((*SMALL, "--seed", "1"), "--from and --seed both say"),
        ((SPACE, "--to", "enas-ptb"), "say which with --from NAME TEXT or --seed N"),
        ((*SMALL, "--to", "enas-ptb", "--format", "svg"), "--to writes text"),
        ((*SMALL, "--to", "enas-ptb", "--space"), "--to writes text"),
        ((*SMALL, "--to", "enas-ptb", "-o", "y.svg"), "--to writes text, but -o y.svg names a picture"),
        ((*SMALL, "--to", "enas-ptb", "-o", "y.gv"), "--to writes text, but -o y.gv names a picture"),
        ((*SMALL, "--format", "png", "-o", "x.svg"), "--format png contradicts the ending of -o x.svg"),
        ((*SMALL, "--format", "svg", "-o", "x.PNG"), "--format svg contradicts the ending of -o x.PNG"),
        ((SPACE, "space.nodez=3"), "unknown key 'nodez'"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: tuple[str, ...], said: str) -> None:
    assert said in refused(*arguments)


def test_architectures_take_neither_overrides_nor_texts(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("{}")
    assert "'space.nodes=3' needs a space file" in refused(str(file), "space.nodes=3")
    assert "--from needs a space file" in refused(str(tmp_path), "--from", "enas-ptb", "0")


def test_endings_that_say_the_same_or_nothing_go_with_a_format(tmp_path: Path) -> None:
    for name, format_ in (("a.gv", "dot"), ("a.SVG", "svg"), ("a.md", "mermaid"), ("a", "svg")):
        shown(*SMALL, "--format", format_, "-o", str(tmp_path / name))
        assert (tmp_path / name).stat().st_size


def test_a_missing_folder_is_named_and_nothing_else(tmp_path: Path) -> None:
    done = nasforge("show", *SMALL, "-o", "no/such/x.svg", cwd=tmp_path)
    assert done.returncode == 4
    assert done.stderr == "-o no/such/x.svg: the folder no/such does not exist; create it first\n"
    (tmp_path / "x.svg").mkdir()
    done = nasforge("show", *SMALL, "-o", "x.svg", cwd=tmp_path)
    assert done.returncode == 4 and "x.svg: cannot be written" in done.stderr and "--run-dir" not in done.stderr


def test_an_error_has_no_traceback() -> None:
    done = nasforge("show", SPACE, "--from", "enas-ptb", "0 0 7", cwd=ROOT)
    assert done.returncode == 2 and "number 3 is 7, the operation of node 1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_line_of_sample_is_shown_and_written_as_any_other_encoding() -> None:
    done = CliRunner().invoke(app, ["sample", SPACE, "space.nodes=3", "-n", "3", "--seed", "5"])
    assert done.exit_code == 0, done.output
    for line in done.output.splitlines():
        decisions = json.loads(line)["decisions"]
        assert len(decisions) == 5
        text = shown(SPACE, "space.nodes=3", "--from", "json", line, "--to", "enas-ptb").strip()
        assert json.loads(shown(SPACE, "space.nodes=3", "--from", "enas-ptb", text, "--to", "json")) == decisions
        assert json.loads(shown(SPACE, "space.nodes=3", "--from", "json", json.dumps(decisions), "--to", "json")) == (
            decisions
        )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "json: not JSON: {"),
        ("[1]", "it must be a mapping of decisions to options"),
        ('{"node0.op": 3}', "it must be a mapping of decisions to options"),
        ('{"decisions": ["tanh"]}', "it must be a mapping of decisions to options"),
        ("{}", "'node0.op' is missing; one of tanh, relu, sigmoid, identity"),
        (
            '{"node0.op": "tahn"}',
            "'node0.op' cannot be 'tahn'; one of tanh, relu, sigmoid, identity. Did you mean 'tanh'?",
        ),
        ('{"node0.op": "tanh", "node1.op": "tanh"}', "there is no decision 'node1.op'"),
        ("[" * 100_000, "json: not JSON"),
    ],
)
def test_decisions_that_are_none_of_the_space_are_refused(text: str, said: str) -> None:
    assert said in refused(SPACE, "space.nodes=1", "--from", "json", text)


def test_a_run_is_shown_with_the_plugin_files_that_it_began_with(
    toy_run: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from nasforge.components import activation\n"
        "from nasforge.hookspecs import hookimpl\n"
        "@hookimpl\n"
        "def nasforge_operations():\n"
        "    return [activation('mine', 'mine', 'nasforge.ops.recurrent_torch:tanh', 'torch.tanh({x})')]\n"
    )
    run = tmp_path / "run"
    shutil.copytree(toy_run[0], run)
    for path in (run / "best" / "architecture.json", run / "run.json"):
        facts = json.loads(path.read_text())
        if path.name == "run.json":
            facts["plugin_files"] = [str(plugin)]
        else:
            facts["space"]["each"]["op"]["from"].append("mine")
            facts["decisions"]["node2.op"] = "mine"
        path.write_text(json.dumps(facts))
    done = nasforge("show", run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mine" in done.stdout
