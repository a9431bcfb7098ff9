"""Controllers learn what can be learnt: planted optima on a space of each kind, and choices that depend on others."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
import torch
from planted import BLOCKS, N_OPTIONS, REWARDS, Reached, WithMemory, WithoutMemory, learn, match, reach
from random_specs import supergraph_of
from table_search import SEARCHERS

from nasforge.controllers.lstm import LstmController
from nasforge.controllers.options import CONTROLLERS, LstmOptions
from nasforge.controllers.random import RandomController
from nasforge.space.architecture import Architecture
from nasforge.space.decision import Decision
from nasforge.space.search_space import SearchSpace

SETTLING = LstmOptions(learning_rate=5e-3, entropy_weight=3e-2)
"""Faster than the default, and with less entropy, so that it ends near one architecture."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def space_of(kind: str) -> SearchSpace:
    return supergraph_of(BLOCKS[kind]).space


def test_every_controller_is_measured() -> None:
    assert SEARCHERS.keys() - {"predictor"} == {kind.name for kind in CONTROLLERS}  # that is of a plugin


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("kind", BLOCKS)
def test_the_lstm_settles_on_the_best_of_the_space(kind: str, reward: str) -> None:
    """Uniform draws are in the middle, at 0.5."""
    space = space_of(kind)
    learned = learn(LstmController(space, SETTLING, seed=0), REWARDS[reward](space, 0), 800, group=10)
    assert learned.better <= 0.001
    assert learned.mean < 0.05


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("kind", BLOCKS)
def test_the_lstm_comes_near_the_optimum(kind: str, reward: str) -> None:
    """95 % of the way from the mean of the space to its best; docs/search.md has it for 20 seeds."""
    space = space_of(kind)
    reached = reach(SEARCHERS["lstm"].make(space, 0), REWARDS[reward](space, 0), 600, group=10)
    assert reached.best is not None


def test_the_lstm_as_a_whole_comes_near_where_random_proposals_never_do() -> None:
    space = space_of("macro_network")
    for name, near in {"lstm": True, "random": False}.items():
        reached = reach(SEARCHERS[name].make(space, 0), REWARDS["additive"](space, 0), 500, group=10)
        assert (reached.mean is not None) == near, name


def test_how_near_is_measured_from_the_mean_of_the_space_to_its_best() -> None:
    """Four architectures of rewards 0, 0, 0 and 4, whose mean is 1: 3.85 is 95 % of the way, and only 4 is beyond."""
    space = SearchSpace(Decision(name, ("a", "b"), "op", name) for name in ("first", "second"))

    class InOrder(RandomController):
        def propose(self, count: int) -> list[Architecture]:
            return list(space.everything())[:count]

    def reward(architecture: Architecture) -> float:
        return 4.0 if list(architecture.values()) == ["b", "b"] else 0.0

    assert reach(InOrder(space, seed=0), reward, 40, group=4) == Reached(best=4, mean=None)
    assert reach(InOrder(space, seed=0), lambda architecture: 1.0, 40, group=4) == Reached(best=1, mean=10)


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("kind", BLOCKS)
def test_evolution_and_local_search_find_the_best_of_the_space(kind: str, reward: str) -> None:
    """600 of 1,296 to 5,184 architectures; the last proposals are mutations, so they are never only the best."""
    space = space_of(kind)
    for name, most in {"evolution": 0.2, "local_search": 0.35}.items():
        learned = learn(SEARCHERS[name].make(space, 0), REWARDS[reward](space, 0), 600, group=1)
        assert learned.better <= 0.003, name
        assert learned.mean < most, name


def test_the_random_controller_does_not_learn() -> None:
    space = space_of("macro_network")
    learned = learn(SEARCHERS["random"].make(space, 0), REWARDS["additive"](space, 0), 600, group=10)
    assert 0.4 < learned.mean < 0.6


@pytest.mark.parametrize("seed", [0, 1])
def test_the_lstm_conditions_a_decision_on_one_that_was_made_for_it(seed: int) -> None:
    frequency, done = match(WithMemory(LstmOptions(), seed), 20_000, seed=seed, until=0.95)
    assert frequency >= 0.9
    assert done < 5000


def test_a_policy_without_memory_cannot_condition() -> None:
    frequency, done = match(WithoutMemory(1e-2), 5000)
    assert done == 5000
    assert frequency == pytest.approx(1 / N_OPTIONS, abs=0.04)
