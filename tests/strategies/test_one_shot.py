"""Search on weights that were trained first: what is trained, what is asked, what is proposed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import OPERATIONS, cell, language_model, recipe, write_corpus
from toy import nasforge, write_toy

from nasforge.controllers.base import Controller
from nasforge.controllers.evolution import EvolutionController
from nasforge.controllers.local_search import LocalSearchController
from nasforge.controllers.lstm import LstmController
from nasforge.controllers.options import LstmOptions
from nasforge.controllers.random import RandomController
from nasforge.executors.options import SharedWeightsOptions
from nasforge.executors.shared import SharedWeights
from nasforge.graph.supergraph import Supergraph
from nasforge.strategies.base import Event, Report
from nasforge.strategies.one_shot import OneShot
from nasforge.strategies.options import OneShotOptions, ReinforceOptions
from nasforge.tasks.base import Score
from nasforge.tasks.language_model import LanguageModel

PLAN = recipe(batch_size=4, bptt=5, learning_rate=0.1, optimizer="sgd")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return language_model(write_corpus(tmp_path_factory.mktemp("tiny"), train=16, valid=12, test=4))


def one_shot(supergraph: Supergraph, task: LanguageModel, controller: Controller, **options: Any) -> OneShot:
    config = OneShotOptions.model_validate({"epochs": 2, "evaluations": 12, **options})
    executor = SharedWeights(supergraph, OPERATIONS, task, PLAN, SharedWeightsOptions(hidden=4), seed=1)
    parts = {"space": supergraph.space, "controller": controller, "executor": executor, "task": task, "recipe": PLAN}
    return OneShot(config, **parts, seed=1)


def events(reports: list[Report], kind: str) -> list[Mapping[str, Any]]:
    return [report.facts for report in reports if isinstance(report, Event) and report.kind == kind]


CONTROLLERS = {
    "evolution": lambda space: EvolutionController(space, None, seed=2),
    "local_search": lambda space: LocalSearchController(space, None, seed=2),
    "lstm": lambda space: LstmController(space, LstmOptions(units=8), seed=2),
    "random": lambda space: RandomController(space, None, seed=2),
}


@pytest.mark.parametrize("name", CONTROLLERS)
def test_weights_first_then_scores_and_the_best_of_them_are_proposed(name: str, tiny: LanguageModel) -> None:
    supergraph = cell(4)
    search = one_shot(supergraph, tiny, CONTROLLERS[name](supergraph.space), batch=4)
    reports = list(search.search())
    kinds = [report.kind for report in reports if isinstance(report, Event)]
    assert [kind for kind in kinds if kind != "controller_step"] == [
        *["weight_steps", "updates"] * 2,
        *["evaluation"] * 12,
    ]
    assert kinds.count("controller_step") == search.cost.controller_steps == 3
    found = events(reports, "evaluation")
    assert [facts["query"] for facts in found] == list(range(12))
    best = -math.inf
    for facts in found:
        best = max(best, facts["reward"])
        assert facts["best"] == best
    assert search.cost.evaluations == 12
    # An architecture that is proposed again is a query, but nothing is computed.
    assert search.cost.evaluated_items == len({facts["digest"] for facts in found}) * tiny.split_items("valid")
    assert search.cost.child_steps == 2 * tiny.steps_per_epoch(PLAN)
    rewards = {facts["digest"]: facts["reward"] for facts in found}
    first, second = search.propose(3), search.propose(2)
    # The best, then those after them: candidates that are isomorphic leave room for others.
    assert [rewards[m.digest] for m in [*first, *second]] == sorted(rewards.values(), reverse=True)[:5]
    # They were scored with the weights as they are now.
    for architecture in first:
        score = tiny.evaluate(search.executor.calibrated(architecture), "valid", exact=False)
        assert tiny.reward(score) == rewards[architecture.digest]
    assert len(search.propose(40)) == 40


@pytest.mark.parametrize("sampler", ["uniform", "fair"])
def test_the_weights_do_not_depend_on_what_is_proposed(sampler: str, tiny: LanguageModel) -> None:
    supergraph = cell(4)
    values = []
    for name in ("evolution", "random"):
        search = one_shot(supergraph, tiny, CONTROLLERS[name](supergraph.space), sampler=sampler)
        list(search.search())
        values.append(search.executor.values())
    assert all(torch.equal(value, values[1][key]) for key, value in values[0].items())


def test_without_evaluations_the_controller_proposes(tiny: LanguageModel) -> None:
    supergraph = cell(3)
    search = one_shot(supergraph, tiny, CONTROLLERS["random"](supergraph.space), evaluations=0)
    reports = list(search.search())
    assert events(reports, "evaluation") == []
    assert search.propose(5) == CONTROLLERS["random"](supergraph.space).propose(5)


def test_scores_that_are_not_finite_never_reach_the_controller(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, n = LanguageModel.evaluate, 0

    def sick(self: LanguageModel, *given: Any, **more: Any) -> Score:
        nonlocal n
        n += 1
        score = original(self, *given, **more)
        return Score(math.nan, math.nan, score.count) if n % 3 == 0 else score

    monkeypatch.setattr(LanguageModel, "evaluate", sick)
    supergraph = cell(3)
    search = one_shot(supergraph, tiny, CONTROLLERS["evolution"](supergraph.space))
    found = events(list(search.search()), "evaluation")
    assert any(facts["reward"] is None for facts in found)
    assert search.cost.evaluations == 12
    assert all(math.isfinite(score) for scores in search._found.archive.values() for score in scores)


def test_groups_of_the_policy_are_large_enough_by_default() -> None:
    assert ReinforceOptions().batch == 5


@pytest.mark.parametrize("strategy", ["evolution", "local_search", "reinforce"])
def test_each_runs_from_the_command_line(strategy: str, tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    text = space.read_text()
    start = text.index("strategy:")
    end = text.index("executor:")
    space.write_text(f"{text[:start]}strategy: {{kind: {strategy}, epochs: 1, evaluations: 10}}\n{text[end:]}")
    done = nasforge("run", space, "derive.shortlist=1", "train.epochs=1", "--run-dir", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # Only a policy has preferences.
    said = "With the same shared weights the policy's proposals have a mean reward of" in done.stdout
    assert said == (strategy == "reinforce")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["policy"] is None) == (strategy != "reinforce")
    assert result["search"]["evaluations"] == 10
    assert result["search"]["ranking_tokens"] == 0 and result["search"]["candidates_ranked"] == 4
    text = space.read_text().replace(f"kind: {strategy},", f"kind: {strategy}, batch: 0,")
    space.write_text(text)
    done = nasforge("check", space, cwd=tmp_path)
    assert done.returncode == 2 and "batch" in done.stderr


def test_groups_too_small_for_the_controller_are_refused_with_the_key(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    start = space.read_text().index("strategy:")
    end = space.read_text().index("executor:")
    text = space.read_text()
    space.write_text(f"{text[:start]}strategy: {{kind: reinforce, batch: 1}}\n{text[end:]}")
    done = nasforge("check", space, cwd=tmp_path)
    assert done.returncode == 2
    assert "raise strategy.batch" in done.stderr
