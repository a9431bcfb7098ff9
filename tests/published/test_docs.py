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
from nasforge.kinds.recurrent_cell import KIND
from nasforge.plugins import build_plugins
from nasforge.published import read
from nasforge.spec.run_spec import load_run_spec

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "published.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S) for line in block.splitlines()]
CELLS = dict(re.findall(r"^(enas-\w+|darts-rnn) {2,}(.+)$", PAGE, re.M))


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
    assert len(COMMANDS) == 5


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
    assert re.findall(r"^\| `([\w-]+)` \|", PAGE, re.M) == list(KIND.encodings)
