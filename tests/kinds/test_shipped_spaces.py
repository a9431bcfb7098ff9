"""The compiled graph of every space in spaces/, as a golden text file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers import dump, golden_text

from nasforge.plugins import build_plugins
from nasforge.run.compile import compile_space
from nasforge.spec.run_spec import load_run_spec

SPACES = sorted((Path(__file__).parents[2] / "spaces").glob("*.yaml"))


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_the_compiled_graph_is_the_golden_one(path: Path) -> None:
    if path.stem == "rnn_activations" and find_spec("nasforge_activations") is None:
        pytest.skip("the example plugin is not installed: pip install plugins/nasforge-activations")
    text = dump(compile_space(load_run_spec(path, build_plugins()), "search"))
    assert text == golden_text(f"space_{path.stem}.txt", text)
