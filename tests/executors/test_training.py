"""Weight steps: what moves, by how much, and what happens when numbers are not finite."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from helpers import OPERATIONS, cell, choices, golden_text, recipe, samples
from pydantic import ValidationError
from torch import Tensor, nn

from nasforge.executors.network import Core, Network
from nasforge.executors.options import SharedWeightsOptions
from nasforge.executors.shared import SharedWeights
from nasforge.executors.team import ALONE
from nasforge.executors.training import Trainer, learning_rate
from nasforge.recipe import Recipe
from nasforge.tasks.base import StepLoss
from nasforge.tasks.language_model import LanguageModel


def plain(**options: Any) -> Recipe:
    quiet = {"warmup_steps": 0, "schedule": "constant", "weight_decay": 0.0, "clip_norm": None, "optimizer": "sgd"}
    return Recipe.model_validate({**quiet, "learning_rate": 1.0, **options})


class Weights(nn.Module):
    def __init__(self, *values: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(values))


class NoCore(Core):
    width = 1
    parameters: Mapping[str, nn.Parameter] = {}

    def start(self, batch: int, like: Tensor) -> Any:
        raise NotImplementedError

    def __call__(self, inputs: Tensor, state: Any, mask: Tensor | None) -> tuple[Tensor, Any]:
        raise NotImplementedError


class StubTask:
    """What a trainer asks of a task. Loss number n is ``losses[n](w)``; the state counts the steps since a reset.

    Attributes:
        states: what each step was given, None or a number.
    """

    team = ALONE

    def __init__(self, *losses: Callable[[Tensor], Tensor], per_epoch: int = 10) -> None:
        self.losses, self.per_epoch = losses, per_epoch
        self.states: list[Any] = []

    def loss(self, network: Network, recipe: Any, step: int, state: Any, seed: int) -> StepLoss:
        self.states.append(None if state is None else int(state))
        total = self.losses[min(step, len(self.losses) - 1)](network.shell.w)
        return StepLoss(total, total.detach(), 7, torch.tensor(1) if state is None else state + 1)

    def steps_per_epoch(self, recipe: Any) -> int:
        return self.per_epoch


def linear(*factors: float) -> Callable[[Tensor], Tensor]:
    return lambda w: (torch.tensor(factors) * w).sum()


def run(
    recipe: Recipe, *losses: Callable[[Tensor], Tensor], start: tuple[float, ...] = (1.0, 2.0)
) -> list[list[float]]:
    """The weights after each step."""
    network, task = Network(Weights(*start), NoCore()), StubTask(*losses)
    trainer = Trainer(task, recipe, total_steps=100, seed=0)
    after = []
    for _ in losses:
        trainer.step([network])
        after.append(network.shell.w.tolist())
    return after


def test_sgd_subtracts_rate_times_gradient() -> None:
    assert run(plain(learning_rate=0.5), linear(3, 4)) == [[1 - 1.5, 2 - 2.0]]


def test_weight_decay_is_added_to_the_gradient() -> None:
    ((a, b),) = run(plain(learning_rate=0.5, weight_decay=0.1), linear(3, 4))
    assert (a, b) == pytest.approx((1 - 0.5 * (3 + 0.1), 2 - 0.5 * (4 + 0.2)))


def test_momentum_is_nesterovs() -> None:
    first, second = run(plain(learning_rate=0.1, momentum=0.9), linear(1, 0), linear(1, 0))
    # v1 = g = 1, step g + 0.9 v1 = 1.9; v2 = 0.9 + 1 = 1.9, step 1 + 0.9 * 1.9 = 2.71
    assert first[0] == pytest.approx(1 - 0.19)
    assert second[0] == pytest.approx(1 - 0.19 - 0.271)


def test_adam_starts_with_a_step_of_its_rate() -> None:
    ((a, b),) = run(plain(optimizer="adam", learning_rate=0.01), linear(3, -400))
    assert (a, b) == pytest.approx((1 - 0.01, 2 + 0.01), abs=1e-6)


def test_gradients_are_clipped_to_their_global_norm() -> None:
    ((a, b),) = run(plain(clip_norm=0.5), linear(3, 4))
    assert (a, b) == pytest.approx((1 - 0.3, 2 - 0.4), abs=1e-5)
    ((a, b),) = run(plain(clip_norm=6.0), linear(3, 4))
    assert (a, b) == pytest.approx((1 - 3, 2 - 4))


def test_reported_norm_is_that_before_clipping() -> None:
    trainer = Trainer(StubTask(linear(3, 4)), plain(clip_norm=0.5), total_steps=10, seed=0)
    report = trainer.step([Network(Weights(1.0, 2.0), NoCore())])
    assert (report.loss, report.count, report.gradient_norm, report.skipped) == (11.0, 7, 5.0, False)


def test_the_gradient_is_the_mean_over_networks() -> None:
    shell = Weights(1.0, 2.0)
    trainer = Trainer(StubTask(linear(3, 4)), plain(), total_steps=10, seed=0)
    report = trainer.step([Network(shell, NoCore()), Network(shell, NoCore()), Network(Weights(0.0, 0.0), NoCore())])
    assert shell.w.tolist() == pytest.approx([1 - 2 * 3 / 3, 2 - 2 * 4 / 3])
    assert report.loss == pytest.approx((11 + 11 + 0) / 3)


def test_cosine_falls_from_the_peak_to_the_final_fraction_and_stays_there() -> None:
    cosine = plain(learning_rate=2.0, schedule="cosine", final_fraction=0.1)
    rates = [learning_rate(cosine, step, 11, 5) for step in (0, 5, 10, 11, 25)]
    assert rates == pytest.approx([2.0, 2 * (0.1 + 0.9 * 0.5), 0.2, 0.2, 0.2])
    assert learning_rate(cosine, 2, 11, 5) == pytest.approx(2 * (0.1 + 0.45 * (1 + math.cos(math.pi / 5))))
    assert learning_rate(cosine, 0, 1, 5) == 2.0


RESTARTS = {"learning_rate": 2.0, "schedule": "cosine_restarts", "final_fraction": 0.1}


@pytest.mark.parametrize(("start", "epochs"), [(0, 10), (10, 20), (30, 40), (70, 80), (150, 160), (310, 320)])
def test_cosine_restarts_at_the_peak_and_each_period_is_twice_as_long(start: int, epochs: int) -> None:
    restarts, per_epoch = plain(**RESTARTS), 7
    first, length = start * per_epoch, epochs * per_epoch
    # A period of n steps has the peak at its step 0, the end at its step n - 1; here n is even: a half is between two.
    rates = [learning_rate(restarts, first + step, 10**6, per_epoch) for step in range(length)]
    assert rates[0] == 2.0
    assert (rates[length // 2 - 1] + rates[length // 2]) / 2 == pytest.approx(2 * (0.1 + 0.9 / 2))
    assert rates[length // 4] == pytest.approx(0.2 + 0.9 * (1 + math.cos(math.pi * (length // 4) / (length - 1))))
    assert rates[-1] == pytest.approx(0.2)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))
    assert learning_rate(restarts, first + length, 10**6, per_epoch) == 2.0


def test_cosine_restarts_by_hand() -> None:
    # Periods of 1, 3 and 9 epochs of 3 steps begin at steps 0, 3 and 12.
    restarts = plain(**RESTARTS, restart_epochs=1, restart_factor=3)
    rates = [learning_rate(restarts, step, 39, 3) for step in (0, 1, 2, 3, 5, 7, 9, 11, 12, 25, 38, 39)]
    quarter = 0.2 + 0.9 * (1 + math.sqrt(0.5))
    assert rates == pytest.approx([2.0, 1.1, 0.2, 2.0, quarter, 1.1, 2.2 - quarter, 0.2, 2.0, 1.1, 0.2, 2.0])


def test_cosine_restarts_with_a_factor_of_one_repeats_its_period() -> None:
    restarts = plain(**RESTARTS, restart_epochs=2, restart_factor=1)
    period = [learning_rate(restarts, step, 100, 4) for step in range(8)]
    assert [learning_rate(restarts, step, 100, 4) for step in range(8, 32)] == 3 * period


def test_the_first_period_is_the_cosine_of_a_training_of_its_length() -> None:
    restarts, cosine = plain(**RESTARTS, warmup_steps=2), plain(**RESTARTS | {"schedule": "cosine"}, warmup_steps=2)
    first = [learning_rate(restarts, step, 10**6, 25) for step in range(250)]
    assert first == [learning_rate(cosine, step, 250, 25) for step in range(250)]
    # The warm-up is that of the training, not of each period.
    assert learning_rate(restarts, 250, 10**6, 25) == 2.0


def test_cosine_restarts_do_not_depend_on_the_length_of_the_training_nor_on_earlier_calls() -> None:
    restarts = plain(**RESTARTS)
    late = learning_rate(restarts, 1234, 5000, 13)
    assert late == learning_rate(restarts, 1234, 1235, 13)
    assert [learning_rate(restarts, step, 5000, 13) for step in range(1235)][-1] == late


def test_a_period_of_one_step_stays_at_the_peak_and_the_minimum_holds() -> None:
    shortest = plain(**RESTARTS, restart_epochs=1, restart_factor=1)
    assert [learning_rate(shortest, step, 10, 1) for step in range(3)] == [2.0, 2.0, 2.0]
    low = plain(**RESTARTS, minimum_learning_rate=0.5)
    assert learning_rate(low, 9, 1000, 1) == 0.5


@pytest.mark.parametrize("options", [{"restart_epochs": 0}, {"restart_factor": 0}, {"restart_epochs": 1.5}])
def test_periods_that_have_no_meaning_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate(options)


def test_decay_starts_after_its_epoch_and_multiplies_per_epoch() -> None:
    decay = plain(learning_rate=20.0, schedule="decay", decay_rate=0.5, decay_start_epoch=2)
    rates = [learning_rate(decay, step, 100, 4) for step in (0, 7, 11, 12, 15, 16, 20)]
    assert rates == pytest.approx([20, 20, 20, 10, 10, 5, 2.5])


def test_constant_stays_and_the_minimum_holds() -> None:
    assert [learning_rate(plain(), step, 10, 5) for step in (0, 9, 100)] == [1.0, 1.0, 1.0]
    low = plain(learning_rate=2.0, schedule="cosine", final_fraction=0.0, minimum_learning_rate=0.5)
    assert learning_rate(low, 10, 11, 5) == 0.5


def test_warm_up_rises_linearly_over_at_most_a_tenth_of_an_epoch() -> None:
    warm = plain(learning_rate=5.0, warmup_steps=4)
    assert [learning_rate(warm, step, 100, 50) for step in range(6)] == pytest.approx([1, 2, 3, 4, 5, 5])
    assert [learning_rate(warm, step, 100, 20) for step in range(4)] == pytest.approx([5 / 3, 10 / 3, 5, 5])
    assert learning_rate(warm, 0, 100, 9) == 5.0


def test_trainings_of_any_length_begin_alike() -> None:
    warm = plain(learning_rate=5.0, warmup_steps=50)
    short, final = ([learning_rate(warm, step, epochs * 293, 293) for step in range(60)] for epochs in (1, 6))
    assert short == final


def test_the_trainer_follows_the_schedule() -> None:
    decay = plain(learning_rate=1.0, schedule="decay", decay_rate=0.5, decay_start_epoch=0)
    network, task = Network(Weights(0.0), NoCore()), StubTask(linear(1), per_epoch=2)
    trainer = Trainer(task, decay, total_steps=6, seed=0)
    places = []
    for _ in range(6):
        trainer.step([network])
        places.append(network.shell.w.item())
    assert places == pytest.approx([-1, -2, -2.5, -3, -3.25, -3.5])


def not_a_number(w: Tensor) -> Tensor:
    return w.sum() * math.nan


def infinite_gradient(w: Tensor) -> Tensor:
    return (w - w.detach()).abs().sum().sqrt() + 1.0  # the value is 1, the slope at 0 is infinite (or nan)


def infinite_loss(w: Tensor) -> Tensor:
    return w.sum() + math.inf


@pytest.mark.parametrize("fault", [not_a_number, infinite_gradient, infinite_loss])
@pytest.mark.parametrize("options", [{"optimizer": "adam"}, {"momentum": 0.9}, {"clip_norm": 0.5}])
def test_a_step_that_is_not_finite_is_skipped(fault: Callable[[Tensor], Tensor], options: dict[str, Any]) -> None:
    network, task = Network(Weights(1.0, 2.0), NoCore()), StubTask(linear(1, 2), fault, linear(1, 2), linear(1, 2))
    trainer = Trainer(task, plain(weight_decay=0.1, learning_rate=0.1, **options), total_steps=100, seed=0)
    assert not trainer.step([network]).skipped
    before = network.shell.w.detach().clone()
    report = trainer.step([network])
    assert report.skipped
    assert not (math.isfinite(report.loss) and math.isfinite(report.gradient_norm))
    assert torch.equal(network.shell.w, before)
    assert network.shell.w.grad is None
    assert (trainer.skipped, trainer.step_number, trainer.items) == (1, 2, 14)
    assert not trainer.step([network]).skipped
    trainer.step([network])
    assert torch.isfinite(network.shell.w).all()
    assert not torch.equal(network.shell.w, before)
    # The state went on from step 1 to step 2, was reset after the fault, and goes on again.
    assert task.states == [None, 1, 0, 1]


def test_a_skipped_step_leaves_no_trace_in_the_optimiser() -> None:
    def weights(*losses: Callable[[Tensor], Tensor]) -> list[float]:
        return run(plain(optimizer="adam", learning_rate=0.1), *losses)[-1]

    with_fault = weights(linear(1, 2), not_a_number, linear(3, -1))
    assert with_fault == weights(linear(1, 2), linear(3, -1))


def test_one_network_that_is_not_finite_skips_the_step_of_all() -> None:
    good, bad = Network(Weights(1.0, 2.0), NoCore()), Network(Weights(math.nan, 2.0), NoCore())
    trainer = Trainer(StubTask(linear(1, 2)), plain(), total_steps=10, seed=0)
    assert trainer.step([good, bad]).skipped
    assert good.shell.w.tolist() == [1.0, 2.0]
    assert not trainer.step([good]).skipped


def test_a_weight_that_is_not_a_number_skips_steps_of_children_that_read_it_only(task: LanguageModel) -> None:
    supergraph, plan = cell(3, "edge_op"), recipe(learning_rate=0.1)
    supernet = SharedWeights(supergraph, OPERATIONS, task, plan, SharedWeightsOptions(hidden=4), seed=0)
    sick, well = (supernet.network(supergraph.space.architecture(choices(ops, [0, 0]))) for ops in SICK_AND_WELL)
    with torch.no_grad():
        sick.parameters["core.cell/node1.h.node0.relu.weight"][0, 0] = math.nan
    before = supernet.values()
    trainer = Trainer(task, plan, total_steps=10, seed=0)
    assert trainer.step([sick]).skipped
    assert all(torch.equal(value, before[name]) for name, value in supernet.values().items() if "relu" not in name)
    report = trainer.step([well])
    assert not report.skipped
    assert math.isfinite(report.loss)
    assert trainer.skipped == 1


SICK_AND_WELL = (("tanh", "relu", "tanh"), ("tanh", "sigmoid", "tanh"))


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adam", "weight_decay": 0.1},
        {"optimizer": "adam", "weight_decay": 0.0},
        {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1},
        {"optimizer": "sgd", "weight_decay": 0.1},
    ],
)
@pytest.mark.parametrize("share", ["edge", "edge_op"])
def test_a_step_moves_the_weights_of_its_architecture_and_no_others(
    share: str, options: dict[str, Any], task: LanguageModel
) -> None:
    supergraph, plan = cell(5, share), recipe(learning_rate=0.05, **options)
    supernet = SharedWeights(supergraph, OPERATIONS, task, plan, SharedWeightsOptions(hidden=4), seed=0)
    networks = [supernet.network(architecture) for architecture in samples(supergraph.space, 8, seed=6)]
    trainer = Trainer(task, plan, total_steps=50, seed=0)
    idle = 0
    for network in [*networks, *networks]:
        before = supernet.values()
        trainer.step([network])
        after = supernet.values()
        for name in before:
            assert torch.equal(before[name], after[name]) == (name not in network.parameters), name
        everybody = {id(p): p for each in networks for p in each.parameters.values()}
        assert all(parameter.grad is None for parameter in everybody.values())
        idle += len(before) - len(network.parameters)
    assert idle > 90


def test_adam_counts_the_steps_of_each_weight_by_itself(task: LanguageModel) -> None:
    supergraph, plan = cell(2, "edge_op"), recipe(learning_rate=0.01, optimizer="adam")
    supernet = SharedWeights(supergraph, OPERATIONS, task, plan, SharedWeightsOptions(hidden=4), seed=0)
    often, late = (supernet.network(choices_of(supergraph, op)) for op in ("tanh", "relu"))
    trainer = Trainer(task, plan, total_steps=50, seed=0)
    for _ in range(5):
        trainer.step([often])
    weight = late.parameters["core.cell/node1.h.node0.relu.weight"]
    before = weight.detach().clone()
    trainer.step([late])
    moved = (weight.detach() - before).abs()
    # The first bias-corrected step of Adam is the rate wherever the gradient is far above eps; as sixth it were half.
    assert float(moved.median()) == pytest.approx(0.01, rel=0.02)
    assert float(moved.max()) == pytest.approx(0.01, rel=1e-3)


def choices_of(supergraph: Any, op: str) -> Any:
    return supergraph.space.architecture(choices(["tanh", op], [0]))


def test_the_second_window_starts_from_the_first_and_sends_no_gradient_back(task: LanguageModel) -> None:
    supergraph, plan = cell(3), recipe(learning_rate=0.1)
    network = SharedWeights(supergraph, OPERATIONS, task, plan, SharedWeightsOptions(hidden=4), seed=0).network(
        samples(supergraph.space, 1)[0]
    )
    first = task.loss(network, plan, 0, None, seed=0)
    assert not first.state.requires_grad
    assert first.state.grad_fn is None
    carried = task.loss(network, plan, 1, first.state, seed=0)
    other = task.loss(network, plan, 1, first.state + 0.5, seed=0)
    fresh = task.loss(network, plan, 1, None, seed=0)
    assert len({float(result.data) for result in (carried, other, fresh)}) == 3
    carried.total.backward()  # the graph of window 1 is not part of that of window 2: freeing it twice would raise
    first.total.backward()


def test_the_trainer_carries_the_state_within_an_epoch(task: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    supergraph, plan = cell(3), recipe(learning_rate=0.1, batch_size=40, bptt=2)
    network = SharedWeights(supergraph, OPERATIONS, task, plan, SharedWeightsOptions(hidden=4), seed=0).network(
        samples(supergraph.space, 1)[0]
    )
    n_steps = task.steps_per_epoch(plan)
    given: list[Any] = []
    returned: list[Any] = []
    original = LanguageModel.loss

    def spy(self: LanguageModel, network: Network, recipe: Any, step: int, state: Any, seed: int) -> StepLoss:
        given.append(state)
        result = original(self, network, recipe, step, state, seed)
        returned.append(result.state)
        return result

    monkeypatch.setattr(LanguageModel, "loss", spy)
    trainer = Trainer(task, plan, total_steps=2 * n_steps, seed=0)
    for _ in range(2 * n_steps):
        trainer.step([network])
    assert given[0] is None
    assert all(torch.equal(one, other) for one, other in zip(given[1:], returned[:-1], strict=True))


def test_the_first_window_of_an_epoch_ignores_the_state(task: LanguageModel) -> None:
    supergraph, plan = cell(3), recipe()
    network = SharedWeights(supergraph, OPERATIONS, task, plan, SharedWeightsOptions(hidden=4), seed=0).network(
        samples(supergraph.space, 1)[0]
    )
    step = task.steps_per_epoch(plan)
    state = torch.ones(plan.batch_size, 4)
    assert torch.equal(
        task.loss(network, plan, step, state, seed=0).data, task.loss(network, plan, 0, None, seed=0).data
    )
    assert not torch.equal(
        task.loss(network, plan, 1, state, seed=0).data, task.loss(network, plan, 1, None, seed=0).data
    )


def test_each_network_of_a_step_has_its_own_state() -> None:
    task = StubTask(linear(1))
    networks = [Network(Weights(1.0), NoCore()), Network(Weights(2.0), NoCore())]
    trainer = Trainer(task, plain(), total_steps=10, seed=0)
    trainer.step(networks)
    trainer.step(networks)
    trainer.step(networks[:1])  # another number of networks: nothing to carry on from
    assert task.states == [None, None, 1, 1, None]


def test_twenty_steps_give_the_golden_losses(task: LanguageModel) -> None:
    supergraph = cell(4)
    plan = recipe(
        optimizer="adam",
        learning_rate=0.02,
        dropout_input=0.2,
        dropout_hidden=0.1,
        dropout_output=0.3,
        weight_decay=1e-6,
        clip_norm=0.5,
        schedule="cosine",
        warmup_steps=2,
    )
    supernet = SharedWeights(supergraph, OPERATIONS, task, plan, SharedWeightsOptions(hidden=8), seed=1)
    trainer = Trainer(task, plan, total_steps=20, seed=2)
    losses = [trainer.step([supernet.network(m)]).loss for m in samples(supergraph.space, 20, seed=3)]
    golden = json.loads(golden_text("losses_recurrent_20_steps.json", json.dumps(losses, indent=1) + "\n"))
    assert losses == pytest.approx(golden, rel=1e-5)
    assert sum(losses[-5:]) < sum(losses[:5])
