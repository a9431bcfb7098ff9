"""The fused recurrent cell: what the interpreter computes, in outputs and gradients, and safe buffers."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from helpers import OPERATIONS, OPS, cell, choices, recipe, samples, shapes
from torch import Tensor

from nasforge.components import NoOptions, Operation
from nasforge.executors.bank import WeightBank
from nasforge.executors.interpreter import Program
from nasforge.executors.loops import PythonLoops
from nasforge.executors.network import GraphCore, SequenceCore
from nasforge.executors.options import SharedWeightsOptions
from nasforge.executors.recurrent import FusedCore, RecurrentBackend, recurrent_core
from nasforge.executors.shared import SharedWeights
from nasforge.executors.training import Trainer
from nasforge.graph.plan import plan_architecture
from nasforge.graph.supergraph import Supergraph
from nasforge.resolve import resolve
from nasforge.tasks.language_model import LanguageModel

WIDTH = 5


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=["python", "native"])
def backend(request: pytest.FixtureRequest) -> RecurrentBackend:
    return RecurrentBackend(PythonLoops() if request.param == "python" else request.getfixturevalue("native"))


def cores(
    supergraph: Supergraph,
    architecture: dict[str, str],
    backend: RecurrentBackend,
    *,
    dtype: torch.dtype = torch.float64,
    operations: dict[str, Operation] = OPERATIONS,
    init_range: float = 0.9,
) -> tuple[GraphCore, SequenceCore]:
    bank = WeightBank(2, dtype=dtype, init_range=init_range)
    core = GraphCore(Program(plan_architecture(supergraph, architecture), operations, bank, shapes(WIDTH)))
    fused = recurrent_core(core, backend)
    assert isinstance(fused, SequenceCore)
    return core, fused


def results(core: SequenceCore, inputs: Tensor, state: Tensor, mask: Tensor | None) -> list[Tensor]:
    """Output, gradients of input and state, then of the weights by name."""
    inputs, state = inputs.clone().requires_grad_(), state.clone().requires_grad_()
    output, last = core(inputs, state, mask)
    torch.testing.assert_close(output[-1], last, rtol=0, atol=0, equal_nan=True)
    weight = drawn(*output.shape, seed=9).to(output)
    names = sorted(core.parameters)
    wanted = (inputs, state, *(core.parameters[name] for name in names))
    return [output.detach(), *torch.autograd.grad((output * weight).sum(), wanted)]


def assert_same(found: list[Tensor], expected: list[Tensor], tolerance: float = 1e-11) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)


def dropout_mask(batch: int) -> Tensor:
    return (drawn(batch, WIDTH, seed=4) > -0.5).double() * 1.5


@pytest.mark.parametrize("of", ["leaves", "all", "all_but_first"])
@pytest.mark.parametrize("share", ["node", "edge_op"])
def test_outputs_and_gradients_are_those_of_the_interpreter(backend: RecurrentBackend, of: str, share: str) -> None:
    for number in range(10):
        limit = (None, 0.8, 25.0)[number % 3]
        supergraph = cell(1 + number, share, output={"of": of if number else "leaves", "clip_norm": limit})
        core, fused = cores(supergraph, samples(supergraph.space, 1, seed=number)[0], backend)
        assert isinstance(fused, FusedCore)
        for steps, batch in ((1, 1), (1, 3), (7, 1), (4, 3)):
            fed = drawn(steps, batch, WIDTH), drawn(batch, WIDTH, seed=1)
            for mask in (None, dropout_mask(batch)):
                assert_same(results(fused, *fed, mask), results(core, *fed, mask))
                with torch.no_grad():
                    torch.testing.assert_close(fused(*fed, mask)[0], core(*fed, mask)[0], rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_finite_differences(backend: RecurrentBackend) -> None:
    # Not gradcheck, which goes backward through one graph many times: along a random direction, for all leaves at once.
    for number in range(50):
        supergraph = cell(2 + number % 4, "edge", output={"clip_norm": (None, 0.7)[number % 2]})
        _, fused = cores(supergraph, samples(supergraph.space, 1, seed=number)[0], backend)
        mask = dropout_mask(2) if number % 3 else None
        leaves = [drawn(3, 2, WIDTH, seed=number), drawn(2, WIDTH, seed=1), *fused.parameters.values()]
        leaves = [leaf.detach().requires_grad_() if n < 2 else leaf for n, leaf in enumerate(leaves)]
        ways = [drawn(*leaf.shape, seed=50 + n) for n, leaf in enumerate(leaves)]

        def value(leaves: list[Tensor] = leaves, fused: SequenceCore = fused, mask: Tensor | None = mask) -> Tensor:
            return (fused(leaves[0], leaves[1], mask)[0] * drawn(3, 2, WIDTH, seed=9)).sum()

        gradients = torch.autograd.grad(value(), leaves)
        slope = sum(float((way * gradient).sum()) for way, gradient in zip(ways, gradients, strict=True))
        sides = []
        with torch.no_grad():
            for shift in (1e-6, -2e-6):
                for leaf, way in zip(leaves, ways, strict=True):
                    leaf.add_(way, alpha=shift)
                sides.append(float(value()))
        assert (sides[0] - sides[1]) / 2e-6 == pytest.approx(slope, rel=1e-6, abs=1e-7), number


def test_two_graphs_alive_at_once_do_not_share_buffers(backend: RecurrentBackend) -> None:
    supergraph = cell(4)
    core, fused = cores(supergraph, samples(supergraph.space, 1)[0], backend)
    weights = list(fused.parameters.values())
    feeds = [(drawn(n, 2, WIDTH, seed=n), drawn(2, WIDTH, seed=7)) for n in (3, 5)]
    outputs = [fused(*fed, None)[0] for fed in feeds]
    with torch.no_grad():
        fused(*feeds[1], None)
    for fed, output in zip(feeds, outputs, strict=True):
        expected = core(*fed, None)[0]
        torch.testing.assert_close(output, expected)
        found = torch.autograd.grad(output.square().sum(), weights)
        assert_same(list(found), list(torch.autograd.grad(expected.square().sum(), weights)))


def test_a_state_that_is_carried_with_its_graph_goes_back_through_both_parts(backend: RecurrentBackend) -> None:
    supergraph = cell(4)
    core, fused = cores(supergraph, samples(supergraph.space, 1)[0], backend)
    inputs, weights = drawn(6, 2, WIDTH), list(fused.parameters.values())

    def whole(core: SequenceCore) -> list[Tensor]:
        first, state = core(inputs[:2], core.start(2, inputs), None)
        second, _ = core(inputs[2:], state, None)
        return list(torch.autograd.grad(first.sum() + second.square().sum(), weights))

    assert_same(whole(fused), whole(core))


def test_it_goes_backward_once_and_says_so(backend: RecurrentBackend) -> None:
    _, fused = cores(cell(2), choices(["tanh", "relu"], [0]), backend)
    loss = fused(drawn(2, 2, WIDTH), drawn(2, WIDTH), None)[0].sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="goes backward once"):
        loss.backward()
    inputs = drawn(2, 2, WIDTH).requires_grad_()
    with pytest.raises(RuntimeError, match="gradients of gradients"):
        torch.autograd.grad(fused(inputs, drawn(2, WIDTH), None)[0].sum(), inputs, create_graph=True)


@pytest.mark.parametrize("name", OPS)
def test_what_is_not_a_number_stays_so(backend: RecurrentBackend, name: str) -> None:
    core, fused = cores(cell(2, ops=(name,)), choices([name] * 2, [0]), backend)
    inputs = drawn(3, 2, WIDTH)
    inputs[1, 0, 0] = float("nan")
    found, expected = results(fused, inputs, drawn(2, WIDTH), None), results(core, inputs, drawn(2, WIDTH), None)
    assert found[0][1:, 0].isnan().all()
    assert not found[0][:, 1].isnan().any()
    assert_same(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e3, -1e3])
def test_gates_are_exact_at_their_ends(backend: RecurrentBackend, dtype: torch.dtype, size: float) -> None:
    supergraph = cell(1, ops=("identity",), output={"clip_norm": None})
    _, fused = cores(supergraph, choices(["identity"], []), backend, dtype=dtype)
    with torch.no_grad():
        for weight in fused.parameters.values():
            weight.zero_()
        bias = fused.parameters["cell/node0.x.bias"]
        bias[:WIDTH], bias[WIDTH:] = 3.0, size
    state = drawn(2, WIDTH).to(dtype)
    output = fused(drawn(2, 2, WIDTH).to(dtype), state, None)[0]
    assert torch.equal(output[1], torch.full_like(state, 3.0) if size > 0 else state)
    output.sum().backward()
    assert torch.equal(bias.grad[WIDTH:], torch.zeros(WIDTH, dtype=dtype))


def square(config: NoOptions) -> object:
    return torch.square


def square_derivative(config: NoOptions) -> object:
    return lambda x, y: 2 * x


def test_an_activation_of_a_plugin_is_fused_by_its_derivative_or_interpreted_and_said_once(
    backend: RecurrentBackend, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tanh = OPERATIONS["tanh"]
    named = {f"plugin.functions:{f.__name__}": f for f in (square, square_derivative)}
    for module in ("nasforge.executors.resolve", "nasforge.executors.kernels"):
        monkeypatch.setattr(f"{module}.resolve", lambda name: named.get(name) or resolve(name))
    alone = replace(tanh, name="tanh", build="plugin.functions:square", derivative="")
    both = replace(alone, derivative="plugin.functions:square_derivative")
    architecture = choices(["relu", "tanh", "tanh"], [0, 1])
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            core, same = cores(cell(3), architecture, backend, operations={**OPERATIONS, "tanh": alone})
            assert same is core
    assert caplog.text.count("operation 'tanh' has no 'derivative'") == 1
    core, fused = cores(cell(3), architecture, backend, operations={**OPERATIONS, "tanh": both}, init_range=0.3)
    assert isinstance(fused, FusedCore)
    fed = drawn(3, 2, WIDTH), drawn(2, WIDTH, seed=1)
    for mask in (None, dropout_mask(2)):
        assert_same(results(fused, *fed, mask), results(core, *fed, mask))


def test_a_mask_that_wants_a_gradient_is_interpreted(backend: RecurrentBackend) -> None:
    _, fused = cores(cell(2), choices(["tanh", "relu"], [0]), backend)
    mask = torch.ones(2, WIDTH, dtype=torch.float64, requires_grad=True)
    fused(drawn(2, 2, WIDTH), drawn(2, WIDTH), mask)[0].sum().backward()
    assert mask.grad is not None


def test_twenty_steps_of_training_are_those_of_the_interpreter(backend: RecurrentBackend, task: LanguageModel) -> None:
    supergraph, plan = cell(4), recipe(learning_rate=0.02, dropout_hidden=0.1, dropout_output=0.3, clip_norm=0.5)
    losses = []
    for each in (None, backend):
        supernet = SharedWeights(
            supergraph, OPERATIONS, task, plan, SharedWeightsOptions(hidden=8), seed=1, backend=each
        )
        trainer = Trainer(task, plan, total_steps=20, seed=2)
        losses.append([trainer.step([supernet.network(m)]).loss for m in samples(supergraph.space, 20, seed=3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
