"""The interpreter: gradients, hoisting, carried state, the norm clip, and that every choice matters."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from helpers import OPERATIONS, OPS, cell, choices, samples, shapes
from torch import Tensor

from nasforge.executors import interpreter
from nasforge.executors.bank import WeightBank
from nasforge.executors.interpreter import Program
from nasforge.graph.builder import GraphBuilder
from nasforge.graph.plan import ScanPhases, TemplatePlan, plan_architecture
from nasforge.graph.supergraph import OperationUse, Supergraph
from nasforge.kinds.recurrent_cell import SHARE_KEYS
from nasforge.space.decision import ALWAYS


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def program(supergraph: Supergraph, architecture: dict[str, str], bank: WeightBank, width: int = 4) -> Program:
    return Program(plan_architecture(supergraph, architecture), OPERATIONS, bank, shapes(width))


def feeds(steps: int = 3, batch: int = 2, width: int = 4, *, mask: Tensor | None = None) -> dict[str, Tensor | None]:
    return {"inputs": drawn(steps, batch, width), "state": drawn(batch, width, seed=1), "mask": mask}


@pytest.mark.parametrize("share", SHARE_KEYS)
def test_every_operation_and_every_input_changes_the_output(share: str) -> None:
    supergraph = cell(5, share)
    bank = WeightBank(0, dtype=torch.float64, init_range=1.0)
    for architecture in samples(supergraph.space, 3, seed=1):
        for decision in supergraph.space.decisions:
            outputs = {
                option: program(supergraph, {**architecture, decision.name: option}, bank)(feeds())
                for option in decision.options
            }
            for one, other in itertools.combinations(outputs, 2):
                assert not torch.allclose(outputs[one], outputs[other]), (decision.name, one, other)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tanh", [math.tanh(-2), 0.0, math.tanh(3)]),
        ("relu", [0.0, 0.0, 3.0]),
        ("sigmoid", [1 / (1 + math.exp(2)), 0.5, 1 / (1 + math.exp(-3))]),
        ("identity", [-2.0, 0.0, 3.0]),
    ],
)
def test_names_mean_their_functions(name: str, expected: list[float]) -> None:
    builder = GraphBuilder()
    main = builder.template("main")
    main.output(main.op("f", OperationUse(name), [main.input("x")]))
    run = Program(plan_architecture(builder.finish(), {}), OPERATIONS, WeightBank(0), {"x": (3,)})
    found = run({"x": torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)})
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_a_node_that_stands_twice_in_a_merge_counts_twice() -> None:
    builder = GraphBuilder()
    main = builder.template("main")
    x, y = main.input("x"), main.input("y")
    total = main.merge("total", "sum", [(x, ALWAYS), (y, ALWAYS), (x, ALWAYS)])
    main.output(main.merge("mean", "mean", [(total, ALWAYS), (y, ALWAYS), (y, ALWAYS), (y, ALWAYS)]))
    run = Program(plan_architecture(builder.finish(), {}), OPERATIONS, WeightBank(0), {"x": (1,), "y": (1,)})
    assert run({"x": torch.tensor([3.0]), "y": torch.tensor([2.0])}).item() == (3 + 2 + 3 + 2 + 2 + 2) / 4


@pytest.mark.parametrize("clip_norm", [None, 0.7])
def test_gradients_are_those_of_finite_differences(clip_norm: float | None) -> None:
    supergraph = cell(4, "edge", output={"clip_norm": clip_norm})
    bank = WeightBank(2, dtype=torch.float64, init_range=0.9)
    architecture = supergraph.space.architecture(choices(["tanh", "sigmoid", "identity", "relu"], [0, 0, 2]))
    run = program(supergraph, architecture, bank, width=3)
    parameters = list(run.parameters.values())
    inputs, state = drawn(2, 2, 3).requires_grad_(), drawn(2, 3, seed=1).requires_grad_()
    mask = torch.tensor([[2.0, 0.0, 2.0], [0.0, 2.0, 2.0]], dtype=torch.float64)

    def call(inputs: Tensor, state: Tensor, *weights: Tensor) -> Tensor:
        return run({"inputs": inputs, "state": state, "mask": mask})

    assert torch.autograd.gradcheck(call, (inputs, state, *parameters))


def test_only_the_parameters_of_the_plan_are_named_and_get_gradients() -> None:
    supergraph, bank = cell(3, "edge_op"), WeightBank(0, dtype=torch.float64)
    one = program(supergraph, choices(["tanh", "relu", "relu"], [0, 1]), bank)
    other = program(supergraph, choices(["tanh", "sigmoid", "relu"], [0, 1]), bank)
    assert set(one.parameters) ^ set(other.parameters) == {
        "cell/node1.h.node0.relu.weight",
        "cell/node1.h.node0.sigmoid.weight",
    }
    one(feeds()).square().sum().backward()
    for name, parameter in bank.named_parameters().items():
        assert (parameter.grad is not None) == (name in one.parameters)


def test_hoisting_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    supergraph = cell(4)
    architectures = samples(supergraph.space, 10)
    bank = WeightBank(0, dtype=torch.float64)
    mask = drawn(2, 4, seed=3)
    hoisted = [program(supergraph, architecture, bank)(feeds(mask=mask)) for architecture in architectures]
    loops = []

    def nothing_hoisted(plan: TemplatePlan, bind: tuple[tuple[str, str, str], ...]) -> ScanPhases:
        loops.append(len(plan.steps))
        return ScanPhases((), (), plan.steps)

    monkeypatch.setattr(interpreter, "scan_phases", nothing_hoisted)
    for architecture, expected in zip(architectures, hoisted, strict=True):
        found = program(supergraph, architecture, bank)(feeds(mask=mask))
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-14)
    assert len(loops) == 10


def test_a_scan_runs_constants_sequences_and_carry_as_bound() -> None:
    builder = GraphBuilder()
    step = builder.template("cell")
    x, c, h = step.input("x"), step.input("c"), step.input("h")
    add = OperationUse("add")
    constant = step.op("twice_c", add, [c, c])
    from_x = step.op("x_and_c", add, [x, constant])
    step.output(step.op("next", add, [from_x, h]))
    main = builder.template("main")
    start, words, fixed = main.input("start"), main.input("words"), main.input("fixed")
    main.output(main.scan("s", "cell", sequence={"x": words}, carry={"h": start}, constant={"c": fixed}))
    shape = {"start": (1,), "words": (1,), "fixed": (1,)}
    run = Program(plan_architecture(builder.finish(), {}), OPERATIONS, WeightBank(0), shape)
    values = run(
        {"words": torch.tensor([[1.0], [2.0], [3.0]]), "start": torch.tensor([10.0]), "fixed": torch.tensor([100.0])}
    )
    assert values.flatten().tolist() == [211.0, 413.0, 616.0]


def test_a_sequence_in_two_parts_equals_the_whole() -> None:
    supergraph, bank = cell(4), WeightBank(0, dtype=torch.float64)
    for architecture in samples(supergraph.space, 10):
        run = program(supergraph, architecture, bank)
        whole = feeds(6)
        first = run({**whole, "inputs": whole["inputs"][:2]})
        second = run({**whole, "inputs": whole["inputs"][2:], "state": first[-1]})
        torch.testing.assert_close(torch.cat([first, second]), run(whole), rtol=1e-13, atol=1e-14)


def test_outputs_do_not_see_the_future_or_other_rows() -> None:
    supergraph, bank = cell(4), WeightBank(0, dtype=torch.float64)
    run = program(supergraph, samples(supergraph.space, 1)[0], bank)
    whole = feeds(4)
    changed = whole["inputs"].clone()
    changed[2, 1] += 1
    before, after = run(whole), run({**whole, "inputs": changed})
    assert torch.equal(before[:2], after[:2])
    torch.testing.assert_close(before[:, 0], after[:, 0], rtol=1e-13, atol=1e-14)
    assert not torch.allclose(before[2:, 1], after[2:, 1])


def test_no_mask_equals_a_mask_of_ones_and_a_mask_of_zeros_cuts_the_state() -> None:
    supergraph, bank = cell(3, output={"clip_norm": None}), WeightBank(0, dtype=torch.float64)
    run = program(supergraph, choices(["tanh", "tanh", "relu"], [0, 1]), bank)
    ones, zeros = torch.ones(2, 4, dtype=torch.float64), torch.zeros(2, 4, dtype=torch.float64)
    assert torch.equal(run(feeds(mask=ones)), run(feeds()))
    # Without what the matrices see, nodes 1 and 2 step half-way (sigmoid(0)) to f(0) = 0: h = s_0 / 4.
    with torch.no_grad():
        w, fed = run.parameters, feeds(1, mask=zeros)
        u, t = (fed["inputs"][0] @ w["cell/node0.x.weight"] + w["cell/node0.x.bias"]).chunk(2, -1)
        s = fed["state"] + torch.sigmoid(t) * (torch.tanh(u) - fed["state"])
        torch.testing.assert_close(run(fed)[0], s / 4)


def test_clip_norm_limits_long_states_and_leaves_short_ones() -> None:
    builder = GraphBuilder()
    main = builder.template("main")
    main.output(main.op("c", OperationUse("clip_norm", (("max_norm", 5.0),)), [main.input("x")]))
    run = Program(plan_architecture(builder.finish(), {}), OPERATIONS, WeightBank(0), {"x": (2,)})
    x = torch.tensor([[6.0, 8.0], [3.0, 4.0], [0.3, -0.4], [0.0, 0.0], [3e18, -4e18]])
    expected = torch.tensor([[3.0, 4.0], [3.0, 4.0], [0.3, -0.4], [0.0, 0.0], [3.0, -4.0]])
    torch.testing.assert_close(run({"x": x}), expected)
    assert torch.equal(run({"x": x})[1:4], x[1:4])


def test_clip_norm_holds_the_state_of_an_exploding_cell() -> None:
    exploding = choices(["identity"] * 3, [0, 1])
    for clip_norm, bounded in ((3.0, True), (None, False)):
        supergraph, bank = cell(3, output={"clip_norm": clip_norm}), WeightBank(0, dtype=torch.float64, init_range=5.0)
        norms = program(supergraph, exploding, bank)(feeds(20)).norm(dim=-1)
        assert (norms.max() <= 3 * (1 + 1e-12)) == bounded
        assert len(norms) == 20


def test_gates_are_given_exactly_to_soft_programs() -> None:
    supergraph, bank = cell(2), WeightBank(0)
    plan = plan_architecture(supergraph, choices(["tanh", "tanh"], [0]))
    hard = Program(plan, OPERATIONS, bank, shapes(4))
    soft = Program(plan, OPERATIONS, bank, shapes(4), soft=True)
    with pytest.raises(ValueError, match="gates are given exactly when"):
        hard(feeds(), {})
    with pytest.raises(ValueError, match="gates are given exactly when"):
        soft(feeds())


def test_shape_of_the_output_is_inferred_from_the_inputs() -> None:
    for width in (1, 4, 7):
        run = program(cell(3), choices(OPS[:3], [0, 0]), WeightBank(0), width)
        assert run.shape == (width,)
        assert run.parameters["cell/node2.h.weight"].shape == (width, 2 * width)
