"""Shared weights: a child of the supernet is the derived network on the same numbers."""

from __future__ import annotations

import pytest
import torch
from helpers import OPERATIONS, cell, recipe, samples
from torch import Tensor

from nasforge.executors import shared
from nasforge.executors.loops import PythonLoops
from nasforge.executors.network import Network
from nasforge.executors.options import SharedWeightsOptions
from nasforge.executors.recurrent import RecurrentBackend
from nasforge.executors.shared import SharedWeights, standalone
from nasforge.graph.supergraph import Supergraph
from nasforge.kinds.recurrent_cell import SHARE_KEYS
from nasforge.tasks.language_model import LanguageModel

WIDTH = 4


def executor(
    supergraph: Supergraph, task: LanguageModel, seed: int = 1, backend: RecurrentBackend | None = None
) -> SharedWeights:
    # What is claimed here to the bit holds for each backend; between them it holds up to rounding (test_fused.py).
    config = SharedWeightsOptions(hidden=WIDTH)
    return SharedWeights(supergraph, OPERATIONS, task, recipe(), config, seed=seed, backend=backend)


def step(network: Network, task: LanguageModel) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a training window with dropout, and the gradient of every weight that takes part."""
    loss = task.loss(network, recipe(bptt=3, dropout_hidden=0.3, dropout_output=0.2), 0, None, seed=3).total
    names = list(network.parameters)
    gradients = torch.autograd.grad(loss, [network.parameters[name] for name in names])
    return loss, dict(zip(names, gradients, strict=True))


@pytest.mark.parametrize("backend", ["interpreter", "python", "native"])
@pytest.mark.parametrize("share", SHARE_KEYS)
def test_child_of_the_supernet_equals_the_derived_network_bit_for_bit(
    share: str, backend: str, task: LanguageModel, request: pytest.FixtureRequest
) -> None:
    supergraph = cell(5, share)
    fused = None
    if backend != "interpreter":
        fused = RecurrentBackend(PythonLoops() if backend == "python" else request.getfixturevalue("native"))
    supernet = executor(supergraph, task, backend=fused)
    for architecture in samples(supergraph.space, 34, seed=4):
        child = supernet.network(architecture)
        derived = standalone(supergraph, architecture, OPERATIONS, task, recipe(), width=WIDTH, seed=99, backend=fused)
        assert list(derived.parameters) == list(child.parameters)
        assert not all(torch.equal(p, derived.parameters[name]) for name, p in child.parameters.items())
        derived.load_values(child.copy_values())
        (one, gradients), (other, others) = step(child, task), step(derived, task)
        assert torch.equal(one, other)
        assert all(torch.equal(gradients[name], others[name]) for name in gradients)
        assert task.evaluate(child, "test", exact=False) == task.evaluate(derived, "test", exact=False)


def test_children_share_parameters_and_derived_networks_do_not(task: LanguageModel) -> None:
    supergraph = cell(3)
    a, b = samples(supergraph.space, 2, seed=1)
    assert a != b
    supernet = executor(supergraph, task)
    one, other = supernet.network(a), supernet.network(b)
    assert set(one.parameters) == set(other.parameters)
    assert all(one.parameters[name] is other.parameters[name] for name in one.parameters)
    derived = standalone(supergraph, a, OPERATIONS, task, recipe(), width=WIDTH, seed=1)
    assert not {id(p) for p in derived.parameters.values()} & {id(p) for p in one.parameters.values()}


def test_derived_networks_of_one_seed_start_from_equal_weights_where_keys_agree(task: LanguageModel) -> None:
    supergraph = cell(4, "edge_op")
    a, b = samples(supergraph.space, 2, seed=2)
    one, other = (
        standalone(supergraph, architecture, OPERATIONS, task, recipe(), width=WIDTH, seed=7).parameters
        for architecture in (a, b)
    )
    common = set(one) & set(other)
    assert common < set(one)
    assert len(common) >= 2
    assert all(torch.equal(one[name], other[name]) for name in common)


def test_a_derived_network_may_have_another_width(task: LanguageModel) -> None:
    supergraph = cell(3)
    network = standalone(supergraph, samples(supergraph.space, 1)[0], OPERATIONS, task, recipe(), width=9, seed=1)
    vocabulary = len(task.corpus.vocabulary)
    assert network.count() == vocabulary * 9 + vocabulary + 4 * 2 * 9 * 9 + 2 * 9


def test_a_child_is_bound_once_and_the_number_of_bound_children_is_bounded(
    task: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "CACHED_CHILDREN", 2)
    supergraph = cell(4)
    a, b, c = samples(supergraph.space, 3, seed=3)
    supernet = executor(supergraph, task)
    first, second = supernet.network(a), supernet.network(b)
    assert supernet.network(a) is first
    supernet.network(c)  # b was used least recently and leaves
    assert supernet.network(a) is first
    again = supernet.network(b)
    assert again is not second
    assert all(again.parameters[name] is second.parameters[name] for name in second.parameters)


def test_values_of_one_executor_continue_in_another(task: LanguageModel) -> None:
    supergraph = cell(4, "edge_op")
    architectures = samples(supergraph.space, 6, seed=5)
    source, target = executor(supergraph, task, seed=1), executor(supergraph, task, seed=2)
    for architecture in architectures[:4]:
        source.network(architecture)
    target.network(architectures[0])  # already there when the values come; the others are allocated later
    target.load_values(source.values())
    for architecture in architectures[:4]:
        one, other = source.network(architecture).parameters, target.network(architecture).parameters
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_values_are_copies_of_everything_allocated(task: LanguageModel) -> None:
    supergraph = cell(3, "edge_op")
    supernet = executor(supergraph, task)
    networks = [supernet.network(architecture) for architecture in samples(supergraph.space, 3)]
    values = supernet.values()
    assert set(values) == {name for network in networks for name in network.parameters}
    before = {name: value.clone() for name, value in values.items()}
    with torch.no_grad():
        for parameter in networks[0].parameters.values():
            parameter.add_(1)
    assert all(torch.equal(values[name], before[name]) for name in values)
