"""Fronts, crowding and hypervolumes against definitions, and against values that are known."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasforge.controllers.pareto import crowding, dominates, fitness, front, fronts, hypervolume, spread

GRID = st.integers(0, 4)
PAIRS = st.lists(st.tuples(GRID, GRID), max_size=25)
TRIPLES = st.lists(st.tuples(GRID, GRID, GRID), max_size=25)


def brute_force(points: list[tuple[float, ...]]) -> list[int]:
    return [i for i, one in enumerate(points) if not any(dominates(other, one) for other in points)]


def counted(points: list[tuple[int, int]], reference: tuple[int, int]) -> int:
    """The area of whole points, cell by cell."""
    return sum(any(x > i and y > j for x, y in points) for i in range(reference[0], 6) for j in range(reference[1], 6))


def test_to_dominate_is_to_be_better_somewhere_and_worse_nowhere() -> None:
    assert dominates((1, 2), (1, 1)) and not dominates((1, 2), (2, 1))
    assert not dominates((1, 2), (1, 2))


@given(PAIRS)
def test_the_front_of_pairs_is_that_of_the_definition(points: list[tuple[float, ...]]) -> None:
    assert front(points) == brute_force(points)


@given(TRIPLES)
def test_the_front_of_triples_is_that_of_the_definition(points: list[tuple[float, ...]]) -> None:
    assert front(points) == brute_force(points)


def test_equal_points_are_all_in_the_front() -> None:
    assert front([(1, 1), (0, 0), (1, 1)]) == [0, 2]


@given(PAIRS)
def test_fronts_hold_every_point_once_and_each_is_the_front_of_what_is_left(points: list[tuple[float, ...]]) -> None:
    found = fronts(points)
    assert sorted(place for each in found for place in each) == list(range(len(points)))
    for number, places in enumerate(found):
        left = [place for each in found[number:] for place in each]
        assert places == [left_place for left_place in sorted(left) if not any(
            dominates(points[other], points[left_place]) for other in left
        )]  # fmt: skip


def test_crowding_is_the_sum_of_the_scaled_distances_between_neighbours() -> None:
    assert crowding([(0, 10), (4, 6), (1, 8), (5, 0)]) == [math.inf, 4 / 5 + 8 / 10, 4 / 5 + 4 / 10, math.inf]
    assert crowding([(1, 1), (1, 1)]) == [0, 0] and crowding([]) == []


def test_fitness_is_the_front_first_and_the_crowding_then() -> None:
    points = [(0, 10), (1, 8), (4, 6), (5, 0), (0, 1)]
    found = fitness(points)
    order = sorted(range(5), key=found.__getitem__, reverse=True)
    assert set(order[:2]) == {0, 3} and order[2:] == [2, 1, 4]
    assert found[4] == (-1, 0.0)


def test_known_hypervolumes() -> None:
    assert hypervolume([(1, 3), (2, 2), (3, 1)], (0, 0)) == 6
    assert hypervolume([(1, 3), (2, 2), (3, 1), (1, 1), (2, 2)], (0, 0)) == 6
    assert hypervolume([(1, 3), (3, 1)], (1, 0)) == 2
    assert hypervolume([(-1, -30)], (-4, -50)) == 60
    assert hypervolume([], (0, 0)) == hypervolume([(0, 5), (5, 0)], (0, 0)) == 0
    with pytest.raises(ValueError, match="two components, not for 3"):
        hypervolume([], (0, 0, 0))


@given(st.lists(st.tuples(st.integers(-1, 6), st.integers(-1, 6)), max_size=12), st.tuples(GRID, GRID))
def test_the_hypervolume_is_what_counting_finds(points: list[tuple[int, int]], reference: tuple[int, int]) -> None:
    assert hypervolume(points, reference) == counted(points, reference)


def test_a_spread_has_both_ends_and_steps_that_differ_by_one_at_most() -> None:
    points = [(float(i), float(-i)) for i in range(11)]
    random.Random(0).shuffle(points)
    chosen = [points[place][0] for place in spread(points, 4)]
    assert chosen == [10, 7, 3, 0]
    assert [points[place][0] for place in spread(points, 1)] == [10]
    assert sorted(spread(points, 20)) == list(range(11))
    assert len({*spread(points, 10)}) == 10
