"""``nasforge check`` and the number of distinct architectures: by a formula, by listing, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nasforge.cli.main import app
from nasforge.errors import SpecError

SPACES = Path(__file__).parents[2] / "spaces"

SHARED = """\
nasforge: 1
name: shared
space:
  kind: conv_cell
  image: [1, 8, 8]
  let: {k: {choose: 1, from: [3, 5]}}
  cells: [normal]
  nodes: 2
  each:
    op: {choose: 1, from: [identity, conv: {kernel: {use: k}}, sep_conv: {kernel: {use: k}}]}
  stack: {normal: 24, reductions: 0, channels: 8}
"""
"""5,832 architectures. Each kernel has acyclic_cells(2, 2, 2, 3) = 735 cells, of which the 15 of identity are the same."""


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    path = tmp_path / "shared.yaml"
    path.write_text(SHARED, encoding="utf-8")
    return path


def check(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, ["check", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return " ".join(done.stdout.split())


def test_a_formula_is_used_unasked() -> None:
    assert "983,159,844,659,835,386,896 of them distinct" in check(SPACES / "cifar10_micro.yaml")
    (report,) = json.loads(check(SPACES / "digits_cell.yaml", "--json"))
    assert report["distinct"] == 703_560**2


def test_small_spaces_are_listed_unasked(shared: Path) -> None:
    said = check(shared, "space.nodes=1")
    assert "72 architectures (10^1.9), 39 of them distinct, 5 decisions" in said


def test_what_takes_longer_is_listed_only_if_asked(shared: Path) -> None:
    assert "distinct: not computed (--distinct counts them), 9 decisions" in check(shared)
    assert json.loads(check(shared, "--json"))[0]["distinct"] is None
    assert "5,832 architectures (10^3.8), 1,455 of them distinct, 9 decisions" in check(shared, "--distinct")
    assert json.loads(check(shared, "--json", "--distinct"))[0]["distinct"] == 1_455


def test_what_is_too_much_is_said_and_the_rest_is_printed(shared: Path) -> None:
    done = CliRunner().invoke(app, ["check", *map(str, (shared, "space.nodes=4", "--distinct"))])
    assert isinstance(done.exception, SpecError)
    size = 2 * (6 * 9 * 12 * 15) ** 2
    assert str(done.exception) == (
        f"{shared}: distinct architectures not computed: {size:,} architectures are too many to list (at most 10,000,000)"
    )
    assert f"a conv_cell of {size:,} architectures" in done.stdout
    assert "distinct: not computed, 17 decisions" in done.stdout
    assert "distinct: not computed, 17 decisions" in check(shared, "space.nodes=4")
