"""Searches on NAS-Bench-Macro in a reduced form; `python -m tests.tables` is the whole."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from table_search import (
    NO_PREDICTOR,
    PREDICTOR,
    all_points,
    macro,
    macro_file,
    p_lower,
    regrets,
    searched_front,
    space_of,
    standard_error,
)

from nasforge.controllers.pareto import front, hypervolume
from nasforge.data.table import Table

SEEDS = range(20)
"""Bounds are at least three standard errors of 20 seeds from the means of 200; only `lstm` may differ by machine."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def table() -> Table:
    file = macro_file()
    if file is None:
        pytest.skip(
            "NAS-Bench-Macro is not shipped: set NASFORGE_TEST_DATA to a folder with benchmarks/nasbench_macro.npz"
        )
    return macro(file)


def mean(table: Table, name: str, budget: int, *, again: bool = True) -> float:
    return statistics.fmean(regrets(table, name, budget, SEEDS, again=again))


def test_the_space_of_the_table_has_its_architectures(table: Table) -> None:
    space = space_of(table)
    assert space.size == len(table)
    assert {table.row(space.encode(each)) for each in space.everything()} == set(range(len(table)))


def test_random_search_is_as_good_as_it_must_be(table: Table) -> None:
    """The best of 150 draws by one run each: over 2,000 seeds the regret is .275 points."""
    assert mean(table, "random", 150, again=False) == pytest.approx(0.275, abs=0.11)


@pytest.mark.parametrize("name", ["evolution", "local_search", "lstm"])
def test_150_queries_are_better_spent_than_by_random_search(table: Table, name: str) -> None:
    assert mean(table, name, 150) < 0.13


@pytest.mark.skipif(not PREDICTOR, reason=NO_PREDICTOR)
def test_150_queries_of_the_predictor_are_better_spent_still(table: Table) -> None:
    """Eight seeds: it takes most of a second for each."""
    assert statistics.fmean(regrets(table, "predictor", 150, range(8))) < 0.11


def test_300_queries_of_evolution_are_not_spent_on_luck(table: Table) -> None:
    assert mean(table, "evolution", 300) < 0.06


def brute_force(points: Sequence[tuple[float, float]]) -> list[int]:
    """The front by its definition: a point is in it if no other dominates it."""
    x, y = np.array(points).T
    dominated = [bool(((x >= a) & (y >= b) & ((x > a) | (y > b))).any()) for a, b in points]
    return [place for place, bad in enumerate(dominated) if not bad]


@pytest.mark.parametrize("cost", ["flops", "params"])
def test_the_front_of_the_table_is_that_of_brute_force(table: Table, cost: str) -> None:
    points = all_points(table, cost)
    assert front(points) == brute_force(points) and len(points) == 6561
    if cost == "flops":
        assert len(front(points)) == 66
        # The sum of rectangles from one point of the front to the next, from the cheapest on.
        best = sorted((points[place] for place in front(points)), key=lambda point: -point[1])
        worst = (min(x for x, _ in points), min(y for _, y in points))
        area, floor = 0.0, worst[0]
        for accuracy, negative_flops in best:
            area, floor = area + (accuracy - floor) * (negative_flops - worst[1]), accuracy
        assert hypervolume(points, worst) == pytest.approx(area)


@pytest.mark.parametrize("name", ["random", "evolution", "local_search", "lstm"])
def test_the_front_of_a_search_is_that_of_brute_force_over_what_it_scored(table: Table, name: str) -> None:
    found = searched_front(table, name, 150, 1)
    assert list(found.front) == brute_force(found.scored) and 60 < len(found.scored) <= 120


def test_evolution_finds_more_of_the_front_than_random_search_and_than_by_the_score_alone(table: Table) -> None:
    missing = {
        (name, aims): statistics.fmean(searched_front(table, name, 300, seed, aims=aims).missing for seed in range(5))
        for name, aims in (("evolution", True), ("evolution", False), ("random", True))
    }
    assert missing["evolution", True] < 2 < missing["random", True] < missing["evolution", False]


def test_standard_errors_and_p_values_are_what_they_are_called() -> None:
    assert standard_error([1.0, 2.0, 3.0, 4.0]) == pytest.approx((5 / 3) ** 0.5 / 2)
    assert p_lower([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == pytest.approx(0.5)
    assert p_lower([1.0, 2.0, 3.0], [11.0, 12.0, 13.0]) < 0.001 < 0.999 < p_lower([11.0, 12.0, 13.0], [1.0, 2.0, 3.0])
