"""The auxiliary classifier: its layers, its loss, and that it is no part of the network that is kept."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from random_specs import supergraph_of
from small_images import BLOCK, CELLS, OPERATIONS, fresh, recipe, task_of
from torch.nn import functional as F

from nasforge.errors import PluginError, SpaceError
from nasforge.executors.network import ImageCore
from nasforge.executors.options import SharedWeightsOptions
from nasforge.executors.shared import SharedWeights, standalone
from nasforge.executors.training import Trainer
from nasforge.graph.plan import plan_architecture
from nasforge.tasks.auxiliary import AuxiliaryClassifier
from nasforge.tasks.base import Task
from nasforge.tasks.image_classification import ImageClassification
from nasforge.tasks.image_options import ImageClassificationOptions


def test_on_cifar_it_has_the_weights_of_the_reference_code() -> None:
    """8x8 pixels become 2x2; the batch norms' scales and offsets, and the bias of the classifier, are beside them."""
    classifier = AuxiliaryClassifier((144, 8, 8), 10, seed=0)
    matrices = 144 * 128 + 128 * 768 * 2 * 2 + 768 * 10
    assert sum(p.numel() for p in classifier.parameters()) == matrices + 2 * 128 + 2 * 768 + 10
    assert classifier(torch.randn(3, 144, 8, 8)).shape == (3, 10)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 5), (14, 9)])
def test_it_reads_values_of_any_size(size: tuple[int, int]) -> None:
    logits = AuxiliaryClassifier((6, *size), 4, seed=0)(torch.randn(3, 6, *size))
    assert logits.shape == (3, 4) and bool(logits.isfinite().all())


@pytest.mark.parametrize("block", [BLOCK, CELLS])
def test_its_loss_is_added_in_training_and_it_is_not_kept(folder: Path, block: dict[str, Any]) -> None:
    task, graph = task_of(folder), supergraph_of(block, "final")
    given = recipe(auxiliary_weight=0.4)
    architecture = graph.space.sample(random.Random(0))
    network = standalone(graph, architecture, OPERATIONS, task, given, width=1, seed=0)
    plain = fresh(task, graph)
    assert (
        set(network.parameters)
        == set(plain.parameters)
        == set(network.copy_values()) - set(network._values) | set(network.parameters)
    )
    assert network.count() == plain.count() and network.addition is not None
    assert set(network.trained) > set(network.parameters)
    both, own = task.loss(network, given, 4, None, 7), task.loss(plain, recipe(), 4, None, 7)
    assert torch.equal(both.data, own.data)
    pixels, labels = task._batch(given, 4, 7)
    assert isinstance(network.addition.core, ImageCore)
    with network.training():
        outputs = network.addition.core.with_outputs(task._inputs(pixels))[1]
    on_the_way = F.cross_entropy(network.addition.shell(outputs["auxiliary"]), labels)
    torch.testing.assert_close(both.total, own.total + 0.4 * on_the_way)
    both.total.backward()
    assert all(parameter.grad is not None for parameter in network.addition.shell.parameters())


def test_its_weights_are_trained(folder: Path) -> None:
    task, graph = task_of(folder), supergraph_of(CELLS, "final")
    given = recipe(auxiliary_weight=0.4, drop_path=0.2)
    network = standalone(graph, graph.space.sample(random.Random(0)), OPERATIONS, task, given, width=1, seed=0)
    assert network.addition is not None
    before = {name: value.detach().clone() for name, value in network.trained.items()}
    trainer = Trainer(task, given, 8, seed=3)
    reports = [trainer.step([network]) for _ in range(8)]
    assert not any(report.skipped for report in reports)
    assert not [name for name, value in network.trained.items() if torch.equal(before[name], value)]


def test_children_on_shared_weights_share_it_and_its_weights_are_kept(folder: Path) -> None:
    task, graph = task_of(folder), supergraph_of(CELLS, "search")
    given = recipe(auxiliary_weight=0.4)

    def executor() -> SharedWeights:
        return SharedWeights(graph, OPERATIONS, task, given, SharedWeightsOptions(hidden=1), seed=5)

    shared = executor()
    one, other = (shared.network(graph.space.sample(random.Random(seed))) for seed in (0, 1))
    assert one.addition is not None and other.addition is not None
    assert one.addition.shell is other.addition.shell
    Trainer(task, given, 4, seed=3).step([one])
    values = shared.values()
    assert {name for name in values if name.startswith("training.")}
    again = executor()
    again.load_values(values)
    assert set(again.values()) == set(values)
    assert all(torch.equal(value, values[name]) for name, value in again.values().items())


def test_an_output_that_no_network_has_is_named() -> None:
    graph = supergraph_of(BLOCK, "final")
    with pytest.raises(SpaceError, match="no output 'nowhere'"):
        plan_architecture(graph, graph.space.sample(random.Random(0)), ["nowhere"])


def test_single_images_are_refused_since_batch_norms_need_two() -> None:
    with pytest.raises(ValidationError, match="batch_size"):
        recipe(batch_size=1)
    with pytest.raises(ValidationError, match="reward_batch_size"):
        ImageClassificationOptions(reward_batch_size=1)


def test_a_task_that_cannot_read_what_its_recipe_asks_for_says_so(folder: Path) -> None:
    class Unaware(ImageClassification):
        training_shell = Task.training_shell  # type: ignore[assignment]

    config = ImageClassificationOptions.model_validate(
        {"data": {"npz": "rows.npz"}, "valid_fraction": 0.2, "reward_batch_size": 9}
    )
    task, graph = Unaware(config, folder, seed=1), supergraph_of(CELLS, "final")
    given = recipe(auxiliary_weight=0.4)
    with pytest.raises(PluginError, match="Unaware asks for auxiliary, but the task has no 'training_shell'"):
        standalone(graph, graph.space.sample(random.Random(0)), OPERATIONS, task, given, width=1, seed=0)
