"""Children of one group compute once what they have in common: equal scores, fewer operations, nothing kept."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from random_specs import supergraph_of
from small_images import BLOCK, CELLS, OPERATIONS, recipe, task_of
from torch.utils._python_dispatch import TorchDispatchMode

from nasforge.controllers.random import RandomController
from nasforge.executors.network import Network, sharing
from nasforge.executors.options import SharedWeightsOptions
from nasforge.executors.reuse import Group
from nasforge.executors.shared import SharedWeights
from nasforge.graph.supergraph import Supergraph
from nasforge.space.architecture import Architecture
from nasforge.strategies.enas import Enas
from nasforge.strategies.options import EnasOptions
from nasforge.tasks.base import Score
from nasforge.tasks.image_classification import ImageClassification

GRAPHS = {"macro": supergraph_of(BLOCK), "micro": supergraph_of(CELLS)}


class Counted(TorchDispatchMode):
    """Counts the calls of each torch function."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls[str(func)] += 1
        return func(*args, **(kwargs or {}))

    @property
    def convolutions(self) -> int:
        return self.calls["aten.convolution.default"]


def group_of(
    folder: Path, graph: Supergraph, architectures: list[Architecture], norms: str = "batch"
) -> tuple[ImageClassification, list[Network]]:
    """A task and children on one bank, whose running statistics a step has moved where they keep some."""
    task = task_of(folder)
    options = SharedWeightsOptions.model_validate({"hidden": 1, "norms": norms})
    executor = SharedWeights(graph, OPERATIONS, task, recipe(), options, seed=5)
    networks = [executor.network(architecture) for architecture in architectures]
    if norms == "running":
        with torch.no_grad():
            for network in networks:
                task.loss(network, recipe(), 0, None, 1)
    return task, networks


def scores(task: ImageClassification, networks: list[Network], index: int = 3) -> list[Score]:
    return [task.score_minibatch(network, index, 5) for network in networks]


def samples(graph: Supergraph, count: int, seed: int = 0) -> list[Architecture]:
    rng = random.Random(seed)
    return [graph.space.sample(rng) for _ in range(count)]


@pytest.mark.parametrize("norms", ["batch", "running"])
@pytest.mark.parametrize("name", GRAPHS)
def test_scores_are_equal_to_the_bit_and_fewer_operations_run(name: str, norms: str, folder: Path) -> None:
    architectures = samples(GRAPHS[name], 8)
    task, networks = group_of(folder, GRAPHS[name], [*architectures, architectures[2]], norms)
    scores(task, networks)
    with Counted() as alone:
        expected = scores(task, networks)
    with Counted() as together, sharing(networks):
        found = scores(task, networks)
    assert [score.loss for score in found] == [score.loss for score in expected] and found == expected
    assert len({score.loss for score in found}) > 3
    assert together.convolutions < 0.8 * alone.convolutions
    for function, calls in together.calls.items():
        assert calls <= alone.calls[function], function


def test_of_equal_children_one_runs(folder: Path) -> None:
    (architecture,) = samples(GRAPHS["macro"], 1)
    task, networks = group_of(folder, GRAPHS["macro"], [architecture] * 4)
    scores(task, networks)
    with Counted() as one:
        scores(task, networks[:1])
    with Counted() as four, sharing(networks):
        scores(task, networks)
    assert one.convolutions > 0 and four.convolutions == one.convolutions


def test_children_with_one_past_share_it_and_no_more(folder: Path) -> None:
    graph = GRAPHS["macro"]
    (base,) = samples(graph, 1)
    base = graph.space.architecture(
        {d.name: next((o for o in d.options if o.startswith("conv")), "no") for d in graph.space.decisions}
    )
    last = graph.space.architecture({**base, "layer3.op": graph.space.decision("layer3.op").options[0]})
    first = graph.space.architecture({**base, "layer1.op": graph.space.decision("layer1.op").options[0]})

    def convolutions(other: Architecture) -> tuple[int, int]:
        task, networks = group_of(folder, graph, [base, other])
        scores(task, networks)
        with Counted() as alone:
            scores(task, networks[1:])
        with Counted() as one:
            scores(task, networks[:1])
        with Counted() as both, sharing(networks):
            scores(task, networks)
        return both.convolutions - one.convolutions, alone.convolutions

    assert base != last != first
    # Of two chunks of images: what stands before the last operation; everything but the stem.
    assert convolutions(last)[0] == 2 * 1
    own, alone = convolutions(first)
    assert own == alone - 2 * 1


def test_nothing_is_kept_of_a_minibatch_that_all_have_read(folder: Path) -> None:
    task, networks = group_of(folder, GRAPHS["micro"], samples(GRAPHS["micro"], 5))
    modes = networks[0].core.modes
    assert modes is not None
    with sharing(networks):
        group = modes.reuse.group
        assert isinstance(group, Group)
        scores(task, networks[:3])
        kept = [state for states in group._states.values() for state in states.values()]
        assert len(kept) == 2 and all(state.values for state in kept)
        scores(task, networks[3:])
        assert not any(state.values for state in kept)
        scores(task, networks, index=4)
        # The images of the minibatch before are gone, and with them what was known of them.
        assert len(group._states) == 2
    assert modes.reuse.group is None


def test_other_images_share_nothing(folder: Path) -> None:
    task, networks = group_of(folder, GRAPHS["macro"], samples(GRAPHS["macro"], 3))
    expected = [scores(task, networks, index) for index in (1, 2)]
    with sharing(networks):
        assert [scores(task, networks, index) for index in (1, 2)] == expected
        # Half of one, then the other.
        mixed = [task.score_minibatch(network, index, 5) for network in networks for index in (1, 2)]
    assert mixed == [each for pair in zip(*expected, strict=True) for each in pair]


def test_a_child_that_is_scored_more_often_or_was_not_listed_has_its_score(folder: Path) -> None:
    task, networks = group_of(folder, GRAPHS["macro"], samples(GRAPHS["macro"], 4))
    expected = scores(task, networks)
    with sharing(networks[:3]):
        assert [scores(task, networks) for _ in range(3)] == [expected] * 3


def test_training_and_moving_statistics_share_nothing(folder: Path) -> None:
    (architecture,) = samples(GRAPHS["macro"], 1)
    task, networks = group_of(folder, GRAPHS["macro"], [architecture] * 2, "running")
    before = {name: value.clone() for name, value in networks[0].core.statistics.items()}

    def moved() -> list[torch.Tensor]:
        for name, value in networks[0].core.statistics.items():
            value.copy_(before[name])
        with torch.no_grad():
            for network in networks:
                task.loss(network, recipe(), 1, None, 7)
        return [value.clone() for value in networks[0].core.statistics.values()]

    def gradients() -> list[torch.Tensor]:
        total = sum(task.loss(network, recipe(), 2, None, 7).total for network in networks)
        parameters = list(networks[0].parameters.values())
        assert isinstance(total, torch.Tensor)
        return list(torch.autograd.grad(total, parameters))

    alone = moved(), gradients()
    with Counted() as single:
        gradients()
    with sharing(networks):
        together = moved(), gradients()
        with Counted() as shared:
            gradients()
    for one, other in zip((*alone[0], *alone[1]), (*together[0], *together[1]), strict=True):
        assert torch.equal(one, other)
    assert shared.convolutions == single.convolutions > 0


def test_images_of_a_minibatch_are_made_ready_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, networks = group_of(folder, GRAPHS["macro"], samples(GRAPHS["macro"], 3))
    made, inputs = [], ImageClassification._inputs

    def spy(self: ImageClassification, pixels: torch.Tensor) -> torch.Tensor:
        made.append(len(pixels))
        return inputs(self, pixels)

    monkeypatch.setattr(ImageClassification, "_inputs", spy)
    first = scores(task, networks)
    assert made == [7, 2]
    other = scores(task, networks, index=4)
    assert made == [7, 2] * 2 and other != first
    assert task.score_minibatch(networks[0], 4, 6) != other[0] and made == [7, 2] * 3


@pytest.mark.parametrize("candidates", [1, 6])
def test_the_controller_steps_of_a_search_score_their_candidates_as_a_group(candidates: int, folder: Path) -> None:
    graph = GRAPHS["macro"]
    (architecture,) = samples(graph, 1)
    task, (network,) = group_of(folder, graph, [architecture])
    with Counted() as one:
        task.score_minibatch(network, 0, 5)
    options = SharedWeightsOptions(hidden=1)
    search = Enas(
        EnasOptions(epochs=1, warmup_epochs=0, candidates_per_step=candidates),
        space=graph.space,
        controller=RandomController(graph.space, None, seed=1),
        executor=SharedWeights(graph, OPERATIONS, task, recipe(), options, seed=5),
        task=task,
        recipe=recipe(),
        seed=1,
    )
    with Counted() as counted:
        assert len(search._scores([architecture] * candidates)) == candidates
    assert counted.convolutions == one.convolutions > 0
