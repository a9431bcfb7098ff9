"""The compiled graph of every space in spaces/, as a golden text file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers import dump, golden_text

from nasforge.plugins import build_plugins
from nasforge.run.compile import compile_space
from nasforge.spec.run_spec import load_space_spec

ROOT = Path(__file__).parents[2]
SPACES = sorted((ROOT / "spaces").glob("*.yaml"))


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_the_compiled_graph_is_the_golden_one(path: Path) -> None:
    if path.stem == "rnn_activations" and find_spec("nasforge_activations") is None:
        pytest.skip("the example plugin is not installed: pip install plugins/nasforge-activations")
    plugins = build_plugins()
    text = dump(compile_space(load_space_spec(path, plugins), "search", plugins.catalogue.operations))
    assert text == golden_text(f"space_{path.stem}.txt", text)


@pytest.mark.parametrize("name", ["digits_cell", "digits_macro"])
def test_the_final_graph_is_the_golden_one(name: str) -> None:
    plugins = build_plugins()
    spec = load_space_spec(ROOT / "spaces" / f"{name}.yaml", plugins)
    text = dump(compile_space(spec, "final", plugins.catalogue.operations))
    assert text == golden_text(f"space_{name}_final.txt", text)
