"""Soft gates: exact probabilities, and the child at a vertex."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import pytest
import torch
from helpers import OPERATIONS, all_wires, cell, choices, everything, samples, shapes
from torch import Tensor

from nasforge.executors.bank import WeightBank
from nasforge.executors.gates import soft_gates, support
from nasforge.executors.interpreter import Program
from nasforge.graph.builder import GraphBuilder
from nasforge.graph.plan import plan_architecture, plan_support
from nasforge.graph.supergraph import Supergraph
from nasforge.kinds.recurrent_cell import SHARE_KEYS
from nasforge.space.decision import Condition, Literal, all_of


def random_weights(supergraph: Supergraph, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        decision.name: torch.randn(len(decision.options), dtype=torch.float64, generator=generator).softmax(0)
        for decision in supergraph.space.decisions
    }


def vertex(supergraph: Supergraph, architecture: Mapping[str, str]) -> dict[str, Tensor]:
    return {
        d.name: torch.tensor([float(option == architecture[d.name]) for option in d.options], dtype=torch.float64)
        for d in supergraph.space.decisions
    }


def probability(supergraph: Supergraph, chosen: Mapping[str, str], weights: Mapping[str, Tensor]) -> float:
    options = {decision.name: decision.options for decision in supergraph.space.decisions}
    return math.prod(float(weights[name][options[name].index(option)]) for name, option in chosen.items())


def feeds(steps: int = 3, width: int = 4, *, nothing_masked: bool = True) -> dict[str, Tensor | None]:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(steps, 2, width, dtype=torch.float64, generator=generator)
    state = torch.randn(2, width, dtype=torch.float64, generator=generator)
    mask = None if nothing_masked else torch.randn(2, width, dtype=torch.float64, generator=generator)
    return {"inputs": inputs, "state": state, "mask": mask}


def test_a_gate_is_the_probability_that_its_wire_is_open() -> None:
    supergraph = cell(4, ops=("tanh", "relu"))
    weights = random_weights(supergraph)
    expected = {name: [0.0] * len(template.wires) for name, template in supergraph.templates.items()}
    for chosen in everything(supergraph.space):
        for name, template in supergraph.templates.items():
            for wire in template.open_wires(chosen):
                expected[name][wire] += probability(supergraph, chosen, weights)
    gates = soft_gates(supergraph, weights)
    for name, values in expected.items():
        torch.testing.assert_close(gates[name], torch.tensor(values, dtype=torch.float64), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("share", SHARE_KEYS)
def test_gates_into_a_node_sum_to_one(share: str) -> None:
    supergraph = cell(6, share)
    for seed in range(5):
        gates = soft_gates(supergraph, random_weights(supergraph, seed))["cell"]
        for name, node in supergraph.templates["cell"].nodes.items():
            if node.role == "merge" and name != "output":
                assert float(gates[list(node.wires)].sum()) == pytest.approx(1, rel=1e-12)


def test_terms_are_added_and_literals_of_one_decision_are_read_together() -> None:
    builder = GraphBuilder()
    builder.decision("a", ["p", "q", "r"], "op", owner="")
    builder.decision("b", ["s", "t"], "op", owner="")
    not_p, not_q = Literal("a", "p", positive=False), Literal("a", "q", positive=False)
    main = builder.template("main")
    x = main.input("x")
    wires = [
        (x, all_of(not_p)),
        (x, all_of(not_p, not_q)),
        (x, Condition(((Literal("a", "p"), Literal("b", "t")), (not_p,)))),
        (x, Condition(((Literal("a", "p"), Literal("a", "q")), (Literal("a", "r"),)))),
    ]
    main.output(main.merge("m", "sum", wires))
    weights = {"a": torch.tensor([0.2, 0.3, 0.5]), "b": torch.tensor([0.9, 0.1])}
    gates = soft_gates(builder.finish(), weights)["main"]
    torch.testing.assert_close(gates, torch.tensor([0.8, 0.5, 0.2 * 0.1 + 0.8, 0.5]))


def test_support_is_the_wires_that_are_not_exactly_zero() -> None:
    gates = {"cell": torch.tensor([0.0, 1e-30, -0.5, 1.0, 0.0]), "main": torch.zeros(0)}
    assert support(gates) == {"cell": {1, 2, 3}, "main": set()}


def test_the_support_at_a_vertex_is_the_open_wires() -> None:
    supergraph = cell(5)
    for architecture in samples(supergraph.space, 20):
        found = support(soft_gates(supergraph, vertex(supergraph, architecture)))
        assert found == {name: template.open_wires(architecture) for name, template in supergraph.templates.items()}


@pytest.mark.parametrize("share", SHARE_KEYS)
def test_soft_gates_at_a_vertex_equal_the_child_in_value_and_gradient(share: str) -> None:
    supergraph = cell(5, share)
    for architecture in samples(supergraph.space, 34, seed=2):
        bank = WeightBank(1, dtype=torch.float64)
        hard = Program(plan_architecture(supergraph, architecture), OPERATIONS, bank, shapes(4))
        gates = soft_gates(supergraph, vertex(supergraph, architecture))
        soft = Program(plan_support(supergraph, support(gates)), OPERATIONS, bank, shapes(4), soft=True)
        assert set(soft.parameters) == set(hard.parameters)
        fed = feeds(nothing_masked=False)
        one, other = hard(fed), soft(fed, gates)
        assert torch.equal(one, other)
        names = list(hard.parameters)
        direction = torch.linspace(-1, 1, one.numel(), dtype=torch.float64).view_as(one)
        grads = torch.autograd.grad((one * direction).sum(), [hard.parameters[name] for name in names])
        others = torch.autograd.grad((other * direction).sum(), [soft.parameters[name] for name in names])
        for a, b in zip(grads, others, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_soft_gates_at_a_vertex_with_one_leaf_equal_the_child_bit_for_bit() -> None:
    supergraph = cell(4)
    for ops in itertools.product(("tanh", "identity"), repeat=4):
        architecture = supergraph.space.architecture(choices(ops, [0, 1, 2]))
        bank = WeightBank(1)
        fed = {name: value.float() for name, value in feeds().items() if value is not None} | {"mask": None}
        gates = {k: v.float() for k, v in soft_gates(supergraph, vertex(supergraph, architecture)).items()}
        hard = Program(plan_architecture(supergraph, architecture), OPERATIONS, bank, shapes(4))
        soft = Program(plan_support(supergraph, support(gates)), OPERATIONS, bank, shapes(4), soft=True)
        assert torch.equal(hard(fed), soft(fed, gates))


def test_a_merge_under_soft_gates_is_the_expectation_over_its_choices() -> None:
    supergraph = cell(2, first={"op": "tanh"}, output={"clip_norm": None})
    bank, fed = WeightBank(1, dtype=torch.float64, init_range=1.0), feeds(1)
    weights = random_weights(supergraph)
    expected = sum(
        probability(supergraph, chosen, weights)
        * Program(plan_architecture(supergraph, chosen), OPERATIONS, bank, shapes(4))(fed)
        for chosen in everything(supergraph.space)
    )
    gates = soft_gates(supergraph, weights)
    soft = Program(plan_support(supergraph, all_wires(supergraph)), OPERATIONS, bank, shapes(4), soft=True)
    torch.testing.assert_close(soft(fed, gates), expected, rtol=1e-12, atol=1e-14)


def test_a_mixture_of_nodes_is_the_sum_of_products_written_by_hand() -> None:
    supergraph = cell(3, ops=("tanh", "relu"), first={"op": "tanh"}, output={"clip_norm": None}, input_bias=False)
    bank, fed = WeightBank(1, dtype=torch.float64, init_range=1.0), feeds(1)
    weights = random_weights(supergraph, 4)
    gates = soft_gates(supergraph, weights)
    soft = Program(plan_support(supergraph, all_wires(supergraph)), OPERATIONS, bank, shapes(4), soft=True)
    w = {name.removeprefix("cell/").removesuffix(".weight"): value for name, value in soft.parameters.items()}

    def step(state: Tensor, pre: Tensor, op: str) -> Tensor:
        u, t = pre.chunk(2, -1)
        return state + torch.sigmoid(t) * ({"tanh": torch.tanh, "relu": torch.relu}[op](u) - state)

    s0 = step(fed["state"], fed["inputs"][0] @ w["node0.x"] + fed["state"] @ w["node0.h"], "tanh")
    ops1, ops2, inputs2 = weights["node1.op"], weights["node2.op"], weights["node2.input"]
    s1 = ops1[0] * step(s0, s0 @ w["node1.h"], "tanh") + ops1[1] * step(s0, s0 @ w["node1.h"], "relu")
    s2 = sum(
        inputs2[j] * ops2[k] * step(state, state @ w["node2.h"], op)
        for j, state in enumerate((s0, s1))
        for k, op in enumerate(("tanh", "relu"))
    )
    leaf = 1 - inputs2[1]  # node 1 is a leaf where node 2 did not choose it; node 2 always is
    torch.testing.assert_close(soft(fed, gates)[0], (leaf * s1 + s2) / (leaf + 1), rtol=1e-12, atol=1e-14)


def test_gradients_of_a_mixture_reach_probabilities_and_match_finite_differences() -> None:
    supergraph = cell(3, ops=("tanh", "sigmoid"))
    bank = WeightBank(1, dtype=torch.float64, init_range=1.0)
    soft = Program(plan_support(supergraph, all_wires(supergraph)), OPERATIONS, bank, shapes(3), soft=True)
    names = [decision.name for decision in supergraph.space.decisions]
    logits = [weights.log().requires_grad_() for weights in random_weights(supergraph).values()]

    def call(*logits: Tensor) -> Tensor:
        weights = {name: value.softmax(0) for name, value in zip(names, logits, strict=True)}
        return soft(feeds(2, 3), soft_gates(supergraph, weights))

    assert torch.autograd.gradcheck(call, logits)


def test_a_gate_of_zero_is_never_multiplied() -> None:
    supergraph = cell(3, "edge_op")
    bank = WeightBank(1, dtype=torch.float64)
    Program(plan_support(supergraph, all_wires(supergraph)), OPERATIONS, bank, shapes(4), soft=True)
    architecture = supergraph.space.architecture(choices(["tanh", "relu", "sigmoid"], [0, 1]))
    used = Program(plan_architecture(supergraph, architecture), OPERATIONS, bank, shapes(4)).parameters
    with torch.no_grad():
        for name, parameter in bank.named_parameters().items():
            if name not in used:
                parameter.fill_(math.inf)
    gates = soft_gates(supergraph, vertex(supergraph, architecture))
    soft = Program(plan_support(supergraph, support(gates)), OPERATIONS, bank, shapes(4), soft=True)
    assert soft(feeds(), gates).isfinite().all()
