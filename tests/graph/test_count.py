"""Parameters and FLOPs from declarations: by hand, and against the weights that torch really allocates."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import OPERATIONS, cell, cell_spec, choices, compiled, everything, samples, shapes
from hypothesis import given, settings
from hypothesis import strategies as st

from nasforge.errors import PluginError, SpaceError
from nasforge.executors.bank import WeightBank
from nasforge.executors.interpreter import Program
from nasforge.graph.builder import GraphBuilder
from nasforge.graph.count import Meter
from nasforge.graph.plan import plan_architecture
from nasforge.graph.supergraph import OperationUse, Supergraph
from nasforge.kinds.recurrent_cell import SHARE_KEYS
from nasforge.tasks.language_model import LanguageModel
from nasforge.tasks.options import TASKS

W = 4


def meter(supergraph: Supergraph, width: int = W) -> Meter:
    return Meter(supergraph, OPERATIONS, lambda architecture: shapes(width))


@pytest.mark.parametrize(("bias", "parameters"), [(False, 3 * 2 * W * W), (True, 3 * 2 * W * W + 2 * W)])
def test_a_cell_of_two_nodes_by_hand(bias: bool, parameters: int) -> None:
    counted = meter(cell(2, input_bias=bias)).count(choices(["tanh", "identity"], [0]))
    assert counted.parameters == parameters
    # Two masks; three products of W by 2 W, one with a bias of 2 W; their sum of the shape 2 W; two highway steps of
    # 4 W, of which one has a tanh of W (identity costs nothing); the clip of 3 W. One leaf: no mean.
    products = 3 * 2 * (W * 2 * W) + (2 * W if bias else 0)
    assert counted.flops == 2 * W + products + 2 * W + 2 * 4 * W + W + 3 * W


def test_a_mean_of_leaves_costs_its_sum_and_a_division() -> None:
    plain = {"output": {"clip_norm": None}}
    star, chain = choices(["identity"] * 4, [0, 0, 0]), choices(["identity"] * 4, [0, 1, 2])
    counts = meter(cell(4, **plain))
    # The chain masks two nodes more; the star averages three leaves.
    assert counts.count(star).flops - counts.count(chain).flops == (2 + 1) * W - 2 * W
    assert counts.count(star).parameters == counts.count(chain).parameters


@pytest.mark.parametrize("share", SHARE_KEYS)
@pytest.mark.parametrize("options", [{}, {"input_bias": False, "first": {"op": "tanh"}, "output": {"of": "all"}}])
def test_parameters_are_those_that_torch_allocates(share: str, options: dict[str, Any]) -> None:
    supergraph = cell(6, share, **options)
    counts = meter(supergraph)
    for architecture in samples(supergraph.space, 20):
        program = Program(plan_architecture(supergraph, architecture), OPERATIONS, WeightBank(0), shapes(W))
        real = sum(parameter.numel() for parameter in program.parameters.values())
        assert counts.count(architecture).parameters == real


@pytest.mark.parametrize("share", SHARE_KEYS)
@pytest.mark.parametrize("nodes", [3, {"choose": 1, "from": [1, 3]}])
def test_the_bank_holds_what_all_architectures_together_allocate(share: str, nodes: Any) -> None:
    supergraph = compiled(cell_spec(nodes, ops=["tanh", "relu"]), share)
    bank = WeightBank(0)
    for architecture in everything(supergraph.space):
        Program(plan_architecture(supergraph, architecture), OPERATIONS, bank, shapes(W))
    assert meter(supergraph).bank() == sum(parameter.numel() for parameter in bank.named_parameters().values())


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 8), st.integers(1, 16), st.integers(0, 2**32))
def test_larger_cells_cost_more(nodes: int, width: int, seed: int) -> None:
    small, large = cell(nodes), cell(nodes + 1)
    (one,), (other,) = samples(small.space, 1, seed), samples(large.space, 1, seed)
    fewer, more = meter(small, width).count(one), meter(large, width).count(other)
    assert more.parameters - fewer.parameters == 2 * width * width
    assert fewer.flops > 2 * fewer.parameters - 4 * width


def test_an_operation_that_nobody_registers_is_named() -> None:
    supergraph = cell(1)
    without = {name: operation for name, operation in OPERATIONS.items() if name != "highway"}
    with pytest.raises(PluginError, match="highway"):
        Meter(supergraph, without, lambda architecture: shapes(W)).count(choices(["tanh"], []))


def test_the_task_states_the_shapes_of_every_input_of_main(task: LanguageModel) -> None:
    (kind,) = (kind for kind in TASKS if kind.name == "language_model")
    stated = kind.shapes(None, 7)
    assert stated == task.input_shapes(7) == shapes(7)
    assert set(stated) == set(cell(2).main.inputs)


def test_nodes_that_share_a_set_but_not_its_shape_are_refused() -> None:
    builder = GraphBuilder()
    main = builder.template("main")
    x, y = main.input("x"), main.input("y")
    use = OperationUse("projection", (("bias", False),))
    main.op("left", use, [x], share="one")
    main.op("right", use, [y], share="one")
    main.output(main.op("sum", OperationUse("add"), ["left", "right"]))
    supergraph = builder.finish()
    assert Meter(supergraph, OPERATIONS, lambda architecture: {"x": (2,), "y": (2,)}).count({}).parameters == 2 * 4
    with pytest.raises(SpaceError, match="share the weights 'main/one' disagree"):
        Meter(supergraph, OPERATIONS, lambda architecture: {"x": (2,), "y": (3,)}).count({})
