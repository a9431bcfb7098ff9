"""``python -m tests.tables [--only NAME] [--seeds N]``: how well controllers search, as docs/search.md reports it.

``macro`` and ``fronts`` need NAS-Bench-Macro in the folder that NASFORGE_TEST_DATA names; the others need nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from nasforge.controllers.base import Controller
from nasforge.controllers.options import LstmOptions
from nasforge.data.table import load_table
from nasforge.space.search_space import SearchSpace
from nasforge.strategies.black_box import AskAgain
from tests.planted import BLOCKS, N_OPTIONS, REWARDS, WithMemory, WithoutMemory, match, reach
from tests.random_specs import supergraph_of
from tests.table_search import (
    LSTM,
    NO_PREDICTOR,
    PREDICTOR,
    SEARCHERS,
    macro,
    macro_file,
    p_lower,
    regrets,
    searched_front,
    standard_error,
)

BUDGETS = (50, 100, 150, 300)
MARKS = {
    ("evolution", 150): 0.10,
    ("evolution", 300): 0.05,
    ("local_search", 150): 0.12,
    ("lstm", 150): 0.10,
    ("predictor", 150): 0.08,
}
"""Largest mean regrets in points."""
MOST, NEVER = 2000, "-"
"""Proposals of a search for a planted optimum, and what stands for those that are not enough."""
PLANTED_MARK = 1000
"""Proposals within which the LSTM has come near a planted optimum, but for one seed of twenty."""
DIGITS = Path(__file__).resolve().parents[1] / "spaces" / "digits_table.npz"
DIGITS_BUDGETS = (25, 50, 100, 150)
FIRST_SEED = 0
"""Settings were chosen on seeds from 50,000 on."""


def tables(n_seeds: int) -> bool:
    """Mean regrets on NAS-Bench-Macro; whether all marks are met."""
    file = macro_file()
    if file is None:
        print("set NASFORGE_TEST_DATA to a folder that holds benchmarks/nasbench_macro.npz")
        return False
    table = macro(file)
    print(f"{table.name}, sha256 {table.sha256[:16]}: {len(table):,} architectures, best {table.best:.3f} %")
    seeds = range(FIRST_SEED, FIRST_SEED + n_seeds)
    print(f"regret in points (standard error), mean of the seeds {seeds[0]} to {seeds[-1]}, by queries:")
    print(f"  {'':27}" + "".join(f"{budget:>15}" for budget in BUDGETS) + f"{'seconds':>9}")
    good = True
    found: dict[tuple[str, int], list[float]] = {}
    for name in SEARCHERS:
        for label, again in ((name, True), (f"{name}, never again", False)):
            start = time.process_time()
            line = f"  {label:27}"
            for budget in BUDGETS:
                if again or AskAgain.for_budget(budget) is not None:
                    values = regrets(table, name, budget, seeds, again=again)
                else:
                    values = found[name, budget]  # it is not asked again in so few queries
                found[label, budget] = values
                line += f"   {statistics.fmean(values):.3f} ({standard_error(values):.3f})"
            print(f"{line}{time.process_time() - start:>9.0f}", flush=True)
    if not PREDICTOR:
        print(f"  {NO_PREDICTOR}")
    for (name, budget), mark in MARKS.items():
        if (name, budget) not in found:
            continue
        good &= _verdict(f"{name} at {budget}", statistics.fmean(found[name, budget]), mark)
    p = p_lower(found["lstm", 100], found["random", 100])
    good &= _verdict("p of lstm as good as random at 100", p, 0.01)
    check = regrets(table, "random", 150, range(FIRST_SEED, FIRST_SEED + 10 * n_seeds), again=False)
    mean = statistics.fmean(check)
    print(f"  random at 150, never again, {len(check):,} seeds: {mean:.3f} ({standard_error(check):.3f})")
    return good & _verdict("its distance from .275", abs(mean - 0.275), 0.03)


def digits(n_seeds: int) -> bool:
    """Mean regrets on the table of our own; whether every controller that learns is better than random from 50 queries."""
    table, seeds = load_table(DIGITS), range(FIRST_SEED, FIRST_SEED + n_seeds)
    print(f"{table.name}, sha256 {table.sha256[:16]}: {len(table):,} architectures, best {table.best:.3f} %")
    print(f"regret in points (standard error), mean of the seeds {seeds[0]} to {seeds[-1]}, by queries:")
    print(f"  {'':27}" + "".join(f"{budget:>15}" for budget in DIGITS_BUDGETS))
    found = {(name, budget): regrets(table, name, budget, seeds) for name in SEARCHERS for budget in DIGITS_BUDGETS}
    for name in SEARCHERS:
        values = [found[name, budget] for budget in DIGITS_BUDGETS]
        print(f"  {name:27}" + "".join(f"   {statistics.fmean(v):.3f} ({standard_error(v):.3f})" for v in values))
    good = True
    for name in (each for each in SEARCHERS if each != "random"):
        p = p_lower(found[name, 50], found["random", 50])
        good &= _verdict(f"p of {name} as good as random at 50", p, 0.01)
    return good


def fronts(n_seeds: int) -> bool:
    """How much of the front of accuracy and FLOPs on NAS-Bench-Macro searches find; a tenth of the seeds."""
    file = macro_file()
    if file is None:
        print("set NASFORGE_TEST_DATA to a folder that holds benchmarks/nasbench_macro.npz")
        return False
    table, seeds = macro(file), range(FIRST_SEED, FIRST_SEED + max(2, n_seeds // 10))
    print(f"hypervolume missing to the front of the table in % (standard error), 300 queries, {len(seeds)} seeds:")
    means = {}
    for name in SEARCHERS:
        line = f"  {name:15}"
        for aims, again in ((True, True), (True, False), (False, True)):
            values = [searched_front(table, name, 300, seed, aims=aims, again=again).missing for seed in seeds]
            means[name, aims, again] = statistics.fmean(values)
            line += f"   {means[name, aims, again]:.2f} ({standard_error(values):.2f})"
        print(line, flush=True)
    print("  columns: both objectives; both, never asked again; the accuracy alone")
    return _verdict("evolution over random", means["evolution", True, True] / means["random", True, True], 0.4)


def planted(n_seeds: int) -> bool:
    """How many proposals it takes to come near the known optimum of a small space of each kind."""
    makers: dict[str, tuple[Callable[[SearchSpace, int], Controller], int]] = {
        # The predictor is for few queries: it fits a model for each.
        **{name: (searcher.make, 1) for name, searcher in SEARCHERS.items() if name != "predictor"},
        "lstm": (SEARCHERS["lstm"].make, 10),
    }
    seeds = range(FIRST_SEED, FIRST_SEED + max(1, n_seeds // 10))
    print(f"planted rewards, {len(seeds)} seeds: proposals until (R - mean) / (best - mean) of the space is 0.95,")
    print(
        f"median (least to most), {NEVER} where it was not within {MOST:,}; first of the best proposal so far, then of"
    )
    print("the mean of the last ten")
    good = True
    for kind, block in BLOCKS.items():
        space = supergraph_of(block).space
        for label, make_reward in REWARDS.items():
            print(f"  {kind} ({space.size:,}), {label}", flush=True)
            for name, (make, group) in makers.items():
                found = [reach(make(space, seed), make_reward(space, seed), MOST, group) for seed in seeds]
                best, mean = [each.best for each in found], [each.mean for each in found]
                print(f"    {name:14}{_spread(best):28}{_spread(mean)}", flush=True)
                if name == "lstm":
                    slow = sum(each is None or each > PLANTED_MARK for each in best)
                    good &= _verdict(f"of these, best not within {PLANTED_MARK:,}", slow, n_seeds // 200)
    return good


def _spread(values: list[int | None]) -> str:
    """Median, least and most; what was not reached is more than anything."""
    ordered = sorted(MOST + 1 if each is None else each for each in values)
    shown = [NEVER if each > MOST else f"{each:,.0f}" for each in (statistics.median(ordered), ordered[0], ordered[-1])]
    never = sum(each > MOST for each in ordered)
    return f"{shown[0]} ({shown[1]} to {shown[2]})" + (f", {never} never" if never else "")


def conditions(n_seeds: int) -> bool:
    """Whether a second decision is learned to equal the first, which is drawn from outside."""
    good = True
    seeds = range(FIRST_SEED, FIRST_SEED + max(1, n_seeds // 20))
    for label, options in {"default settings": LstmOptions(), "settings of the tables": LSTM}.items():
        ends = [match(WithMemory(options, seed), 20_000, seed=seed, until=0.95) for seed in seeds]
        frequencies, done = zip(*ends, strict=True)
        print(f"lstm, {label}: {min(frequencies):.3f} to {max(frequencies):.3f} match after at most {max(done):,}")
        good &= _verdict("1 - the smallest", 1 - min(frequencies), 0.1)
    (without, done_without) = match(WithoutMemory(1e-2), 20_000)
    print(f"without memory: {without:.3f} match after {done_without:,}; one in {N_OPTIONS} is chance")
    return good


def _verdict(what: str, value: float, mark: float) -> bool:
    print(f"  {what}: {value:.3g} <= {mark:g} {'met' if value <= mark else 'MISSED'}", flush=True)
    return value <= mark


PARTS = {"macro": tables, "digits": digits, "fronts": fronts, "planted": planted, "conditions": conditions}


def main() -> None:
    """Run what is asked for; the exit code is 1 where a mark is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.tables", description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--seeds", type=int, default=200, help="searches of each kind (200)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [arguments.only] if arguments.only else list(PARTS)
    good = [PARTS[name](arguments.seeds) for name in chosen]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
