"""docs/published.md: its commands run, its code runs, its cells are one cell."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from helpers import cell_spec, compiled
from typer.testing import CliRunner

from nasforge.cli.main import app
from nasforge.graph.canonical import canonical_digest
from nasforge.kinds import conv_cell, macro_network, recurrent_cell
from nasforge.plugins import build_plugins
from nasforge.published import read, write
from nasforge.spec.run_spec import load_run_spec, load_space_spec

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "published.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S) for line in block.splitlines()]
CELLS = dict(re.findall(r"^(enas-ptb|enas-pytorch|darts-rnn) {2,}(.+)$", PAGE, re.M))
CONV_CELLS = dict(re.findall(r"^(enas-micro|darts-cnn) {2,}(.+)$", PAGE, re.M))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spaces").symlink_to(ROOT / "spaces")
    monkeypatch.chdir(tmp_path)
    name, *arguments = shlex.split(command)
    assert name == "nasforge"
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert done.output.strip()


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 11


def test_the_cells_of_the_page_are_one_cell() -> None:
    spec = load_run_spec(ROOT / "spaces" / "ptb_rnn.yaml", build_plugins())
    graph = compiled(cell_spec(12))
    assert len(CELLS) == 3
    assert len({canonical_digest(graph, read(name, text, spec)) for name, text in CELLS.items()}) == 1


def test_the_python_of_the_page_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    exec(compile(code, "docs/published.md", "exec"), {})
    assert capsys.readouterr().out.startswith("node2 Genotype(recurrent=[('tanh', 0), ")


def test_every_encoding_is_in_the_table() -> None:
    kinds = (recurrent_cell.KIND, conv_cell.KIND, macro_network.KIND)
    found = re.findall(r"^\| `([\w-]+)` \| (?:the authors'|DARTS|ENAS)", PAGE, re.M)
    assert found == [name for kind in kinds for name in kind.encodings]


def test_the_convolutional_cells_of_the_page_are_one_architecture() -> None:
    spec = load_space_spec(ROOT / "spaces" / "cifar10_micro.yaml", build_plugins())
    assert list(CONV_CELLS) == ["enas-micro", "darts-cnn"]
    assert len({read(name, text, spec) for name, text in CONV_CELLS.items()}) == 1
    for name, text in CONV_CELLS.items():
        assert write(name, read(name, text, spec), spec) == text


def test_the_operations_of_the_page_are_those_of_the_encodings() -> None:
    """Each row of the table is read as a cell of one node, in a space that offers only its operation."""
    rows = re.findall(r"^\| `([\w:{} ,]+)` \| (\d?) ?\| `(\w+)` \|$", PAGE, re.M)
    assert [number for _, number, _ in rows if number] == ["0", "1", "2", "3", "4"]
    assert [name for *_, name in rows] == [
        *("sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "avg_pool_3x3", "max_pool_3x3"),
        *("skip_connect", "dil_conv_3x3", "dil_conv_5x5"),
    ]
    for operation, number, name in rows:
        overrides = ["space.nodes=1", "space.cells=[normal]", f"space.each.op={{choose: 1, from: [{operation}]}}"]
        spec = load_space_spec(ROOT / "spaces" / "cifar10_micro.yaml", build_plugins(), overrides=overrides)
        pairs = f"[('{name}', 0), ('{name}', 1)]"
        architecture = read("darts-cnn", f"Genotype(normal={pairs}, normal_concat=[2])", spec)
        if number:
            assert write("enas-micro", architecture, spec) == f"0 {number} 1 {number}"


def test_the_macro_network_of_the_page_is_read() -> None:
    (text,) = re.findall(r"^```text\n([0-9 \n]+)^```$", PAGE, re.M)
    overrides = ["space.layers=24", "space.reduce_after=[8, 16]"]
    assert 'space.layers=24 "space.reduce_after=[8, 16]"' in PAGE
    spec = load_space_spec(ROOT / "spaces" / "cifar10_macro.yaml", build_plugins(), overrides=overrides)
    assert write("enas-macro", read("enas-macro", text, spec), spec).split() == text.split()
