"""Image classification on small images of the user's own: batches, losses, scores, batch norms in each of their modes."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from random_specs import supergraph_of
from small_images import BLOCK, CELLS, OPERATIONS, fresh, recipe, task_of
from torch.nn import functional as F

from nasforge.errors import SpaceError
from nasforge.executors.network import ImageCore
from nasforge.executors.options import SharedWeightsOptions
from nasforge.executors.shared import SharedWeights, standalone
from nasforge.executors.training import Trainer
from nasforge.graph.supergraph import Supergraph
from nasforge.seeds import derive
from nasforge.tasks.image_classification import Classifier, ImageClassification


def shared(task: ImageClassification, graph: Supergraph) -> SharedWeights:
    return SharedWeights(graph, OPERATIONS, task, recipe(), SharedWeightsOptions(hidden=1), seed=5)


def test_every_epoch_shows_other_images_in_full_batches(folder: Path) -> None:
    task, given = task_of(folder), recipe()
    assert task.split_items("train") == 72 and task.steps_per_epoch(given) == 9
    seen = [task._batch(given, step, 3)[0] for step in range(18)]
    first, second = torch.cat(seen[:9]), torch.cat(seen[9:])
    assert first.shape == (72, 1, 6, 6) and not torch.equal(first, second)
    assert sorted(map(str, first.tolist())) == sorted(map(str, second.tolist()))
    again = task_of(folder)._batch(given, 12, 3)[0]
    assert torch.equal(again, seen[12])
    assert not torch.equal(task._batch(given, 0, 4)[0], seen[0])


def test_the_loss_is_the_cross_entropy_of_pooled_features(folder: Path) -> None:
    task, given = task_of(folder), recipe(label_smoothing=0.1)
    network = fresh(task, supergraph_of(BLOCK, "final"))
    result = task.loss(network, given, 4, None, 7)
    pixels, labels = task._batch(given, 4, 7)
    assert isinstance(network.core, ImageCore) and isinstance(network.shell, Classifier)
    with network.core.modes.norms.set("batch"):  # type: ignore[union-attr]
        features = network.core(task._inputs(pixels))
    logits = features.mean((2, 3)) @ network.shell.weight.T + network.shell.bias
    log_probabilities = logits.log_softmax(1)
    own = -log_probabilities[torch.arange(8), labels].mean()
    torch.testing.assert_close(result.data, own.detach())
    torch.testing.assert_close(result.total, 0.9 * own - 0.1 * log_probabilities.mean())
    assert (result.count, result.state) == (8, None)


def test_inputs_are_normalised_by_the_images_that_train(folder: Path) -> None:
    task = task_of(folder)
    images = task._inputs(task._parts["train"][0])
    assert float(images.mean()) == pytest.approx(0, abs=1e-6) and float(images.std()) == pytest.approx(1, abs=1e-3)
    assert abs(float(task._inputs(task._parts["test"][0]).mean())) > 1e-4
    raw = task_of(folder, normalise=False)
    assert float(raw._inputs(raw._parts["train"][0]).max()) <= 1


def test_dropout_is_drawn_anew_at_each_step_and_never_in_scoring(folder: Path) -> None:
    task, given = task_of(folder), recipe(dropout=0.5)
    network = fresh(task, supergraph_of(BLOCK, "final"))
    assert task.loss(network, given, 1, None, 7).total.equal(task.loss(network, given, 1, None, 7).total)
    assert not task.loss(network, given, 1, None, 7).total.equal(task.loss(network, recipe(), 1, None, 7).total)
    assert task.evaluate(network, "test", exact=True) == task.evaluate(network, "test", exact=True)


def test_accuracy_and_its_standard_error_by_hand(folder: Path) -> None:
    task = task_of(folder)
    network = fresh(task, supergraph_of(BLOCK, "final"))
    score = task.evaluate(network, "test", exact=True)
    pixels, labels = task._parts["test"]
    with network.scoring():
        logits = F.linear(network.core(task._inputs(pixels)).mean((2, 3)), network.shell.weight, network.shell.bias)  # type: ignore[operator,arg-type]
    p = float((logits.argmax(1) == labels).float().mean())
    assert (score.value, score.count) == (pytest.approx(100 * p), 30)
    assert score.standard_error == pytest.approx(100 * math.sqrt(p * (1 - p) / 30))
    assert score.loss == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)
    assert task.reward(score) == pytest.approx(p)


def test_reward_minibatches_are_equal_for_equal_index_and_have_their_size(folder: Path) -> None:
    task = task_of(folder)
    networks = [fresh(task, supergraph_of(BLOCK, "final"), seed) for seed in (0, 1)]
    first = [task.score_minibatch(network, 3, 5) for network in networks]
    task.score_minibatch(networks[0], 4, 5)
    assert [task.score_minibatch(network, 3, 5) for network in networks] == first
    assert first[0].count == task.minibatch_items() == 9
    assert task_of(folder, reward_batch_size=500).minibatch_items() == task.split_items("valid") == 18


def test_a_network_of_its_own_moves_its_statistics_in_training_and_takes_them_in_scoring(folder: Path) -> None:
    task = task_of(folder)
    network = fresh(task, supergraph_of(BLOCK, "final"))
    before = {name: value.clone() for name, value in network.core.statistics.items()}
    task.evaluate(network, "valid", exact=True)
    assert all(torch.equal(value, before[name]) for name, value in network.core.statistics.items())
    task.loss(network, recipe(), 0, None, 0)
    assert all(not torch.equal(value, before[name]) for name, value in network.core.statistics.items())
    whole = task.evaluate(network, "test", exact=True)
    other = task_of(folder, evaluation_batch_size=3).evaluate(network, "test", exact=True)
    assert whole.value == other.value and whole.loss == pytest.approx(other.loss, rel=1e-5)


def test_children_on_shared_weights_leave_statistics_alone_but_for_calibration(folder: Path) -> None:
    task = task_of(folder)
    executor = shared(task, supergraph_of(BLOCK))
    architecture = supergraph_of(BLOCK).space.sample(random.Random(3))
    network = executor.network(architecture)
    before = {name: value.clone() for name, value in network.core.statistics.items()}
    task.loss(network, recipe(), 0, None, 0)
    task.evaluate(network, "valid", exact=False)
    assert all(torch.equal(value, before[name]) for name, value in network.core.statistics.items())
    calibrated = executor.calibrated(architecture)
    assert calibrated.evaluate_norms == "fixed" and network.evaluate_norms == "batch"
    name = next(name for name in calibrated.core.statistics if name.endswith("stem.norm.mean"))
    pixels = [task._batch(recipe(), step, derive(5, "calibration"))[0] for step in range(20)]
    weight = network.core.parameters["main/stem.weight"]
    means = [F.conv2d(task._inputs(each), weight, padding=1).mean((0, 2, 3)) for each in pixels]
    torch.testing.assert_close(
        calibrated.core.statistics[name], torch.stack(means).mean(0).detach(), rtol=1e-4, atol=1e-5
    )


def test_running_statistics_move_in_the_search_score_its_rewards_and_outlive_calibration(folder: Path) -> None:
    task, graph = task_of(folder), supergraph_of(BLOCK)
    config = SharedWeightsOptions(hidden=1, norms="running")

    def moved() -> SharedWeights:
        executor = SharedWeights(graph, OPERATIONS, task, recipe(), config, seed=5)
        trainer = Trainer(task, recipe(), 6, seed=3)
        for _ in range(6):
            trainer.step([executor.network(architecture)])
        return executor

    architecture = graph.space.sample(random.Random(3))
    executor = moved()
    network = executor.network(architecture)
    running = {name: value.clone() for name, value in network.core.statistics.items()}
    assert any(float(value.abs().max()) > 0 for name, value in running.items() if name.endswith("mean"))
    assert network.evaluate_norms == "fixed"
    score = task.score_minibatch(network, 0, 1)
    calibrated = task.evaluate(executor.calibrated(architecture), "valid", exact=False)
    assert calibrated != task.evaluate(executor.network(architecture), "valid", exact=False)
    assert task.score_minibatch(executor.network(architecture), 0, 1) == score
    executor.calibrated(architecture)
    values = executor.values()
    assert all(torch.equal(values[f"core.{name}"], value) for name, value in running.items())
    again = SharedWeights(graph, OPERATIONS, task, recipe(), config, seed=6)
    again.load_values(values)
    assert task.score_minibatch(again.network(architecture), 0, 1) == score


@pytest.mark.parametrize("block", [BLOCK, CELLS], ids=lambda block: block["kind"])
def test_the_child_with_copied_weights_equals_the_supernet_in_evaluation(folder: Path, block: dict[str, Any]) -> None:
    """Statistics, weights and all: 100 architectures of each kind."""
    task, graph = task_of(folder), supergraph_of(block)
    executor, rng = shared(task, graph), random.Random(0)
    for _ in range(100):
        architecture = graph.space.sample(rng)
        calibrated = executor.calibrated(architecture)
        own = standalone(graph, architecture, OPERATIONS, task, recipe(), width=1, seed=9)
        own.load_values(calibrated.copy_values())
        assert task.evaluate(own, "test", exact=True) == task.evaluate(calibrated, "test", exact=True)


@pytest.mark.parametrize("block", [BLOCK, CELLS], ids=lambda block: block["kind"])
def test_every_choice_changes_the_output(folder: Path, block: dict[str, Any]) -> None:
    task, graph = task_of(folder), supergraph_of(block)
    executor, space = shared(task, graph), graph.space
    images = task._inputs(task._parts["test"][0])

    def output(choices: dict[str, str]) -> torch.Tensor:
        network = executor.network(space.architecture(choices))
        assert isinstance(network.core, ImageCore)
        with network.scoring():
            return network.core(images)

    start = dict(space.sample(random.Random(1)))
    for decision in space.decisions:
        found = [output({**start, decision.name: option}) for option in decision.options]
        for index, one in enumerate(found):
            for other in found[index + 1 :]:
                assert not torch.allclose(one, other), decision.name


def test_a_step_leaves_weights_alone_that_were_not_sampled(folder: Path) -> None:
    task, graph = task_of(folder), supergraph_of(BLOCK)
    executor = shared(task, graph)
    for architecture in graph.space.everything()[::40]:
        executor.network(architecture)
    before = dict(executor.values())
    network = executor.network(graph.space.sample(random.Random(8)))
    Trainer(task, recipe(), 10, seed=0).step([network])
    after = executor.values()
    moved = {name for name in after if name in before and not torch.equal(before[name], after[name])}
    assert moved and moved <= set(network.parameters)


def test_a_small_network_learns_bright_rows(folder: Path) -> None:
    task = task_of(folder)
    network = fresh(task, supergraph_of(BLOCK, "final"), 4)
    trainer = Trainer(task, recipe(learning_rate=0.01), 90, seed=0)
    for _ in range(90):
        trainer.step([network])
    assert task.evaluate(network, "test", exact=True).value > 90


def test_networks_of_several_widths_cannot_share_a_classifier(folder: Path) -> None:
    block = {**BLOCK, "layers": {"choose": 1, "from": [1, 3]}, "reduce_after": [1]}
    graph = supergraph_of(block, "final")
    executor = shared(task_of(folder), graph)
    small, large = (next(each for each in graph.space.everything() if each["layers"] == size) for size in ("1", "3"))
    executor.network(small)
    with pytest.raises(SpaceError, match="4 or 8 channels"):
        executor.network(large)


NAMES: tuple[Literal["batch", "running"], ...] = ("batch", "running")


@pytest.mark.parametrize("norms", NAMES)
def test_a_child_that_is_not_finite_spoils_no_other_ones_calibration(
    folder: Path, norms: Literal["batch", "running"]
) -> None:
    task, graph = task_of(folder), supergraph_of(BLOCK)
    executor = SharedWeights(graph, OPERATIONS, task, recipe(), SharedWeightsOptions(hidden=1, norms=norms), seed=5)
    bad, good = (graph.space.architecture(chosen(graph, op)) for op in ("conv(kernel=3)", "identity"))
    expected = task.evaluate(executor.calibrated(good), "valid", exact=False)
    weight = next(
        p for name, p in executor.network(bad).core.parameters.items() if name.endswith("conv(kernel=3).weight")
    )
    with torch.no_grad():
        weight.fill_(math.inf)
    assert math.isnan(task.evaluate(executor.calibrated(bad), "valid", exact=False).value)
    assert task.evaluate(executor.calibrated(good), "valid", exact=False) == expected


def chosen(graph: Supergraph, op: str) -> dict[str, str]:
    """Every layer chooses `op`, and no skips."""
    return {d.name: op if d.role == "op" else d.options[0] for d in graph.space.decisions}


def test_a_skipped_step_leaves_running_statistics_alone(folder: Path) -> None:
    task = task_of(folder)
    network = fresh(task, supergraph_of(BLOCK, "final"))
    trainer = Trainer(task, recipe(), 3, seed=3)
    trainer.step([network])
    before = {name: value.clone() for name, value in network.core.statistics.items()}
    stem = network.core.parameters["main/stem.weight"]
    kept = stem.detach().clone()
    with torch.no_grad():
        stem.fill_(math.nan)
    assert trainer.step([network]).skipped
    assert all(torch.equal(value, before[name]) for name, value in network.core.statistics.items())
    with torch.no_grad():
        stem.copy_(kept)
    assert not trainer.step([network]).skipped
    assert not all(torch.equal(value, before[name]) for name, value in network.core.statistics.items())


def test_values_that_are_loaded_replace_what_calibration_would_put_back(folder: Path) -> None:
    task, graph = task_of(folder), supergraph_of(BLOCK)
    config = SharedWeightsOptions(hidden=1, norms="running")
    executor = SharedWeights(graph, OPERATIONS, task, recipe(), config, seed=5)
    architecture = graph.space.sample(random.Random(3))
    Trainer(task, recipe(), 2, seed=3).step([executor.network(architecture)])
    saved = executor.values()
    Trainer(task, recipe(), 2, seed=4).step([executor.network(architecture)])
    executor.calibrated(architecture)
    executor.load_values(saved)
    found = executor.values()
    assert set(found) == set(saved) and all(torch.equal(found[name], saved[name]) for name in saved)
