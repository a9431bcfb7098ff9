"""Searches by trainings from scratch: what is trained, what is told, what a state holds, what halving promotes."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from helpers import OPERATIONS, cell, language_model, recipe, write_corpus

from nasforge.controllers.base import Controller
from nasforge.controllers.evolution import EvolutionController
from nasforge.controllers.local_search import LocalSearchController
from nasforge.controllers.lstm import LstmController
from nasforge.controllers.options import EvolutionOptions, LstmOptions
from nasforge.controllers.random import RandomController
from nasforge.errors import RunFailedError
from nasforge.executors.options import StandaloneOptions
from nasforge.executors.standalone import Standalone, Training
from nasforge.executors.training import Trainer
from nasforge.recipe import Recipe
from nasforge.run.state import from_files, to_files
from nasforge.space.architecture import Architecture
from nasforge.strategies.base import Event, Report, Strategy, Tick
from nasforge.strategies.from_scratch import FromScratchSearch
from nasforge.strategies.halving import SuccessiveHalving
from nasforge.strategies.options import BlackBoxOptions, SuccessiveHalvingOptions
from nasforge.strategies.rungs import brackets, rungs
from nasforge.tasks.language_model import LanguageModel

PLAN = recipe(batch_size=4, bptt=5, learning_rate=0.1, optimizer="sgd")
CONTROLLERS = {
    "evolution": lambda space: EvolutionController(space, EvolutionOptions(population=3, sample=2), seed=2),
    "local_search": lambda space: LocalSearchController(space, None, seed=2),
    "lstm": lambda space: LstmController(space, LstmOptions(units=8), seed=2),
    "random": lambda space: RandomController(space, None, seed=2),
}
GRAPH = cell(3)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return language_model(write_corpus(tmp_path_factory.mktemp("tiny"), train=16, valid=12, test=4))


def standalone(task: LanguageModel, epochs: int = 2, plan: Recipe = PLAN) -> Standalone:
    return Standalone(GRAPH, OPERATIONS, task, plan, StandaloneOptions(hidden=4, epochs=epochs), seed=1)


def search(
    task: LanguageModel, name: str = "evolution", *, halving: bool = False, epochs: int = 2, **options: Any
) -> Strategy:
    kind, model = (SuccessiveHalving, SuccessiveHalvingOptions) if halving else (FromScratchSearch, BlackBoxOptions)
    controller: Controller = CONTROLLERS[name](GRAPH.space)
    parts: dict[str, Any] = {"space": GRAPH.space, "controller": controller, "executor": standalone(task, epochs)}
    parts |= {"task": task, "recipe": PLAN, "seed": 1, "smallest_group": 2 if name == "lstm" else 1}
    return kind(model.model_validate(options), **parts)


def events(reports: list[Report], kind: str) -> list[Mapping[str, Any]]:
    return [report.facts for report in reports if isinstance(report, Event) and report.kind == kind]


def trained(task: LanguageModel, executor: Standalone, architecture: Architecture, number: int) -> Training:
    training = executor.begin(architecture, number)
    while training.steps < training.total_steps:
        training.step()
    return training


# The executor ---------------------------------------------------------------------------------------------------------


def test_a_number_repeats_a_training_and_another_is_another(tiny: LanguageModel) -> None:
    (architecture,) = CONTROLLERS["random"](GRAPH.space).propose(1)
    executor = standalone(tiny)
    first, again, other = (trained(tiny, executor, architecture, number) for number in (7, 7, 8))
    assert first.total_steps == 2 * tiny.steps_per_epoch(PLAN)
    assert first.score() == again.score()
    assert first.score() != other.score()
    for name, value in first.network.parameters.items():
        assert torch.equal(value, again.network.parameters[name])


# Black box ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTROLLERS)
def test_every_query_is_a_training_of_its_own_number(name: str, tiny: LanguageModel) -> None:
    strategy = search(tiny, name, queries=8)
    reports = list(strategy.search())
    found = events(reports, "evaluation")
    by_digest = {each.digest: each for each in strategy.scores}
    for facts in found:
        score = trained(tiny, standalone(tiny), by_digest[facts["digest"]], facts["query"]).score()
        assert facts["proxy"] == score.value
    steps = 2 * tiny.steps_per_epoch(PLAN)
    cost = strategy.cost
    assert (cost.evaluations, cost.child_steps) == (8, 8 * steps)
    assert cost.items == 8 * 2 * tiny.steps_per_epoch(PLAN) * PLAN.batch_size * PLAN.bptt
    assert cost.evaluated_items == 8 * tiny.split_items("valid")
    # Groups of 5 where a controller needs groups; what is left is told, too.
    assert cost.controller_steps == len(events(reports, "controller_step")) == (2 if name == "lstm" else 8)
    fractions = [report.fraction for report in reports if isinstance(report, Tick) and report.fraction is not None]
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1.0)


def test_the_best_means_are_proposed_and_nothing_else(tiny: LanguageModel) -> None:
    strategy = search(tiny, "random", queries=10, ask_again=4)
    found = events(list(strategy.search()), "evaluation")
    assert [facts["again"] for facts in found] == [False] * 6 + [True] * 4
    by_digest: dict[str, list[float]] = {}
    for facts in found:
        by_digest.setdefault(facts["digest"], []).append(facts["proxy"])
    # A second training of the same is another score: that is what asking again is for.
    assert any(len(set(values)) > 1 for values in by_digest.values())
    means = {digest: sum(values) / len(values) for digest, values in by_digest.items()}
    proposed = strategy.propose(2) + strategy.propose(50) + strategy.propose(1)
    assert [each.digest for each in proposed] == sorted(means, key=means.__getitem__)
    for each in proposed:
        assert strategy.scores[each].value == pytest.approx(means[each.digest], rel=1e-12)


def test_the_lstm_learns_without_shared_weights(tiny: LanguageModel) -> None:
    strategy = search(tiny, "lstm", queries=10)
    before = strategy.controller.state()
    (first, *_) = events(list(strategy.search()), "controller_step")
    assert first["entropy"] > 0
    assert json.dumps(before, default=str) != json.dumps(strategy.controller.state(), default=str)


@pytest.mark.parametrize("halving", [False, True])
def test_what_fails_is_counted_and_told_no_one(
    halving: bool, tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    begin = Standalone.begin

    def some_fail(self: Standalone, architecture: Architecture, number: int) -> Training:
        if number == 1:
            raise RuntimeError("no memory")
        training = begin(self, architecture, number)
        if number == 2:
            with torch.no_grad():
                for parameter in training.network.parameters.values():
                    parameter.fill_(math.nan)
        return training

    monkeypatch.setattr(Standalone, "begin", some_fail)
    options = {"proposals": 4, "factor": 2, "queries": 3} if halving else {"queries": 4}
    strategy = search(tiny, "random", halving=halving, **options)
    update = strategy.controller.update
    monkeypatch.setattr(strategy.controller, "update", lambda m, r: (told.extend(r), update(m, r))[1])
    found = events(list(strategy.search()), "rung" if halving else "evaluation")[:4]
    assert [facts.get("failed") for facts in found] == [
        None,
        "RuntimeError: no memory",
        "the loss or its gradient was not finite in any step",
        None,
    ]
    assert [facts["proxy"] is None for facts in found] == [False, True, True, False]
    assert told[:2] == [found[0]["reward"], found[3]["reward"]]
    assert all(math.isfinite(reward) for reward in told)


@pytest.mark.parametrize("halving", [False, True])
@pytest.mark.parametrize("again", [0, 2])
def test_a_search_in_which_all_fail_says_why(
    halving: bool, again: int, tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Standalone, architecture: Architecture, number: int) -> Training:
        raise ArithmeticError(f"cause {number}")

    monkeypatch.setattr(Standalone, "begin", fail)
    options: dict[str, Any] = {"halving": True} if halving else {"ask_again": again}
    with pytest.raises(
        RunFailedError, match="gave a finite score.*The first training failed: ArithmeticError: cause 0"
    ):
        list(search(tiny, queries=5, **options).search())


def test_errors_of_other_kinds_are_not_hidden(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(self: Trainer, *given: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(Trainer, "step", bug)
    with pytest.raises(KeyError, match="a bug"):
        list(search(tiny, queries=2).search())


# State ----------------------------------------------------------------------------------------------------------------

CASES = {
    "black_box": {"queries": 9, "ask_again": 3, "batch": 2},
    "halving": {"halving": True, "queries": 6, "proposals": 6, "factor": 2, "epochs": 4, "batch": 2},
}


@pytest.mark.parametrize("name", ["evolution", "lstm"])
@pytest.mark.parametrize("case", CASES)
def test_a_search_goes_on_exactly_from_between_any_two_steps(case: str, name: str, tiny: LanguageModel) -> None:
    whole = search(tiny, name, **CASES[case])
    steps = [[report for report in reports if isinstance(report, Event)] for reports in whole.steps()]
    kept = [event for events in steps for event in events]
    places = [at for at, events in enumerate(steps) if events]
    at_the_end = to_files(whole.state())
    # After events, and in the middle of the training that follows one.
    for at in [*places[::4], *(place + 1 for place in places[1::6] if place + 1 < len(steps))]:
        first = search(tiny, name, **CASES[case])
        going = first.steps()
        seen = [next(going) for _ in range(at + 1)]
        second = search(tiny, name, **CASES[case])
        second.load_state(from_files(to_files(first.state())))
        rest = list(second.steps())
        assert [event for reports in [*seen, *rest] for event in reports if isinstance(event, Event)] == kept
        assert to_files(second.state()) == at_the_end


# Successive halving ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "epochs", "levels"),
    [
        ({}, 9, (1, 3, 9)),
        ({}, 10, (1, 3, 9, 10)),
        ({"first_epochs": 2, "factor": 4}, 5, (2, 5)),
        ({"factor": 2}, 8, (1, 2, 4, 8)),
    ],
)
def test_rungs_rise_by_the_factor_up_to_the_whole_training(
    options: dict[str, Any], epochs: int, levels: tuple[int, ...]
) -> None:
    assert rungs(SuccessiveHalvingOptions(**options), epochs) == levels


def test_brackets_spend_the_budget_by_hand() -> None:
    # 27 children cost 27 * 1 + 9 * 2 + 3 * 6 = 63 epochs; 18 trainings of 9 epochs are 162.
    config = SuccessiveHalvingOptions(queries=18, proposals=27)
    # 36 epochs are left: 18 * 1 + 6 * 2 + 2 * 6 would be 42, 17 * 1 + 5 * 2 + 1 * 6 is 33.
    assert brackets(config, 9) == [(27, 9, 3), (27, 9, 3), (17, 5, 1)]
    # 3 * 1 + 1 * 2 + 1 * 6 would be 11.
    assert brackets(config.model_copy(update={"queries": 1}), 9) == [(1, 1, 1)]


@pytest.mark.parametrize("queries", [1, 2, 7, 30])
@pytest.mark.parametrize("proposals", [2, 9, 10])
def test_brackets_never_cost_more_than_the_budget_and_leave_less_than_a_training(queries: int, proposals: int) -> None:
    config = SuccessiveHalvingOptions(queries=queries, proposals=proposals)
    levels = rungs(config, 7)
    spent = sum(
        size * (level - before)
        for sizes in brackets(config, 7)
        for size, level, before in zip(sizes, levels, (0, *levels), strict=False)
    )
    assert 0 <= queries * 7 - spent < 7


def test_the_best_of_a_rung_go_on_from_where_they_are(tiny: LanguageModel) -> None:
    strategy = search(tiny, "random", halving=True, queries=4, proposals=6, factor=2, epochs=4)
    found = events(list(strategy.search()), "rung")
    bracket = [facts for facts in found if facts["bracket"] == 0]
    by_rung = [[facts for facts in bracket if facts["rung"] == rung] for rung in range(3)]
    assert [len(rung) for rung in by_rung] == [6, 3, 1]
    assert [rung[0]["epochs"] for rung in by_rung] == [1, 2, 4]
    for lower, upper in itertools.pairwise(by_rung):
        best = sorted(lower, key=lambda facts: -facts["reward"])[: len(upper)]
        assert [facts["number"] for facts in upper] == [facts["number"] for facts in best]
    # What ends the last rung is the plain training of its number, to the last digit: nothing was trained twice.
    (last,) = by_rung[2]
    (architecture,) = [each for each in strategy.scores if each.digest == last["digest"]]
    assert last["proxy"] == trained(tiny, standalone(tiny, 4), architecture, last["number"]).score().value
    steps = tiny.steps_per_epoch(PLAN)
    # 6 * 1 + 3 * 1 + 1 * 2 epochs of 16; the 5 that are left are for 2 * 1 + 1 * 1 + 1 * 2.
    assert strategy.cost.child_steps == (11 + 5) * steps
    assert strategy.cost.evaluations == len(found) == 10 + 4


def test_controllers_hear_of_first_rungs_only(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = search(tiny, "evolution", halving=True, queries=4, proposals=6, factor=2, epochs=4)
    told: list[float] = []
    update = strategy.controller.update
    monkeypatch.setattr(strategy.controller, "update", lambda m, r: (told.extend(r), update(m, r))[1])
    found = events(list(strategy.search()), "rung")
    assert told == [facts["reward"] for facts in found if facts["rung"] == 0]


def test_candidates_are_those_of_the_last_rung(tiny: LanguageModel) -> None:
    strategy = search(tiny, "random", halving=True, queries=4, proposals=6, factor=2, epochs=4)
    found = events(list(strategy.search()), "rung")
    ends = {facts["digest"] for facts in found if facts["rung"] == 2}
    assert {each.digest for each in strategy.propose(100)} == ends == {each.digest for each in strategy.scores}
    assert strategy.propose(100) == []
