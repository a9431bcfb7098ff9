"""Regularised evolution: uniform at first, then children of the best of a few; the oldest dies; limits are kept."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping

import pytest
from helpers import cell
from pydantic import ValidationError
from scipy.stats import chi2

from nasforge.controllers.base import Controller
from nasforge.controllers.evolution import EvolutionController
from nasforge.controllers.options import EvolutionOptions
from nasforge.controllers.random import RandomController
from nasforge.errors import SpaceError
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.space.vary import distance, neighbours
from nasforge.testing.controllers import SPACES, ControllerContract

SPACE = cell(4, ops=("tanh", "relu")).space
ALL = SPACE.everything()


class TestEvolutionContract(ControllerContract):
    def make_controller(self, space: SearchSpace, seed: int) -> Controller:
        return EvolutionController(space, EvolutionOptions(population=6, sample=3), seed=seed)


def evolution(space: SearchSpace = SPACE, *, seed: int = 0, **options: int) -> EvolutionController:
    return EvolutionController(space, EvolutionOptions(**options), seed=seed)


def members(controller: EvolutionController) -> list[float]:
    return [member["reward"] for member in controller.state()["members"]]


def test_proposals_are_uniform_until_the_population_is_full() -> None:
    # Of 48 architectures each of two is told again and again; a child could only be near them.
    controller = evolution(population=3, sample=3)
    controller.update(ALL[:2], [1.0, 2.0])
    counts = Counter(controller.propose(100 * len(ALL)))
    statistic = sum((counts[each] - 100) ** 2 / 100 for each in ALL)
    assert statistic < chi2.ppf(0.999, len(ALL) - 1)


def test_children_differ_from_a_member_in_one_decision() -> None:
    controller = evolution(population=2, sample=2)
    controller.update([ALL[0], ALL[-1]], [1.0, 1.0])
    assert distance(SPACE, ALL[0], ALL[-1]) > 2
    for child in controller.propose(200):
        assert sorted([distance(SPACE, ALL[0], child), distance(SPACE, ALL[-1], child)])[0] == 1


def test_the_parent_is_the_best_of_the_sample() -> None:
    """With S draws with replacement from P = 2 members, the worse one is the parent with probability 2^-S."""
    controller = evolution(population=2, sample=3)
    controller.update([ALL[0], ALL[-1]], [1.0, 2.0])
    near_worse = sum(distance(SPACE, ALL[0], child) == 1 for child in controller.propose(4000))
    assert near_worse / 4000 == pytest.approx(1 / 8, abs=0.025)


def test_a_child_may_be_any_neighbour() -> None:
    controller = evolution(population=1, sample=1)
    controller.update(ALL[:1], [1.0])
    assert set(controller.propose(500)) == set(neighbours(SPACE, ALL[0]))


def test_the_oldest_dies_however_good_it_is() -> None:
    controller = evolution(population=3, sample=2)
    controller.update(ALL[:3], [9.0, 1.0, 2.0])
    assert members(controller) == [9.0, 1.0, 2.0]
    controller.update(ALL[3:4], [3.0])
    assert members(controller) == [1.0, 2.0, 3.0]
    controller.update(ALL[:5], [4.0, 5.0, 6.0, 7.0, 8.0])
    assert members(controller) == [6.0, 7.0, 8.0]


def test_the_reported_entropy_is_that_of_the_population() -> None:
    controller = evolution(population=4, sample=2)
    assert controller.update(ALL[:4], [1.0] * 4).entropy == pytest.approx(1.3862944)
    assert controller.update(ALL[:1] * 2, [1.0] * 2).entropy == pytest.approx(1.0397208)
    assert controller.update(ALL[:1] * 4, [1.0] * 4).entropy == 0.0


def test_proposals_do_not_depend_on_how_many_are_asked_for_at_a_time() -> None:
    whole, parts = (evolution(population=2, sample=2) for _ in range(2))
    for controller in (whole, parts):
        controller.update(ALL[:2], [1.0, 2.0])
    assert whole.propose(6) == parts.propose(1) + parts.propose(3) + parts.propose(2)


def test_it_finds_what_random_search_does_not() -> None:
    space = cell(8).space  # 4^8 * 7! = 330,301,440 architectures

    def right(architecture: Architecture) -> float:
        return sum(option == "relu" for option in architecture.values()) + (architecture["node7.input"] == "node6")

    best = {}
    for controller in (evolution(space), RandomController(space, seed=0)):
        found = 0.0
        for _ in range(200):
            proposals = controller.propose(1)
            controller.update(proposals, [right(proposals[0])])
            found = max(found, right(proposals[0]))
        best[type(controller).__name__] = found
    assert best["EvolutionController"] == 9 > 7 >= best["RandomController"]


# Limits --------------------------------------------------------------------------------------------------------------


class AtMostOneTanh:
    def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
        count = list(architecture.values()).count("tanh")
        return (f"count of tanh: {count} are more than 1",) if count > 1 else ()


class OnlyTheFirst:
    def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
        return () if architecture == ALL[0] else ("first: it is another",)


def test_ten_thousand_proposals_are_within_the_limits() -> None:
    space = SPACE.limited(AtMostOneTanh())
    controller = evolution(space, population=10, sample=3)
    for _ in range(1000):
        proposals = controller.propose(10)
        assert all(map(space.admits, proposals))
        # The limits stand between the search and what is rewarded.
        controller.update(proposals, [float(list(each.values()).count("tanh")) for each in proposals])
    assert {list(each.values()).count("tanh") for each in controller.propose(50)} == {0, 1}


def test_where_the_limits_leave_no_neighbour_proposals_are_uniform() -> None:
    controller = evolution(SPACE.limited(OnlyTheFirst()), population=1, sample=1)
    controller.update(ALL[:1], [1.0])
    assert controller.propose(2) == [ALL[0]] * 2


def test_what_is_outside_of_the_limits_is_not_learned_from() -> None:
    controller = evolution(SPACE.limited(OnlyTheFirst()))
    with pytest.raises(SpaceError, match="first: it is another"):
        controller.update([ALL[0], ALL[1]], [1.0, 2.0])
    assert controller.state() == {"drawn": 0, "members": []}


# The rest ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"population": 0}, {"sample": 0}, {"populations": 3}])
def test_options_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        EvolutionOptions(**wrong)


def test_proposing_does_not_import_torch() -> None:
    code = (
        "import sys; from nasforge.controllers.evolution import EvolutionController\n"
        "from nasforge.controllers.local_search import LocalSearchController\n"
        "from nasforge.space.search_space import SearchSpace\n"
        "for controller in (EvolutionController, LocalSearchController):\n"
        "    controller(SearchSpace([]), seed=0).propose(2)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_space_of_one_architecture_is_no_dead_end() -> None:
    controller = evolution(SPACES["one"], population=1, sample=1)
    controller.update(controller.propose(1), [1.0])
    assert len(controller.propose(3)) == 3
