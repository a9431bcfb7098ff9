"""Searches in tables of trained networks, many times over: mean regrets, their errors, and whether they differ."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from scipy.stats import ttest_ind

from nasforge.controllers.aiming import AimingController
from nasforge.controllers.base import Controller
from nasforge.controllers.evolution import EvolutionController
from nasforge.controllers.local_search import LocalSearchController
from nasforge.controllers.options import LstmOptions
from nasforge.controllers.pareto import front, hypervolume
from nasforge.controllers.random import RandomController
from nasforge.data.table import Table, load_table
from nasforge.seeds import stream
from nasforge.space.architecture import Architecture
from nasforge.space.decision import Decision
from nasforge.space.search_space import SearchSpace
from nasforge.strategies.black_box import AskAgain, BlackBox

MACRO = "benchmarks/nasbench_macro.npz"
"""NAS-Bench-Macro (Su et al. 2021) in the folder that NASFORGE_TEST_DATA names."""
LSTM = LstmOptions(learning_rate=5e-3, entropy_weight=0.3)
"""The settings for budgets of some hundred queries, in groups of 5 (docs/search.md)."""


@dataclass(frozen=True)
class Searcher:
    """A controller and how it is asked."""

    make: Callable[[SearchSpace, int], Controller]
    batch: int = 1
    smallest_group: int = 1


def _lstm(space: SearchSpace, seed: int) -> Controller:
    from nasforge.controllers.lstm import LstmController

    return LstmController(space, LSTM, seed=seed)


def _predictor(space: SearchSpace, seed: int) -> Controller:
    from nasforge_predictor.controller import PredictorController

    return PredictorController(space, seed=seed)


PREDICTOR = find_spec("nasforge_predictor") is not None
"""Whether the plugin is installed."""
NO_PREDICTOR = "the predictor is not installed: pip install plugins/nasforge-predictor"
SEARCHERS: Mapping[str, Searcher] = {
    "random": Searcher(lambda space, seed: RandomController(space, seed=seed)),
    "evolution": Searcher(lambda space, seed: EvolutionController(space, seed=seed)),
    "local_search": Searcher(lambda space, seed: LocalSearchController(space, seed=seed)),
    "lstm": Searcher(_lstm, batch=5, smallest_group=2),
    **({"predictor": Searcher(_predictor)} if PREDICTOR else {}),
}


def macro_file() -> Path | None:
    """Where the table lies; None where it is not there."""
    file = Path(os.environ.get("NASFORGE_TEST_DATA", "absent")) / MACRO
    return file if file.is_file() else None


def macro(file: Path) -> Table:
    """NAS-Bench-Macro, read as it is published: the test accuracy of three trainings, in per cent."""
    return load_table(file, architectures="arch", scores="test_acc", metric="accuracy", direction="max")


def space_of(table: Table) -> SearchSpace:
    """One operation for each layer, its options named by their numbers."""
    return SearchSpace(
        Decision(f"layer{n}", tuple(map(str, range(count))), "op", f"layer{n}") for n, count in enumerate(table.options)
    )


def regret(table: Table, space: SearchSpace, name: str, budget: int, seed: int, ask_again: AskAgain | None) -> float:
    """How far the truth of what one search answers is from the best, in the unit of the score.

    Each query draws one of the runs; the truth is their mean.
    """

    def score(architecture: Architecture, query: int) -> float:
        row = table.row(space.encode(architecture))
        return table.reward(table.draw(row, stream(seed, "run", query)))

    searcher = SEARCHERS[name]
    search = BlackBox(
        searcher.make(space, seed),
        score,
        budget=budget,
        batch=searcher.batch,
        ask_again=ask_again,
        smallest_group=searcher.smallest_group,
    )
    for _ in search.queries():
        pass
    return table.regret(table.row(space.encode(search.answer().architecture)))


def regrets(table: Table, name: str, budget: int, seeds: Sequence[int], *, again: bool = True) -> list[float]:
    """One regret for each seed; with `again`, the best are asked again where that is the default."""
    space = space_of(table)
    ask_again = AskAgain.for_budget(budget) if again else None
    return [regret(table, space, name, budget, seed, ask_again) for seed in seeds]


@dataclass(frozen=True)
class Front:
    """What a search with two objectives, the score and a cost, found.

    Attributes:
        scored: of each architecture that was asked for the mean of its scores and the negative cost.
        front: the places of those that none dominates.
        missing: the hypervolume that the truths of these lack to the front of the whole table, in per cent of it.
    """

    scored: tuple[tuple[float, float], ...]
    front: tuple[int, ...]
    missing: float


def all_points(table: Table, cost: str) -> list[tuple[float, float]]:
    """The truth and the negative cost of every row."""
    return [(table.reward(t), -float(c)) for t, c in zip(table.truths.tolist(), table.columns[cost], strict=True)]


def searched_front(
    table: Table, name: str, budget: int, seed: int, *, cost: str = "flops", aims: bool = True, again: bool = True
) -> Front:
    """One search; with `aims` the controller learns from both objectives, else from the score alone."""
    space, points, searcher = space_of(table), all_points(table, cost), SEARCHERS[name]

    def row(architecture: Architecture) -> int:
        return table.row(space.encode(architecture))

    def score(architecture: Architecture, query: int) -> float:
        return table.reward(table.draw(row(architecture), stream(seed, "run", query)))

    controller = searcher.make(space, seed)
    if aims:
        controller = AimingController(controller, lambda each: (points[row(each)][1],))
    search = BlackBox(
        controller,
        score,
        budget=budget,
        batch=searcher.batch,
        ask_again=AskAgain.for_budget(budget) if again else None,
        smallest_group=searcher.smallest_group,
    )
    for _ in search.queries():
        pass
    rows = [row(each) for each in search.archive]
    scored = [(statistics.fmean(s), points[r][1]) for s, r in zip(search.archive.values(), rows, strict=True)]
    chosen = front(scored)
    worst = (min(x for x, _ in points), min(y for _, y in points))
    whole = hypervolume(points, worst)
    missing = 100 * (1 - hypervolume([points[rows[place]] for place in chosen], worst) / whole)
    return Front(tuple(scored), tuple(chosen), missing)


def standard_error(values: Sequence[float]) -> float:
    """Of the mean."""
    return statistics.stdev(values) / math.sqrt(len(values))


def p_lower(a: Sequence[float], b: Sequence[float]) -> float:
    """How probable so much smaller a mean of `a` were if both means were equal (Welch's t-test, one-sided)."""
    return float(ttest_ind(a, b, equal_var=False, alternative="less").pvalue)
