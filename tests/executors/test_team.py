"""A team of two: what it computes together is what one process computes with batches of twice the size."""

from __future__ import annotations

import hashlib
import math
import os
import random
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import small_images
import torch
from helpers import OPERATIONS, cell, choices, language_model, recipe, samples
from random_specs import supergraph_of
from small_images import BLOCK, CELLS, bright_rows, task_of
from teams import of_two, on_two

from nasforge.controllers.lstm import LstmController
from nasforge.controllers.options import LstmOptions
from nasforge.errors import DataError, RunFailedError
from nasforge.executors.network import Network
from nasforge.executors.options import SharedWeightsOptions
from nasforge.executors.shared import SharedWeights, standalone
from nasforge.executors.team import ALONE, Team
from nasforge.executors.training import Trainer, learning_rate
from nasforge.strategies.enas import Enas
from nasforge.strategies.options import EnasOptions
from nasforge.tasks.base import Score
from nasforge.tasks.image_classification import ImageClassification


@pytest.fixture
def corpus(corpus_folder: Path, tmp_path: Path) -> Path:
    for file in corpus_folder.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path


def sha(values: Any) -> str:
    digest = hashlib.sha256()
    for name, value in values.items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


# The team alone ------------------------------------------------------------------------------------------------------


def _averages(team: Team, folder: Path) -> Any:
    one, other = torch.full((2, 3), float(team.rank)), torch.tensor([1.0, math.nan if team.rank else 2.0])
    last = torch.ones(2, 2, 2, 2).to(memory_format=torch.channels_last) * (3 + team.rank)
    team.average([one, other, last])
    return one, other, last


def test_an_average_is_that_of_the_ranks_and_what_is_not_finite_spreads(tmp_path: Path) -> None:
    for one, other, last in of_two(_averages, tmp_path):
        assert torch.equal(one, torch.full((2, 3), 0.5))
        assert other[0] == 1 and other[1].isnan()
        assert torch.equal(last, torch.full((2, 2, 2, 2), 3.5))


def _shares(team: Team, folder: Path) -> Any:
    done = []

    def work(i: int) -> tuple[float, float]:
        done.append(i)
        return i / 3, {1: math.nan, 2: -math.inf}.get(i, 0.1)

    return done, team.share(5, work, 2), team.share(1, work, 2), team.share(0, work, 2)


def test_shared_work_is_done_once_and_every_rank_has_all_of_it_in_order(tmp_path: Path) -> None:
    (zero, *told), (one, *same) = of_two(_shares, tmp_path)
    assert zero == [0, 2, 4, 0] and one == [1, 3]
    assert repr(told) == repr(same)
    assert [first for first, _ in told[0]] == [i / 3 for i in range(5)]
    assert math.isnan(told[0][1][1]) and told[0][2][1] == -math.inf and told[0][4][1] == 0.1
    assert told[1] == [(0.0, 0.1)] and told[2] == []


def _announces(team: Team, folder: Path) -> Any:
    return team.announce("größe" if team.rank == 0 else "nothing"), team.announce()


def test_what_the_first_rank_announces_all_hear(tmp_path: Path) -> None:
    assert of_two(_announces, tmp_path) == [("größe", "")] * 2


def test_a_team_of_one_does_its_work_and_changes_nothing() -> None:
    value = torch.tensor([1.0, 3.0])
    ALONE.average([value])
    assert value.tolist() == [1, 3]
    assert ALONE.share(3, lambda i: (float(i),), 1) == [(0.0,), (1.0,), (2.0,)]
    assert ALONE.announce("word") == "word"
    assert ALONE.rows(4) == slice(0, 4)


def _gone(team: Team, folder: Path) -> Any:
    team.average([torch.ones(3)])  # Both have found the other.
    if team.rank == 1:
        os._exit(0)
    with pytest.raises(RunFailedError, match=r"rank 0 of 2: another rank of this run has ended or does not answer"):
        team.average([torch.ones(3)])
    (folder / "said").touch()
    os._exit(0)


def test_a_rank_that_has_gone_is_named_in_words(tmp_path: Path) -> None:
    on_two(_gone, tmp_path)
    assert (tmp_path / "said").exists()


# Recurrent networks --------------------------------------------------------------------------------------------------

DROPPING = {
    "optimizer": "adam",
    "learning_rate": 0.01,
    "bptt": 5,
    "dropout_words": 0.1,
    "dropout_embedding": 0.2,
    "dropout_input": 0.2,
    "dropout_hidden": 0.3,
    "dropout_output": 0.3,
    "activation_regularization": 1.0,
    "temporal_activation_regularization": 0.5,
    "weight_decay": 1e-3,
}


def doubles(network: Network) -> Network:
    """The same network in float64, where sums in another order differ by next to nothing."""
    for parameter in network.trained.values():
        parameter.data = parameter.data.double()
    for value in network.core.statistics.values():
        value.data = value.data.double()
    return network


def recurrent_steps(team: Team, folder: Path, batch_size: int) -> tuple[list[float], int, dict[str, torch.Tensor]]:
    task = language_model(folder, team=team)
    plan = recipe(batch_size=batch_size, **DROPPING)
    supergraph = cell(4)
    architecture = samples(supergraph.space, 1, seed=5)[0]
    network = doubles(standalone(supergraph, architecture, OPERATIONS, task, plan, width=6, seed=1))
    n_steps = task.steps_per_epoch(plan) + 2  # The state is carried on, and once begins anew.
    trainer = Trainer(task, plan, n_steps, seed=2)
    losses = [trainer.step([network]).loss for _ in range(n_steps)]
    return losses, trainer.items, network.copy_values()


def _recurrent(team: Team, folder: Path) -> Any:
    return recurrent_steps(team, folder, 3)


def test_two_ranks_do_the_steps_of_one_with_twice_the_batch(corpus: Path) -> None:
    losses, items, weights = recurrent_steps(ALONE, corpus, 6)
    (theirs, n, mine), (same, _, other) = of_two(_recurrent, corpus)
    assert len(losses) > 5 and theirs == pytest.approx(losses, rel=1e-6) and theirs == same
    assert n == items
    assert sha(mine) == sha(other)
    for name, value in weights.items():
        torch.testing.assert_close(mine[name], value, rtol=1e-9, atol=1e-12)


SMALL = {"relu": choices(["relu", "relu", "relu"], [0, 1]), "tanh": choices(["tanh", "tanh", "tanh"], [0, 0])}


def _shared_weights(team: Team, folder: Path) -> Any:
    task = language_model(folder, team=team)
    plan = recipe(batch_size=3, dropout_input=0.2, optimizer="sgd", momentum=0.9, weight_decay=0.1, learning_rate=0.5)
    supergraph = cell(3, "edge_op")
    bank = SharedWeights(supergraph, OPERATIONS, task, plan, SharedWeightsOptions(hidden=5), seed=0)
    first, second = (bank.network(supergraph.space.architecture(SMALL[name])) for name in SMALL)
    before = bank.values()
    trainer = Trainer(task, plan, 10, seed=0)
    for _ in range(3):
        trainer.step([first])
    after = bank.values()
    left_out = [name for name in before if name.startswith("core.") and name not in first.parameters]
    assert left_out and set(left_out) <= second.parameters.keys()
    assert all(torch.equal(before[name], after[name]) for name in left_out)
    assert not any(torch.equal(before[name], after[name]) for name in first.parameters)
    trainer.step([first, second])
    return sha(bank.values())


def test_ranks_stay_equal_to_the_bit_and_touch_sampled_weights_only(corpus: Path) -> None:
    one, other = of_two(_shared_weights, corpus)
    assert one == other


def _one_is_not_finite(team: Team, folder: Path) -> Any:
    task = language_model(folder, team=team)
    network = standalone(cell(2), samples(cell(2).space, 1)[0], OPERATIONS, task, recipe(), width=4, seed=0)
    trainer = Trainer(task, recipe(learning_rate=0.1), 10, seed=0)
    before = sha(network.copy_values())
    original = task.loss

    def loss(*given: Any) -> Any:
        result = original(*given)
        return replace(result, total=result.total * math.nan) if team.rank == 1 else result

    task.loss = loss  # type: ignore[method-assign]
    reports = [trainer.step([network]).skipped]
    assert sha(network.copy_values()) == before
    task.loss = original  # type: ignore[method-assign]
    reports.append(trainer.step([network]).skipped)
    return reports, sha(network.copy_values())


def test_a_step_that_is_not_finite_on_one_rank_is_skipped_on_all(corpus: Path) -> None:
    one, other = of_two(_one_is_not_finite, corpus)
    assert one == other and one[0] == [True, False]


def _scores(team: Team, folder: Path) -> Any:
    task = language_model(folder, team=team)
    return task.scores(3, lambda i: Score(i / 7, float(i), i, 0.5 if i == 1 else None))


def test_scores_that_are_shared_out_come_back_whole(corpus: Path) -> None:
    expected = [Score(0.0, 0.0, 0), Score(1 / 7, 1.0, 1, 0.5), Score(2 / 7, 2.0, 2)]
    with torch.serialization.safe_globals([Score]):
        assert of_two(_scores, corpus) == [expected, expected]


# An architecture for each rank ---------------------------------------------------------------------------------------

OPTIMISERS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam", "learning_rate": 0.01, "clip_norm": 0.5, "weight_decay": 1e-3},
    "momentum": {"optimizer": "sgd", "learning_rate": 0.3, "momentum": 0.9, "clip_norm": None, "weight_decay": 0.1},
}
DRAWN = [("relu", "tanh"), ("tanh", "tanh"), ("relu", "relu"), ("tanh", "relu")]
"""Which cell each of two ranks trains in each step."""


class Bank:
    """Shared weights in float64, of which each (node, input, operation) has its own."""

    def __init__(self, team: Team, folder: Path, optimiser: str) -> None:
        self.plan = recipe(**{**DROPPING, **OPTIMISERS[optimiser], "batch_size": 3})
        self.tasks = [language_model(folder, team=replace(team, rank=rank)) for rank in range(2)]
        self.graph, self.task = cell(3, "edge_op"), language_model(folder, team=team)
        config = SharedWeightsOptions(hidden=5)
        self.shared = SharedWeights(self.graph, OPERATIONS, self.task, self.plan, config, seed=0)

    def network(self, name: str) -> Network:
        return doubles(self.shared.network(self.graph.space.architecture(SMALL[name])))


def on_their_own(team: Team, folder: Path, optimiser: str) -> Any:
    bank = Bank(team, folder, optimiser)
    trainer = Trainer(bank.task, bank.plan, 20, seed=2)
    losses = []
    for names in DRAWN:
        everyone = [bank.network(name) for name in names]
        losses.append(trainer.step([everyone[team.rank]], everyone).loss)
    return losses, bank.shared.values(), trainer.items


def _on_their_own_adam(team: Team, folder: Path) -> Any:
    return on_their_own(team, folder, "adam")


def _on_their_own_momentum(team: Team, folder: Path) -> Any:
    return on_their_own(team, folder, "momentum")


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_two_ranks_with_a_cell_each_do_what_one_process_does_with_both(optimiser: str, corpus: Path) -> None:
    """By hand: network i on part i of the batch, the mean of both gradients, torch's optimiser without fused kernels."""
    bank = Bank(Team(0, 2), corpus, optimiser)
    plan, states, losses = bank.plan, [None, None], []
    placeholder = [torch.nn.Parameter(torch.zeros(1))]
    if optimiser == "adam":
        own: Any = torch.optim.Adam(placeholder, betas=plan.betas, weight_decay=plan.weight_decay, foreach=False)
    else:
        given = {"momentum": plan.momentum, "nesterov": True, "weight_decay": plan.weight_decay}
        own = torch.optim.SGD(placeholder, lr=1.0, foreach=False, **given)
    for step, names in enumerate(DRAWN):
        results = []
        for i, name in enumerate(names):
            network = bank.network(name)
            results.append(bank.tasks[i].loss(network, plan, step, states[i], 2))
            (results[i].total / 2).backward()
        states = [result.state for result in results]
        losses.append(sum(float(result.data) for result in results) / 2)
        parameters = list({id(p): p for name in names for p in bank.network(name).parameters.values()}.values())
        assert all(parameter.grad is not None for parameter in parameters)
        if plan.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, plan.clip_norm)
        own.param_groups[0].update(params=parameters, lr=learning_rate(plan, step, 20, bank.task.steps_per_epoch(plan)))
        own.step()
        for parameter in parameters:
            parameter.grad = None
    work = {"adam": _on_their_own_adam, "momentum": _on_their_own_momentum}[optimiser]
    (theirs, mine, items), (same, other, _) = of_two(work, corpus)
    assert theirs == same == pytest.approx(losses, rel=1e-6)
    assert items == 2 * 3 * 5 * len(DRAWN)
    assert sha(mine) == sha(other)
    for name, value in bank.shared.values().items():
        torch.testing.assert_close(mine[name], value, rtol=1e-7, atol=1e-10)
    # Some weights are those of one of the two cells alone.
    assert set(bank.network("relu").parameters) ^ set(bank.network("tanh").parameters)


def _weights_of_one(team: Team, folder: Path) -> Any:
    """Both ranks know both cells; only what one of the two names may move."""
    bank = Bank(team, folder, "momentum")
    for name in SMALL:
        bank.network(name)
    before = bank.shared.values()
    everyone = [bank.network("relu"), bank.network("relu")]
    Trainer(bank.task, bank.plan, 20, seed=2).step([everyone[team.rank]], everyone)
    after = bank.shared.values()
    idle = [name for name in before if name not in everyone[0].parameters]
    return idle, [torch.equal(before[name], after[name]) for name in idle], sha(after)


def test_weights_that_no_rank_names_stand_still(corpus: Path) -> None:
    (idle, still, one), (_, _, other) = of_two(_weights_of_one, corpus)
    assert idle and all(still) and one == other


def searched(team: Team, folder: Path, architectures: str, norms: str = "batch") -> Any:
    """Values after a search of images, what it cost and the names of its weights by step."""
    task, plan = task_of(folder, team=team), small_images.recipe(batch_size=4, auxiliary_weight=0.4, drop_path=0.2)
    graph = supergraph_of(CELLS)
    config = SharedWeightsOptions.model_validate({"norms": norms})
    executor = SharedWeights(graph, small_images.OPERATIONS, task, plan, config, seed=0)
    controller = LstmController(graph.space, LstmOptions(units=8), seed=0)
    options = {"epochs": 2, "controller_steps": 2, "candidates_per_step": 3, "architectures": architectures}
    parts = {"space": graph.space, "controller": controller, "executor": executor, "task": task, "recipe": plan}
    search = Enas(EnasOptions.model_validate(options), **parts, seed=1)
    seen: list[Any] = []
    original = task.loss

    def loss(network: Network, *given: Any) -> Any:
        seen.append(sorted(network.parameters))
        return original(network, *given)

    task.loss = loss  # type: ignore[method-assign]
    list(search.search())
    return sha(executor.values()), asdict(search.cost), seen[: search.cost.child_steps], task.steps_per_epoch(plan)


def _searched(team: Team, folder: Path) -> Any:
    return [searched(team, folder, "per_rank", norms) for norms in ("batch", "running")]


def test_a_search_with_an_architecture_for_each_rank_keeps_them_equal_to_the_bit(tmp_path: Path) -> None:
    for one, other in zip(*of_two(_searched, bright_rows(tmp_path)), strict=True):
        assert one[:2] == other[:2]
        per_epoch = one[3]
        assert one[1]["child_steps"] == 2 * 2 * per_epoch and one[1]["items"] == 2 * per_epoch * 2 * 4
        assert one[2][: 2 * per_epoch] != other[2][: 2 * per_epoch]


def test_a_single_process_does_the_same_with_either(tmp_path: Path) -> None:
    bright_rows(tmp_path)
    assert searched(ALONE, tmp_path, "per_rank") == searched(ALONE, tmp_path, "shared")


# Networks of images --------------------------------------------------------------------------------------------------


CHANGING = {"crop_padding": 1, "flip": True, "cutout": 2, "dropout": 0.3, "drop_path": 0.4, "auxiliary_weight": 0.4}


def image_steps(team: Team, folder: Path, batch_size: int) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Steps with everything that is drawn. Batch norms take fixed statistics, so that images are independent."""
    task, plan = task_of(folder, team=team), small_images.recipe(batch_size=batch_size, **CHANGING)
    task._inputs = lambda pixels: normal(pixels).double()  # type: ignore[method-assign]
    normal = ImageClassification._inputs.__get__(task)
    graph = supergraph_of(CELLS, "final")
    architecture = graph.space.sample(random.Random(3))
    network = standalone(graph, architecture, small_images.OPERATIONS, task, plan, width=1, seed=0)
    network = replace(doubles(network), train_norms="fixed", addition=None)
    trainer = Trainer(task, plan, 15, seed=3)
    return [trainer.step([network]).loss for _ in range(15)], network.copy_values()


def _images(team: Team, folder: Path) -> Any:
    return image_steps(team, folder, 4)


def test_two_ranks_change_and_drop_what_one_would(tmp_path: Path) -> None:
    losses, weights = image_steps(ALONE, bright_rows(tmp_path), 8)
    (theirs, mine), (same, other) = of_two(_images, tmp_path)
    assert theirs == pytest.approx(losses, rel=1e-6) and theirs == same
    assert sha(mine) == sha(other)
    for name, value in weights.items():
        torch.testing.assert_close(mine[name], value, rtol=1e-9, atol=1e-12)


def _statistics(team: Team, folder: Path) -> Any:
    task, plan = task_of(folder, team=team), small_images.recipe(batch_size=4)
    network = small_images.fresh(task, supergraph_of(BLOCK, "final"))
    trainer = Trainer(task, plan, 5, seed=3)
    for _ in range(5):
        trainer.step([network])
    return sha(network.copy_values()), dict(network.core.statistics)


def test_running_statistics_are_the_means_of_those_of_the_ranks(tmp_path: Path) -> None:
    bright_rows(tmp_path)
    (one, statistics), (other, _) = of_two(_statistics, tmp_path)
    assert one == other
    assert any(float(value.abs().sum()) for name, value in statistics.items() if name.endswith("mean"))


def test_data_that_does_not_fill_a_batch_of_all_ranks_is_refused(corpus: Path) -> None:
    bright_rows(corpus)
    with pytest.raises(DataError, match=r"72 training images, too few for batch_size: 8 on each of 10 ranks"):
        task_of(corpus, team=Team(0, 10)).steps_per_epoch(small_images.recipe(batch_size=8))
    with pytest.raises(DataError, match=r"too few for 4000 parallel .* on each of 1000 ranks"):
        language_model(corpus, team=Team(0, 1000)).steps_per_epoch(recipe(batch_size=4))
