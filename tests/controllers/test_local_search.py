"""Local search: the best of a few draws, the first better neighbour, another start at an optimum; limits are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
from helpers import cell
from pydantic import ValidationError

from nasforge.controllers.base import Controller
from nasforge.controllers.local_search import LocalSearchController
from nasforge.controllers.options import LocalSearchOptions
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.space.vary import distance, neighbours
from nasforge.testing.controllers import SPACES, ControllerContract

SPACE = cell(4, ops=("tanh", "relu")).space
ALL = SPACE.everything()


class TestLocalSearchContract(ControllerContract):
    def make_controller(self, space: SearchSpace, seed: int) -> Controller:
        return LocalSearchController(space, LocalSearchOptions(starts=3), seed=seed)


def local_search(space: SearchSpace = SPACE, *, seed: int = 0, starts: int = 1) -> LocalSearchController:
    return LocalSearchController(space, LocalSearchOptions(starts=starts), seed=seed)


def at(controller: LocalSearchController) -> tuple[dict[str, str], float]:
    (standing,) = controller.state()["at"]
    return standing["architecture"], standing["reward"]


def follow(controller: LocalSearchController, score: Callable[[Architecture], float], count: int) -> list[Architecture]:
    asked = []
    for _ in range(count):
        (architecture,) = controller.propose(1)
        controller.update([architecture], [score(architecture)])
        asked.append(architecture)
    return asked


def test_a_climb_starts_at_the_best_of_the_first_draws() -> None:
    controller = local_search(starts=4)
    first = controller.propose(3)
    controller.update(first, [1.0, 3.0, 2.0])
    assert controller.state()["at"] == []
    (last,) = controller.propose(1)
    controller.update([last], [0.0])
    assert at(controller) == (dict(first[1]), 3.0)


def test_every_neighbour_is_proposed_once_in_random_order() -> None:
    orders = []
    for seed in range(3):
        controller = local_search(seed=seed)
        controller.update(ALL[:1], [1.0])
        near = list(neighbours(SPACE, ALL[0]))
        orders.append(controller.propose(len(near)))
        assert set(orders[-1]) == set(near)
    assert orders[0] != orders[1] != orders[2]


def test_the_first_better_neighbour_is_where_it_goes_on() -> None:
    controller = local_search()
    controller.update(ALL[:1], [1.0])
    worse, better, *_ = controller.propose(3)
    controller.update([worse], [0.5])
    assert at(controller) == (dict(ALL[0]), 1.0)
    controller.update([better], [2.0])
    assert at(controller) == (dict(better), 2.0)
    assert all(distance(SPACE, better, each) == 1 for each in controller.propose(5))


def test_of_a_group_the_best_is_where_it_goes_on() -> None:
    controller = local_search()
    controller.update(ALL[:1], [1.0])
    group = controller.propose(3)
    controller.update(group, [2.0, 3.0, 2.5])
    assert at(controller) == (dict(group[1]), 3.0)


def test_an_equal_score_is_no_improvement() -> None:
    controller = local_search()
    controller.update(ALL[:1], [1.0])
    controller.update(controller.propose(1), [1.0])
    assert at(controller) == (dict(ALL[0]), 1.0)


def test_at_a_local_optimum_another_climb_starts() -> None:
    controller = local_search(starts=2)
    controller.update(ALL[:2], [1.0, 2.0])
    near = controller.propose(len(list(neighbours(SPACE, ALL[1]))))
    controller.update(near, [0.0] * len(near))
    assert at(controller)[1] == 2.0
    starts = controller.propose(2)
    assert controller.state()["at"] == []
    # The next climb may begin lower than the optimum.
    controller.update(starts, [0.1, 0.2])
    assert at(controller) == (dict(starts[1]), 0.2)


def test_more_than_there_are_neighbours_are_draws_for_the_next_start() -> None:
    controller = local_search(starts=3)
    controller.update(ALL[:3], [5.0, 1.0, 1.0])
    near = set(neighbours(SPACE, ALL[0]))
    group = controller.propose(len(near) + 10)
    assert set(group[: len(near)]) == near
    rewards = [1.0] * len(near) + [0.01 * n for n in range(10)]
    controller.update(group, rewards)
    # None is better than 5; of the ten draws those that are no neighbours are starts, enough for the next climb.
    drawn = [
        (reward, m)
        for m, reward in zip(group[len(near) :], rewards[len(near) :], strict=True)
        if m not in near | {ALL[0]}
    ]
    assert len(drawn) >= 3
    assert all(distance(SPACE, max(drawn)[1], each) == 1 for each in controller.propose(2))
    assert at(controller) == (dict(max(drawn)[1]), max(drawn)[0])


def test_neighbours_whose_scores_never_come_do_not_hold_it_up() -> None:
    controller = local_search()
    controller.update(ALL[:1], [1.0])
    controller.propose(len(list(neighbours(SPACE, ALL[0]))))
    (start,) = controller.propose(1)
    controller.update([start], [0.5])
    assert at(controller) == (dict(start), 0.5)


def test_what_others_propose_is_gone_to_where_it_is_better() -> None:
    controller = local_search()
    controller.update(ALL[:1], [1.0])
    assert distance(SPACE, ALL[0], ALL[-1]) > 2
    controller.update(ALL[-1:], [2.0])
    assert at(controller) == (dict(ALL[-1]), 2.0)


def test_the_reported_entropy_is_that_of_the_next_proposal() -> None:
    controller = local_search()
    n = len(list(neighbours(SPACE, ALL[0])))
    assert controller.update(ALL[:1], [1.0]).entropy == pytest.approx(math.log(n))
    assert controller.update(controller.propose(1), [0.0]).entropy == pytest.approx(math.log(n - 1))
    assert controller.update(controller.propose(n - 1), [0.0] * (n - 1)).entropy == pytest.approx(math.log(len(ALL)))


def test_it_climbs_to_the_top_of_a_slope_and_starts_anew() -> None:
    space = cell(8).space

    def right(architecture: Architecture) -> float:
        return float(sum(option == "relu" for option in architecture.values()))

    controller = local_search(space, starts=5)
    asked = follow(controller, right, 250)
    first = next(n for n, each in enumerate(asked) if right(each) == 8)
    assert first < 200
    assert controller.state()["moves"] > 8 and len(set(asked)) > 200


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
    controller = local_search(space, starts=2)
    for step in range(1000):
        proposals = controller.propose(10)
        assert all(map(space.admits, proposals))
        noise = int(proposals[0].digest[:4], 16) / 65536 + step % 3
        controller.update(proposals, [list(each.values()).count("tanh") + noise for each in proposals])
    assert controller.state()["moves"] > 50


def test_where_the_limits_leave_no_neighbour_it_draws() -> None:
    controller = local_search(SPACE.limited(OnlyTheFirst()))
    controller.update(ALL[:1], [1.0])
    assert controller.propose(3) == [ALL[0]] * 3


def test_a_space_of_one_architecture_is_no_dead_end() -> None:
    controller = local_search(SPACES["one"])
    for _ in range(3):
        controller.update(controller.propose(2), [1.0, 2.0])
    assert len(controller.propose(3)) == 3


@pytest.mark.parametrize("wrong", [{"starts": 0}, {"start": 3}])
def test_options_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        LocalSearchOptions(**wrong)
