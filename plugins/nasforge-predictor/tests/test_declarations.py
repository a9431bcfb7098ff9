"""The plugin as nasforge sees it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from nasforge_predictor.controller import PredictorController
from nasforge_predictor.declarations import PredictorOptions, nasforge_controllers
from pydantic import ValidationError

from nasforge.data.table import save_table
from nasforge.resolve import resolve

SPACE = """\
nasforge: 1
name: small
plugins: [nasforge-predictor]
space: {kind: choices, decisions: {a: [0, 1, 2], b: [0, 1, 2], c: [0, 1, 2], d: [0, 1, 2]}}
task: {kind: table, file: small.npz}
strategy: {kind: black_box, queries: 40}
controller: {kind: predictor, starts: 5}
"""
INSTALLED = pytest.mark.skipif(
    not any(each.name == "nasforge-predictor" for each in importlib.metadata.distributions()),
    reason="the plugin is not installed: pip install plugins/nasforge-predictor",
)


def nasforge(*arguments: str, folder: Path) -> str:
    command = [sys.executable, "-m", "nasforge", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_controller_is_registered_and_built() -> None:
    (kind,) = nasforge_controllers()
    assert (kind.name, kind.policy, kind.smallest_group(PredictorOptions())) == ("predictor", False, 1)
    assert resolve(kind.build) is PredictorController


def test_registration_imports_neither_torch_nor_scikit_learn() -> None:
    code = (
        "import sys, nasforge_predictor.declarations as d; d.nasforge_controllers(); "
        "print([name for name in ('torch', 'sklearn', 'numpy') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "options",
    [{"model": "forest"}, {"starts": 1}, {"candidates": 1}, {"interaction": -1.0}, {"observations": 1}, {"start": 5}],
)
def test_options_without_a_meaning_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PredictorOptions.model_validate(options)


@INSTALLED
def test_a_file_that_names_it_is_searched_and_compared(tmp_path: Path) -> None:
    architectures = np.array(list(np.ndindex(3, 3, 3, 3)))
    scores = (architectures @ np.array([1.0, 2.0, 3.0, 4.0]))[:, None] + np.array([[-0.1, 0.1]])
    save_table(
        tmp_path / "small.npz", architectures=architectures, scores=scores, name="t", metric="accuracy", direction="max"
    )
    (tmp_path / "small.yaml").write_text(SPACE)
    nasforge("run", "small.yaml", "--run-dir", "run", folder=tmp_path)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["best"]["regret"] == 0
    table = nasforge("compare", "small.yaml", "--strategies", "predictor,random", "--seeds", "2", folder=tmp_path)
    assert "predictor" in table


@INSTALLED
def test_the_schema_of_files_has_its_options(tmp_path: Path) -> None:
    schema = nasforge("schema", folder=tmp_path)
    for option, field in PredictorOptions.model_fields.items():
        if option != "kind":
            assert json.dumps(field.default) in schema and f'"{option}"' in schema
