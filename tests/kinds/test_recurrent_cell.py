"""The recurrent cell: decisions and sizes of the paper, sharing, and its equations against a loop written by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from helpers import (
    OPERATIONS,
    OPS,
    all_wires,
    cell,
    cell_spec,
    choices,
    compiled,
    dump,
    everything,
    golden_text,
    leaves,
    samples,
    shapes,
)
from pydantic import ValidationError
from torch import Tensor

from nasforge.executors.bank import WeightBank
from nasforge.executors.interpreter import Program
from nasforge.graph.plan import plan_architecture, plan_support
from nasforge.graph.supergraph import Supergraph
from nasforge.kinds.recurrent_cell import KIND, SHARE_KEYS, references


def test_twelve_nodes_give_the_23_decisions_of_the_paper_in_token_order() -> None:
    expected = ["node0.op"]
    for node in range(1, 12):
        expected += [f"node{node}.input", f"node{node}.op"]
    decisions = cell(12).space.decisions
    assert [decision.name for decision in decisions] == expected
    assert len(decisions) == 23
    for decision in decisions:
        owner, what = decision.name.split(".")
        assert (decision.owner, decision.role) == (owner, what)
        number = int(owner.removeprefix("node"))
        assert decision.options == (OPS if what == "op" else tuple(f"node{j}" for j in range(number)))


@pytest.mark.parametrize("nodes", [1, 2, 3, 6, 12])
def test_size_is_four_to_the_n_times_n_minus_one_factorial(nodes: int) -> None:
    assert cell(nodes).space.size == 4**nodes * math.factorial(nodes - 1)


def test_a_fixed_first_node_is_no_decision() -> None:
    supergraph = cell(5, first={"op": "tanh"})
    assert supergraph.space.decisions[0].name == "node1.input"
    assert supergraph.space.size == 4**4 * math.factorial(4)
    plan = plan_architecture(supergraph, samples(supergraph.space, 1)[0]).templates["cell"]
    assert [s.name for s in plan.steps if s.node.owner == "node0"][-1] == "node0.tanh"


def test_the_first_node_may_have_options_of_its_own() -> None:
    supergraph = cell(3, first={"op": {"choose": 1, "from": ["tanh", "sigmoid"]}})
    assert supergraph.space.decision("node0.op").options == ("tanh", "sigmoid")
    assert supergraph.space.size == 2 * 4**2 * 2


@pytest.mark.parametrize("nodes", [0, 65])
def test_numbers_of_nodes_out_of_range_are_refused(nodes: int) -> None:
    with pytest.raises(ValidationError, match="nodes"):
        cell_spec(nodes)


def test_the_final_stage_has_the_graph_of_the_search() -> None:
    from nasforge.components import Stage
    from nasforge.graph.builder import GraphBuilder

    builder = GraphBuilder("final")
    KIND.build(cell_spec(3), builder, Stage("final", "node"))
    assert dump(builder.finish()).replace("stage final", "stage search") == dump(cell(3))


@pytest.mark.parametrize("share", SHARE_KEYS)
def test_compiled_graph_of_three_nodes_is_the_golden_one(share: str) -> None:
    text = dump(cell(3, share, ops=("tanh", "relu")))
    assert text == golden_text(f"recurrent_cell_3_{share}.txt", text)


def outputs(supergraph: Supergraph, chosen: Mapping[str, str]) -> set[int]:
    plan = plan_architecture(supergraph, chosen).templates["cell"]
    by_name = {step.name: step for step in plan.steps}
    reads = by_name["output"].inputs if "output" in by_name else (plan.output,)
    return {int(name.split(".")[0].removeprefix("node")) for name in reads}


@pytest.mark.parametrize("nodes", [1, 2, 4])
def test_output_of_leaves_is_the_nodes_that_nobody_chose(nodes: int) -> None:
    supergraph = cell(nodes, ops=("tanh",), output={"clip_norm": None})
    for chosen in everything(supergraph.space):
        assert outputs(supergraph, chosen) == leaves(chosen)


def test_output_of_all_is_every_node() -> None:
    supergraph = cell(4, ops=("tanh",), output={"of": "all", "clip_norm": None})
    for chosen in everything(supergraph.space):
        assert outputs(supergraph, chosen) == {0, 1, 2, 3}


def test_the_norm_is_clipped_only_where_asked() -> None:
    assert "clipped" not in cell(2, output={"clip_norm": None}).templates["cell"].nodes
    assert cell(2, output={"clip_norm": 7}).templates["cell"].nodes["clipped"].operation.parameters == (
        ("max_norm", 7.0),
    )
    assert cell(2).templates["cell"].nodes["clipped"].operation.parameters == (("max_norm", 25.0),)


def bank_of_everything(supergraph: Supergraph, width: int) -> WeightBank:
    bank = WeightBank(0)
    Program(plan_support(supergraph, all_wires(supergraph)), OPERATIONS, bank, shapes(width), soft=True)
    return bank


@pytest.mark.parametrize(
    ("share", "sets"),
    [("node", 2 + 4), ("edge", 2 + (1 + 2 + 3 + 4)), ("edge_op", 3 * 2 + 3 * (1 + 2 + 3 + 4))],
)
def test_number_of_parameter_sets_per_sharing_scope(share: str, sets: int) -> None:
    parameters = bank_of_everything(cell(5, share, ops=OPS[:3], input_bias=False), 3).named_parameters()
    assert len(parameters) == sets
    assert {tuple(parameter.shape) for parameter in parameters.values()} == {(3, 6)}


@pytest.mark.parametrize(
    ("share", "nodes", "options", "width", "million"),
    [
        ("edge_op", 12, {}, 720, 289.2),  # the authors' first search
        ("edge", 12, {}, 1000, 146.0),  # ENAS-pytorch
        ("edge_op", 10, {"first": {"op": "tanh"}}, 200, 16.6),  # the authors' corrected search
    ],
)
def test_parameter_counts_of_the_reference_codes(
    share: str, nodes: int, options: dict[str, Any], width: int, million: float
) -> None:
    nodes_of_cell = cell(nodes, share, input_bias=False, **options).templates["cell"].nodes.values()
    keys = {node.share for node in nodes_of_cell if node.operation and node.operation.name == "projection"}
    assert round((len(keys) * 2 * width**2 + 10_000 * width) / 1e6, 1) == million


def test_input_bias_is_one_vector_on_the_projection_of_x() -> None:
    assert [name for name in bank_of_everything(cell(3), 4).named_parameters() if name.endswith("bias")] == [
        "cell/node0.x.bias"
    ]
    parameters = bank_of_everything(cell(3, input_bias=False), 4).named_parameters()
    assert not [name for name in parameters if name.endswith("bias")]


ACTIVATIONS = {
    "tanh": torch.tanh,
    "relu": lambda u: torch.where(u > 0, u, torch.zeros_like(u)),
    "sigmoid": lambda u: 1 / (1 + torch.exp(-u)),
    "identity": lambda u: u,
}


def by_hand(
    chosen: Mapping[str, str],
    weights: Mapping[str, Tensor],
    share: str,
    inputs: Tensor,
    h: Tensor,
    mask: Tensor | None,
    *,
    clip_norm: float | None,
    of: str,
) -> Tensor:
    """h_t for every t: section 2.1 of the paper in its highway form, one loop over time and one over nodes."""

    def matrix(node: int, side: str, source: str, op: str) -> str:
        return {
            "node": f"cell/node{node}.{side}",
            "edge": f"cell/node{node}.{side}.{source}",
            "edge_op": f"cell/node{node}.{side}.{source}.{op}",
        }[share]

    def step(state: Tensor, pre: Tensor, op: str) -> Tensor:
        width = state.shape[-1]
        gate = 1 / (1 + torch.exp(-pre[..., width:]))
        return state + gate * (ACTIVATIONS[op](pre[..., :width]) - state)

    n_nodes = sum(name.endswith(".op") for name in chosen)
    steps = []
    for x in inputs:
        op = chosen["node0.op"]
        key = matrix(0, "x", "x", op)
        pre = (
            x @ weights[f"{key}.weight"]
            + (h if mask is None else h * mask) @ weights[f"{matrix(0, 'h', 'h', op)}.weight"]
        )
        if f"{key}.bias" in weights:
            pre = pre + weights[f"{key}.bias"]
        states = [step(h, pre, op)]
        for node in range(1, n_nodes):
            source, op = chosen[f"node{node}.input"], chosen[f"node{node}.op"]
            s = states[int(source.removeprefix("node"))]
            pre = (s if mask is None else s * mask) @ weights[f"{matrix(node, 'h', source, op)}.weight"]
            states.append(step(s, pre, op))
        taken = range(n_nodes) if of == "all" else sorted(leaves(chosen))
        h = sum(states[node] for node in taken) / len(taken)
        if clip_norm is not None:
            rows = [row if row.norm() <= clip_norm else row * clip_norm / row.norm() for row in h]
            h = torch.stack(rows)
        steps.append(h)
    return torch.stack(steps)


@pytest.mark.parametrize(
    ("share", "of", "clip_norm", "bias", "masked"),
    [
        ("node", "leaves", None, False, False),
        ("node", "leaves", 0.5, True, True),
        ("edge", "all", None, True, True),
        ("edge_op", "leaves", 0.5, True, False),
        ("edge_op", "all", 0.5, False, True),
    ],
)
def test_interpreter_equals_the_equations_written_by_hand(
    share: str, of: str, clip_norm: float | None, bias: bool, masked: bool
) -> None:
    supergraph = cell(6, share, input_bias=bias, output={"of": of, "clip_norm": clip_norm})
    bank = WeightBank(3, dtype=torch.float64, init_range=0.8)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(5, 3, 4, dtype=torch.float64, generator=generator)
    state = torch.randn(3, 4, dtype=torch.float64, generator=generator)
    mask = torch.empty(3, 4, dtype=torch.float64).bernoulli_(0.6, generator=generator) / 0.6 if masked else None
    clipped = 0
    for architecture in samples(supergraph.space, 20, seed=11):
        program = Program(plan_architecture(supergraph, architecture), OPERATIONS, bank, shapes(4))
        for name, parameter in program.parameters.items():
            if name.endswith("bias"):
                torch.nn.init.uniform_(parameter, -1, 1, generator=generator)
        found = program({"inputs": inputs, "state": state, "mask": mask})
        weights = program.parameters
        expected = by_hand(architecture, weights, share, inputs, state, mask, clip_norm=clip_norm, of=of)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
        free = by_hand(architecture, weights, share, inputs, state, mask, clip_norm=None, of=of)
        clipped += not torch.allclose(free, expected)
    assert (clipped == 0) if clip_norm is None else (clipped > 3)


def test_reference_is_one_highway_step_with_an_identity_candidate() -> None:
    spec = references(cell_spec(8, output={"clip_norm": 5}))["one_node"]
    supergraph = compiled(spec)
    assert supergraph.space.size == 1
    assert "clipped" not in supergraph.templates["cell"].nodes
    bank = WeightBank(0, dtype=torch.float64)
    program = Program(plan_architecture(supergraph, {}), OPERATIONS, bank, shapes(3))
    inputs, h = torch.randn(4, 2, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    w = program.parameters
    found = program({"inputs": inputs, "state": h, "mask": None})
    for x, after in zip(inputs, found, strict=True):
        u, t = (x @ w["cell/node0.x.weight"] + w["cell/node0.x.bias"] + h @ w["cell/node0.h.weight"]).chunk(2, -1)
        h = torch.sigmoid(t) * u + (1 - torch.sigmoid(t)) * h
        torch.testing.assert_close(after, h, rtol=1e-12, atol=1e-13)


def test_reference_keeps_the_bias_of_its_space() -> None:
    for bias in (True, False):
        assert references(cell_spec(4, input_bias=bias))["one_node"].input_bias is bias


def test_a_cell_of_one_node_has_no_mask_of_its_state() -> None:
    supergraph = cell(1)
    assert "node0.masked" not in supergraph.templates["cell"].nodes
    assert outputs(cell(1, output={"clip_norm": None}), choices(["relu"], [])) == {0}
