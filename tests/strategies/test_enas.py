"""The alternating search: who draws when, what is paid, what moves and what the controller is told."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import OPERATIONS, cell, everything, language_model, recipe, write_corpus
from pydantic import ValidationError

from nasforge.controllers.base import Controller, ControllerReport
from nasforge.controllers.lstm import LstmController
from nasforge.controllers.options import LstmOptions
from nasforge.controllers.random import RandomController
from nasforge.executors.network import Network
from nasforge.executors.options import SharedWeightsOptions
from nasforge.executors.shared import SharedWeights
from nasforge.graph.supergraph import Supergraph
from nasforge.space.architecture import Architecture
from nasforge.strategies.base import Event, Report, Tick
from nasforge.strategies.enas import Enas
from nasforge.strategies.options import EnasOptions
from nasforge.tasks.base import Score, StepLoss
from nasforge.tasks.language_model import LanguageModel

PLAN = recipe(batch_size=4, bptt=5, learning_rate=0.1, optimizer="sgd")
WIDTH = 4


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A task of few windows."""
    return language_model(write_corpus(tmp_path_factory.mktemp("tiny"), train=16, valid=12, test=4))


class Script(Controller):
    """Proposes the first architecture of its space for ever, and remembers what it is asked and told."""

    def __init__(self, supergraph: Supergraph) -> None:
        super().__init__(supergraph.space, None, seed=0)
        self.proposed: list[int] = []
        self.told: list[tuple[tuple[Architecture, ...], tuple[float, ...]]] = []
        self._one = self.space.architecture({d.name: d.options[0] for d in self.space.decisions})

    def propose(self, count: int) -> list[Architecture]:
        self.proposed.append(count)
        return [self._one] * count

    def update(self, proposals: Sequence[Architecture], rewards: Sequence[float]) -> ControllerReport:
        self.told.append((tuple(proposals), tuple(rewards)))
        return ControllerReport(reward=sum(rewards) / len(rewards), baseline=0.0, entropy=1.0, loss=0.0)

    def state(self) -> Mapping[str, Any]:
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        pass


def enas(
    supergraph: Supergraph,
    task: LanguageModel,
    controller: Controller,
    *,
    seed: int = 1,
    plan: Any = PLAN,
    **options: Any,
) -> Enas:
    config = EnasOptions.model_validate(
        {"epochs": 2, "warmup_epochs": 1, "controller_steps": 2, "candidates_per_step": 3, **options}
    )
    executor = SharedWeights(supergraph, OPERATIONS, task, plan, SharedWeightsOptions(hidden=WIDTH), seed=seed)
    parts = {"space": supergraph.space, "controller": controller, "executor": executor, "task": task, "recipe": plan}
    return Enas(config, **parts, seed=seed)


def lstm(supergraph: Supergraph, seed: int = 0) -> LstmController:
    return LstmController(supergraph.space, LstmOptions(units=8), seed=seed)


class Calls:
    """What a search asked of its task: (architecture's weights, step or index, seed) in order."""

    def __init__(self) -> None:
        self.losses: list[tuple[Network, int, int]] = []
        self.rewards: list[tuple[Network, int, int]] = []


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    seen, loss, score = Calls(), LanguageModel.loss, LanguageModel.score_minibatch

    def spy_loss(self: LanguageModel, network: Network, recipe: Any, step: int, state: Any, seed: int) -> StepLoss:
        seen.losses.append((network, step, seed))
        return loss(self, network, recipe, step, state, seed)

    def spy_score(self: LanguageModel, network: Network, index: int, seed: int) -> Score:
        seen.rewards.append((network, index, seed))
        return score(self, network, index, seed)

    monkeypatch.setattr(LanguageModel, "loss", spy_loss)
    monkeypatch.setattr(LanguageModel, "score_minibatch", spy_score)
    yield seen


def events(reports: Sequence[Report], kind: str) -> list[Mapping[str, Any]]:
    return [report.facts for report in reports if isinstance(report, Event) and report.kind == kind]


def test_cost_counts_every_step_and_every_item(tiny: LanguageModel, calls: Calls) -> None:
    search = enas(
        cell(3), tiny, Script(cell(3)), epochs=3, architectures_per_step=2, controller_steps=4, candidates_per_step=5
    )
    list(search.search())
    per_epoch, tokens = tiny.steps_per_epoch(PLAN), tiny.corpus.tokens["train"]
    assert per_epoch > 2
    assert search.cost.child_steps == 3 * per_epoch * 2 == len(calls.losses)
    assert search.cost.items == 3 * 2 * 4 * (tokens // 4 - 1)
    # Epochs counted from 1: the controller learns after epoch 1, the last of the warm-up, and after 2 and 3.
    assert search.cost.controller_steps == 3 * 4
    assert search.cost.evaluations == 3 * 4 * 5 == len(calls.rewards)
    assert search.cost.evaluated_items == 3 * 4 * 5 * tiny.minibatch_items()


@pytest.mark.parametrize(("warmup", "phases"), [(0, 4), (1, 4), (2, 3), (3, 2), (4, 1)])
def test_the_controller_learns_from_the_last_warm_up_epoch_on(warmup: int, phases: int, tiny: LanguageModel) -> None:
    search = enas(cell(2), tiny, Script(cell(2)), epochs=4, warmup_epochs=warmup)
    list(search.search())
    assert search.cost.controller_steps == phases * 2


def test_a_warm_up_without_end_is_refused_unless_the_controller_never_learns() -> None:
    with pytest.raises(ValidationError, match="the controller would never learn"):
        EnasOptions(epochs=2, warmup_epochs=3)
    assert EnasOptions(epochs=1).warmup_epochs == 1
    assert EnasOptions(epochs=2, warmup_epochs=3, controller_steps=0).warmup_epochs == 3


def test_warm_up_draws_uniformly_and_leaves_the_controller_alone(tiny: LanguageModel, calls: Calls) -> None:
    supergraph, controller = cell(1), Script(cell(1))
    search = enas(supergraph, tiny, controller, epochs=16, warmup_epochs=15, architectures_per_step=2)
    per_epoch = tiny.steps_per_epoch(PLAN)
    for report in search.search():
        if isinstance(report, Tick) and report.phase.startswith("shared weights, epoch 15/"):
            assert (controller.proposed, controller.told) == ([], [])
    warm, late = calls.losses[: 15 * per_epoch * 2], calls.losses[15 * per_epoch * 2 :]
    counts = Counter(id(network) for network, _, _ in warm)
    expected = len(warm) / 4
    assert expected >= 30
    assert len(counts) == 4
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 16.3  # chi-square, 3 d.o.f., 0.999
    assert {id(network) for network, _, _ in late} == {id(search.executor.network(controller.propose(1)[0]))}
    assert controller.proposed == [3, 3, *[2] * per_epoch, 3, 3, 1]


def test_the_gradients_of_m_architectures_are_averaged(tiny: LanguageModel, calls: Calls) -> None:
    supergraph = cell(3, "edge_op")
    plan = recipe(batch_size=20, bptt=500, learning_rate=0.3, optimizer="sgd", weight_decay=0.01)
    assert tiny.steps_per_epoch(plan) == 1
    search = enas(
        supergraph, tiny, Script(supergraph), plan=plan, epochs=1, controller_steps=0, architectures_per_step=4
    )
    list(search.search())
    found, drawn = search.executor.values(), [network for network, _, _ in calls.losses]
    assert len(drawn) == 4
    assert len({(step, seed) for _, step, seed in calls.losses}) == 1
    (_, _, seed) = calls.losses[0]

    by_hand = SharedWeights(supergraph, OPERATIONS, tiny, plan, SharedWeightsOptions(hidden=WIDTH), seed=1)
    # The same children by the weights that they name, on fresh weights of the same seed.
    named = {frozenset(search.executor.network(m).parameters): m for m in everything_of(supergraph)}
    children = [by_hand.network(named[frozenset(network.parameters)]) for network in drawn]
    before = by_hand.values()
    expected = dict(before)
    gradients: dict[str, Any] = {}
    for child in children:
        total = tiny.loss(child, plan, 0, None, seed).total
        names = list(child.parameters)
        for name, gradient in zip(names, torch.autograd.grad(total, [child.parameters[n] for n in names]), strict=True):
            gradients[name] = gradients.get(name, 0) + gradient / 4
    for name, gradient in gradients.items():
        expected[name] = before[name] - 0.3 * (gradient + 0.01 * before[name])
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-7)
    assert not all(torch.equal(value, before[name]) for name, value in found.items())


def everything_of(supergraph: Supergraph) -> list[Architecture]:
    return [supergraph.space.architecture(chosen) for chosen in everything(supergraph.space)]


def test_each_weight_step_draws_afresh_and_walks_through_the_text(tiny: LanguageModel, calls: Calls) -> None:
    supergraph = cell(5)
    search = enas(supergraph, tiny, RandomController(supergraph.space, None, seed=3), epochs=2, controller_steps=0)
    list(search.search())
    n_steps = 2 * tiny.steps_per_epoch(PLAN)
    assert [step for _, step, _ in calls.losses] == list(range(n_steps))
    assert len({id(network) for network, _, _ in calls.losses}) > n_steps // 2


def test_journal_of_weight_steps_counts_what_was_skipped(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    original, n_steps = LanguageModel.loss, tiny.steps_per_epoch(PLAN)

    def sick(self: LanguageModel, network: Network, recipe: Any, step: int, state: Any, seed: int) -> StepLoss:
        result = original(self, network, recipe, step, state, seed)
        if step not in (1, n_steps, n_steps + 1):
            return result
        return StepLoss(result.total * math.nan, result.data * math.nan, result.count, result.state)

    monkeypatch.setattr(LanguageModel, "loss", sick)
    search = enas(cell(2), tiny, Script(cell(2)), epochs=2)
    found = events(list(search.search()), "weight_steps")
    assert [(facts["epoch"], facts["step"], facts["skipped"]) for facts in found] == [(0, n_steps, 1), (1, n_steps, 2)]
    assert all(math.isfinite(facts["loss"]) for facts in found)


def test_all_candidates_of_a_step_are_scored_on_one_minibatch_and_the_next_on_another(
    tiny: LanguageModel, calls: Calls
) -> None:
    supergraph = cell(3)
    list(enas(supergraph, tiny, lstm(supergraph), controller_steps=3, candidates_per_step=4).search())
    places = [(index, seed) for _, index, seed in calls.rewards]
    groups = [set(places[begin : begin + 4]) for begin in range(0, len(places), 4)]
    assert len(groups) == 2 * 3
    assert all(len(group) == 1 for group in groups)
    assert len(set.union(*groups)) == 6


def test_rewards_belong_to_their_proposals(tiny: LanguageModel, calls: Calls) -> None:
    supergraph, told = cell(3), []

    class Told(Script):
        def propose(self, count: int) -> list[Architecture]:
            return [self.space.sample(self.rng) for _ in range(count)]

        def update(self, proposals: Sequence[Architecture], rewards: Sequence[float]) -> ControllerReport:
            _, index, seed = calls.rewards[-1]
            for proposal, reward in zip(proposals, rewards, strict=True):
                score = tiny.score_minibatch(search.executor.network(proposal), index, seed)
                told.append(tiny.reward(score) == reward)
            return super().update(proposals, rewards)

    controller = Told(supergraph)
    controller.rng = random.Random(0)
    search = enas(supergraph, tiny, controller)
    list(search.search())
    assert told == [True] * (2 * 2 * 3)


def test_weights_stand_still_while_the_controller_learns(tiny: LanguageModel) -> None:
    supergraph = cell(4, "edge_op")
    search = enas(supergraph, tiny, lstm(supergraph), epochs=3, controller_steps=4)
    weights: list[tuple[str, Mapping[str, torch.Tensor]]] = []
    for report in search.search():
        if isinstance(report, Tick):
            weights.append((report.phase.split(",")[0], search.executor.values()))
    still = moved = 0
    for (_, before), (phase, after) in itertools.pairwise(weights):
        equal = all(torch.equal(value, after[name]) for name, value in before.items())
        assert equal == (phase == "controller")
        still += equal
        moved += not equal
    assert still == 3 * 4
    assert moved > 10


def test_the_policy_stands_still_while_weights_are_trained(tiny: LanguageModel) -> None:
    supergraph = cell(3)
    controller = lstm(supergraph)
    search = enas(supergraph, tiny, controller, epochs=3)
    before, changes = None, Counter()
    for report in search.search():
        after = [parameter.detach().clone() for parameter in controller.policy.parameters()]
        if before is not None and isinstance(report, Tick):
            changed = not all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
            changes[report.phase.split(",")[0], changed] += 1
        before = after
    assert changes["shared weights", True] == changes["controller", False] == 0
    assert changes["controller", True] == 3 * 2


def test_rewards_that_are_not_finite_never_reach_the_controller(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, n_scores = LanguageModel.score_minibatch, 0
    # Five groups of three: one whole, one without one, one without two, one without all, one whole.
    finite = [True] * 3 + [True, False, True] + [False, True, False] + [False] * 3 + [True] * 3

    def sick(self: LanguageModel, network: Network, index: int, seed: int) -> Score:
        nonlocal n_scores
        n_scores += 1
        score = original(self, network, index, seed)
        return score if finite[n_scores - 1] else Score(math.nan, (math.nan, math.inf)[n_scores % 2], score.count)

    monkeypatch.setattr(LanguageModel, "score_minibatch", sick)
    controller = Script(cell(3))
    search = enas(cell(3), tiny, controller, epochs=1, warmup_epochs=0, controller_steps=5)
    reports = list(search.search())
    assert [len(rewards) for _, rewards in controller.told] == [3, 2, 3]
    assert all(math.isfinite(reward) for _, rewards in controller.told for reward in rewards)
    assert [(facts["step"], facts["left_out"]) for facts in events(reports, "controller_step")] == [
        (1, 0),
        (2, 1),
        (5, 0),
    ]
    assert [(facts["step"], facts["finite"]) for facts in events(reports, "controller_step_skipped")] == [
        (3, 1),
        (4, 0),
    ]
    assert (search.cost.evaluations, search.cost.controller_steps) == (15, 3)


def test_one_candidate_per_step_is_enough_for_a_controller_that_takes_one(tiny: LanguageModel) -> None:
    supergraph = cell(2)
    options = LstmOptions(units=8, update="reinforce_ema", normalize_advantage=False)
    controller = LstmController(supergraph.space, options, seed=0)
    search = enas(supergraph, tiny, controller, candidates_per_step=1, controller_steps=3)
    reports = list(search.search())
    assert len(events(reports, "controller_step")) == search.cost.controller_steps == 2 * 3


def journal(supergraph: Supergraph, task: LanguageModel, seed: int) -> list[str]:
    search = enas(supergraph, task, lstm(supergraph, seed), seed=seed, architectures_per_step=2)
    kept = [report for report in search.search() if isinstance(report, Event)]
    return [*map(repr, kept), *(architecture.digest for architecture in search.propose(5))]


def test_two_searches_of_one_seed_are_equal_event_by_event(tiny: LanguageModel) -> None:
    supergraph = cell(4)
    first = journal(supergraph, tiny, seed=1)
    torch.manual_seed(99)
    assert journal(supergraph, tiny, seed=1) == first
    assert journal(supergraph, tiny, seed=2) != first


def test_events_are_plain_finite_json(tiny: LanguageModel) -> None:
    supergraph = cell(3)
    reports = list(enas(supergraph, tiny, lstm(supergraph)).search())
    kinds = Counter(report.kind for report in reports if isinstance(report, Event))
    assert kinds == {"weight_steps": 2, "updates": 2, "controller_step": 4, "policy": 2}
    for report in reports:
        if isinstance(report, Event):
            assert json.loads(json.dumps(report.facts, allow_nan=False)) == report.facts


def test_ticks_count_up_to_their_total(tiny: LanguageModel) -> None:
    phases: dict[str, list[int]] = {}
    totals: dict[str, int] = {}
    for report in enas(cell(2), tiny, Script(cell(2))).search():
        if isinstance(report, Tick):
            phases.setdefault(report.phase, []).append(report.done)
            totals[report.phase] = report.total
    assert len(phases) == 4
    assert all(done == list(range(1, totals[phase] + 1)) for phase, done in phases.items())


def test_best_is_the_highest_reward_of_the_phase_so_far(tiny: LanguageModel) -> None:
    controller = Script(cell(3))
    search = enas(cell(3), tiny, controller, epochs=1, warmup_epochs=0, controller_steps=6)
    found = events(list(search.search()), "controller_step")
    so_far, expected = -math.inf, []
    for _, rewards in controller.told:
        so_far = max(so_far, *rewards)
        expected.append(so_far)
    assert [facts["best"] for facts in found] == expected


def test_uniform_controller_without_controller_steps_is_random_search(tiny: LanguageModel, calls: Calls) -> None:
    supergraph = cell(4)
    controller = RandomController(supergraph.space, None, seed=4)
    search = enas(supergraph, tiny, controller, controller_steps=0, epochs=2, warmup_epochs=0)
    reports = list(search.search())
    assert {report.kind for report in reports if isinstance(report, Event)} == {"weight_steps", "updates"}
    assert (search.cost.evaluations, search.cost.evaluated_items, search.cost.controller_steps) == (0, 0, 0)
    assert calls.rewards == []
    drawn = RandomController(supergraph.space, None, seed=4)
    n_steps = 2 * tiny.steps_per_epoch(PLAN)
    assert [network for network, _, _ in calls.losses] == [search.executor.network(m) for m in drawn.propose(n_steps)]
    assert search.propose(10) == drawn.propose(10)


def test_a_search_learns_to_predict(tmp_path: Path) -> None:
    for name, count in (("train", 60), ("valid", 20), ("test", 5)):
        (tmp_path / f"{name}.txt").write_text("the cat sees the dog and runs\n" * count, encoding="utf-8")
    task, supergraph = language_model(tmp_path), cell(3)
    plan = recipe(batch_size=4, bptt=8, learning_rate=0.05, optimizer="adam")
    search = enas(supergraph, task, lstm(supergraph), plan=plan, epochs=3)
    reports = list(search.search())
    losses = [facts["loss"] for facts in events(reports, "weight_steps")]
    assert losses[-1] < 0.6 * losses[0]
    for architecture in search.propose(3):
        assert task.evaluate(search.executor.network(architecture), "valid", exact=False).value < 4


class NoTanh:
    """No tanh at all."""

    def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
        count = list(architecture.values()).count("tanh")
        return (f"count of tanh: {count} are more than 0",) if count else ()


@pytest.mark.parametrize("make", [lstm, lambda graph: RandomController(graph.space, seed=0)])
def test_under_limits_every_network_of_every_phase_is_within_them(
    make: Any, tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    supergraph = cell(3, ops=("tanh", "relu"))
    supergraph = replace(supergraph, space=supergraph.space.limited(NoTanh()))
    seen: list[Architecture] = []
    network = SharedWeights.network

    def spy(self: SharedWeights, architecture: Architecture) -> Network:
        seen.append(architecture)
        return network(self, architecture)

    monkeypatch.setattr(SharedWeights, "network", spy)
    search = enas(supergraph, tiny, make(supergraph))
    list(search.search())
    proposed = search.propose(5)
    assert len(proposed) == 5 and len(seen) > 10
    assert all("tanh" not in architecture.values() for architecture in (*seen, *proposed))
    assert search.cost.controller_steps > 0


def test_updates_by_option_are_those_of_the_steps_that_moved_something(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, n_steps = LanguageModel.loss, tiny.steps_per_epoch(PLAN)

    def sick(self: LanguageModel, network: Network, recipe: Any, step: int, state: Any, seed: int) -> StepLoss:
        result = original(self, network, recipe, step, state, seed)
        return replace(result, total=result.total * math.nan) if step == 1 else result

    monkeypatch.setattr(LanguageModel, "loss", sick)
    supergraph = cell(3)
    drawn = RandomController(supergraph.space, None, seed=4).propose(2 * n_steps)
    search = enas(
        supergraph, tiny, RandomController(supergraph.space, None, seed=4), controller_steps=0, warmup_epochs=0
    )
    first, second = events(list(search.search()), "updates")
    kept = drawn[:1] + drawn[2:n_steps]
    for facts, epoch, steps in ((first, 0, kept), (second, 1, drawn[n_steps:])):
        assert facts["epoch"] == epoch
        assert facts["by_option"] == {
            d.name: [sum(m.get(d.name) == option for m in steps) for option in d.options]
            for d in supergraph.space.decisions
        }


@pytest.mark.parametrize("sampler", ["policy", "uniform", "epsilon", "fair"])
def test_who_draws_for_weight_steps(sampler: str, tiny: LanguageModel) -> None:
    supergraph, controller = cell(2), Script(cell(2))
    search = enas(
        supergraph, tiny, controller, epochs=12, warmup_epochs=2, sampler=sampler, epsilon=None, controller_steps=1
    )
    found = events(list(search.search()), "updates")
    n_steps = tiny.steps_per_epoch(PLAN)
    of_policy = [facts["by_option"]["node0.op"][0] for facts in found]
    warm, late = of_policy[:2], of_policy[2:]
    # Four options; the policy always takes the first.
    assert all(count < n_steps for count in warm)
    if sampler == "policy":
        assert late == [n_steps] * 10
    elif sampler == "epsilon":
        assert 0.85 * 10 * n_steps < sum(late) < 10 * n_steps
    else:
        assert sum(late) < 0.5 * 10 * n_steps
    if sampler == "fair":
        totals = [sum(column) for column in zip(*(f["by_option"]["node0.op"] for f in found), strict=True)]
        assert max(totals) - min(totals) <= 1


def test_epsilon_belongs_to_its_sampler() -> None:
    assert EnasOptions(sampler="epsilon", epsilon=0.3).epsilon == 0.3
    with pytest.raises(ValidationError, match="means nothing for `sampler: fair`"):
        EnasOptions(sampler="fair", epsilon=0.3)


def test_rewards_are_measured_with_averaged_weights_which_remain_at_the_end(tiny: LanguageModel, calls: Calls) -> None:
    supergraph = cell(3)
    seen: dict[str, list[Mapping[str, torch.Tensor]]] = {"controller": [], "shared weights": []}
    searches = []

    class Proposing(Script):
        """Looks at the weights whenever it proposes a group, whose rewards are measured then."""

        def propose(self, count: int) -> list[Architecture]:
            if count > 1 and decay:
                seen["controller"].append(searches[-1].executor.values())
            return super().propose(count)

    for decay in (None, 0.5):
        search = enas(supergraph, tiny, Proposing(supergraph), epochs=2, warmup_epochs=1, reward_ema=decay)
        searches.append(search)
        for report in search.search():
            if decay and isinstance(report, Tick) and "weights" in report.phase:
                seen["shared weights"].append(search.executor.values())
    n_steps = tiny.steps_per_epoch(PLAN)
    plain, average = seen["shared weights"], None
    for n, values in enumerate(plain[:n_steps], 1):
        decay = min(0.5, (1 + n) / (10 + n))
        name = "shell.embedding"  # takes part in every step
        average = values[name] if average is None else decay * average + (1 - decay) * values[name]
    assert average is not None
    torch.testing.assert_close(seen["controller"][0]["shell.embedding"], average)
    assert not torch.equal(average, plain[n_steps - 1]["shell.embedding"])
    # Training goes on with the weights as they were: the first losses of both searches are equal, epoch for epoch.
    of_plain, of_average = (s.executor.values()["shell.embedding"] for s in searches)
    torch.testing.assert_close(of_plain, plain[-1]["shell.embedding"], rtol=0, atol=0)
    torch.testing.assert_close(of_average, seen["controller"][-1]["shell.embedding"], rtol=0, atol=0)


def test_each_controller_phase_ends_with_the_entropy_of_every_decision(tiny: LanguageModel) -> None:
    supergraph = cell(3)
    reports = list(enas(supergraph, tiny, lstm(supergraph)).search())
    found, steps = events(reports, "policy"), events(reports, "controller_step")
    assert [facts["epoch"] for facts in found] == [0, 1]
    for facts, last in zip(found, steps[1::2], strict=True):
        by_decision = facts["entropy_by_decision"]
        assert list(by_decision) == [decision.name for decision in supergraph.space.decisions]
        assert sum(by_decision.values()) == pytest.approx(last["entropy"], rel=1e-5)
    assert events(list(enas(supergraph, tiny, Script(supergraph)).search()), "policy") == []
