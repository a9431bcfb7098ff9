"""A search that is stopped between any two steps, and goes on in another process, is the search that was not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers import cell, language_model, write_corpus
from helpers import recipe as text_recipe
from random_specs import CATALOGUE, supergraph_of
from small_images import BLOCK, bright_rows, task_of
from small_images import recipe as image_recipe

from nasforge.executors.options import SharedWeightsOptions
from nasforge.executors.shared import SharedWeights
from nasforge.graph.supergraph import Supergraph
from nasforge.resolve import resolve
from nasforge.run.state import from_files, to_files
from nasforge.strategies.base import Strategy
from nasforge.tasks.base import Task

SEARCHES: dict[str, dict[str, Any]] = {
    "enas": {"epochs": 2, "controller_steps": 3, "candidates_per_step": 3},
    "enas, uniform": {"sampler": "uniform", "epochs": 3, "controller_steps": 2, "candidates_per_step": 2},
    "enas, epsilon, averaged": {
        "sampler": "epsilon",
        "epsilon": 0.5,
        "reward_ema": 0.9,
        "epochs": 2,
        "warmup_epochs": 0,
        "controller_steps": 2,
        "candidates_per_step": 3,
        "architectures_per_step": 2,
    },
    "enas, fair": {"sampler": "fair", "epochs": 2, "controller_steps": 2, "candidates_per_step": 2},
    "evolution": {"epochs": 1, "evaluations": 7, "batch": 3},
    "local_search": {"epochs": 1, "evaluations": 7, "sampler": "fair"},
    "reinforce": {"epochs": 1, "evaluations": 8, "batch": 3},
}
SPACES = ("text", "images, running")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("data")
    bright_rows(where)
    return where


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), train=12, valid=8, test=4)


def search(name: str, supergraph: Supergraph, task: Task, recipe: Any, executor_options: Any) -> Strategy:
    """A fresh strategy; two with equal arguments are equal."""
    kind = CATALOGUE.strategies[name.partition(",")[0]]
    config = kind.config.model_validate(SEARCHES[name])
    controllers = CATALOGUE.controllers[kind.defaults["controller"]]
    options = controllers.config.model_validate({"units": 6} if controllers.name == "lstm" else {})
    controller = resolve(controllers.build)(supergraph.space, options, seed=4)
    executor = SharedWeights(supergraph, CATALOGUE.operations, task, recipe, executor_options, seed=3)
    strategy: Strategy = resolve(kind.build)(
        config, space=supergraph.space, controller=controller, executor=executor, task=task, recipe=recipe, seed=5
    )
    return strategy


def maker(name: str, where: str, folder: Path, corpus: Path) -> Callable[[], Strategy]:
    if where == "text":
        recipe: Any = text_recipe(batch_size=4, bptt=5, learning_rate=0.1, optimizer="adam")
        return partial(search, name, cell(3), language_model(corpus), recipe, SharedWeightsOptions(hidden=4))
    norms = "running" if "running" in where else "batch"
    recipe = image_recipe(optimizer="sgd", momentum=0.9, learning_rate=0.1, batch_size=48)
    options = SharedWeightsOptions.model_validate({"hidden": 4, "norms": norms})
    return partial(search, name, supergraph_of(BLOCK), task_of(folder), recipe, options)


@pytest.mark.parametrize("where", SPACES)
@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_goes_on_exactly_from_between_any_two_steps(name: str, where: str, folder: Path, corpus: Path) -> None:
    make = maker(name, where, folder, corpus)
    unbroken = make()
    expected = list(unbroken.steps())
    proposed = unbroken.propose(3)
    at_the_end = to_files(unbroken.state())
    watched, states = make(), []
    states.append(to_files(watched.state()))
    for _ in watched.steps():
        states.append(to_files(watched.state()))
    assert len(states) == len(expected) + 1 > 6
    for n, files in enumerate(states):
        resumed = make()
        resumed.load_state(from_files(files))
        assert to_files(resumed.state()) == files
        assert list(resumed.steps()) == expected[n:]
        assert resumed.propose(3) == proposed
        assert to_files(resumed.state()) == at_the_end
