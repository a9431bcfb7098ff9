"""Drop-path: what is dropped, how often, and that scoring knows nothing of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from random_specs import CATALOGUE, supergraph_of

from nasforge.executors.bank import WeightBank
from nasforge.executors.drops import DropMode, DropPath
from nasforge.executors.interpreter import Program
from nasforge.graph.plan import plan_architecture
from nasforge.graph.supergraph import Supergraph
from nasforge.tasks.image_options import ImageRecipe

CELLS: dict[str, Any] = {
    "kind": "conv_cell",
    "image": [1, 8, 8],
    "nodes": 2,
    "each": {"op": {"choose": 1, "from": ["identity", {"conv": {"kernel": 3}}, {"avg_pool": {"kernel": 3}}]}},
    "stack": {"normal": 1, "reductions": 1, "channels": 4},
}


def one_branch() -> dict[str, Any]:
    return {**CELLS, "each": {**CELLS["each"], "branches": 1}}


def bound(supergraph: Supergraph, op: str) -> Program:
    """The child whose nodes all choose `op` and read the inputs of their cell."""
    chosen = {
        d.name: op if d.role == "op" else d.options[0] if d.name.endswith("1") else d.options[1]
        for d in supergraph.space.decisions
    }
    plan = plan_architecture(supergraph, supergraph.space.architecture(chosen))
    return Program(plan, CATALOGUE.operations, WeightBank(0), {"image": (1, 8, 8)})


def test_a_value_is_dropped_for_each_example_as_often_as_said_and_keeps_its_mean() -> None:
    mode = DropMode()
    drop = DropPath(lambda x: x, 0.5, mode)
    x = torch.ones(20_000, 2, 3, 3)
    assert drop(x) is x
    with mode.set(0.4, seed=1):
        dropped = drop(x)
        again = drop(x)
    assert drop(x) is x
    per_example = dropped.flatten(1)
    assert bool((per_example == per_example[:, :1]).all())
    torch.testing.assert_close(per_example[:, 0].unique(), torch.tensor([0, 1 / 0.8]))
    assert float((per_example[:, 0] == 0).float().mean()) == pytest.approx(0.2, abs=0.01)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.01) and not torch.equal(dropped, again)


def test_the_seed_says_what_is_dropped() -> None:
    mode, x = DropMode(), torch.ones(64, 1)
    drop = DropPath(lambda x: x, 1.0, mode)
    values = []
    for seed in (1, 1, 2):
        with mode.set(0.5, seed):
            values.append(drop(x))
    assert torch.equal(values[0], values[1]) and not torch.equal(values[0], values[2])


@pytest.mark.parametrize(("op", "drops"), [("conv(kernel=3)", True), ("avg_pool(kernel=3)", True), ("identity", False)])
def test_results_of_operations_are_dropped_but_never_the_identity(op: str, drops: bool) -> None:
    run = bound(supergraph_of(CELLS, "final"), op)
    images = {"image": torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))}
    with run.modes.norms.set("batch"):
        plain = run(images)
        with run.modes.drops.set(0.9, seed=3):
            dropped = run(images)
        assert torch.equal(run(images), plain)
    assert torch.equal(dropped, plain) != drops


def test_more_is_dropped_the_deeper_a_cell_lies() -> None:
    main = supergraph_of(CELLS, "final").main
    assert [node.drop for node in main.nodes.values() if node.role == "call"] == [1 / 3, 2 / 3, 1]


def test_what_nothing_is_added_to_is_not_dropped() -> None:
    assert supergraph_of(CELLS, "final").drops and supergraph_of(CELLS, "search").drops
    assert not supergraph_of(one_branch(), "final").drops


def test_the_rate_rises_linearly_to_that_of_the_recipe() -> None:
    recipe = ImageRecipe(drop_path=0.4)
    assert [recipe.drop_rate(progress) for progress in (0.0, 0.25, 1.0)] == pytest.approx([0, 0.1, 0.4])
    assert ImageRecipe().drop_rate(1.0) == 0
