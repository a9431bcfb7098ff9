"""Benchmarks run and print tables; their times are no gate."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^  .{44} *\d+\.\d{3} +\d+% +\d+\.\d{3}(  (<= [\d.]+( ms)? (met|MISSED))?)?$")


@pytest.mark.slow
def test_every_benchmark_runs_and_prints_its_table() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--tiny"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    names = {path.stem for path in (ROOT / "tests" / "benchmarks").glob("*.py")}
    expected = names & {"recurrent", "conv", "optimiser", "controller", "growth"}
    blocks = re.split(r"^== ", done.stdout, flags=re.MULTILINE)[1:]
    assert {block.split("\n")[0] for block in blocks} == expected
    for block in blocks:
        lines = [line for line in block.split("\n")[1:] if line]
        groups = [line for line in lines if not line.startswith("  ")]
        heads = [line for line in lines if line.startswith("  design")]
        rows = [line for line in lines if line.startswith("  ") and line not in heads]
        assert groups and len(heads) == len(groups) and len(rows) >= 2 * len(groups)
        assert all(ROW.match(line) for line in rows), rows
