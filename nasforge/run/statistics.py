"""Means, their errors, ranks and paired tests over seeds; rank correlations. Small numbers, so tests are exact."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

EXACT_SEEDS = 16
"""Up to so many pairs all 2^n signs are tried; beyond, as many at random."""

RESAMPLES = 2000
"""Of the bootstrap of a rank correlation."""

FEWEST = 3
"""Pairs that a rank correlation needs at least."""


@dataclass(frozen=True)
class Mean:
    """A mean over seeds.

    Attributes:
        value: the mean.
        error: its standard error; None of one value.
        n: how many there are.
    """

    value: float
    error: float | None
    n: int


@dataclass(frozen=True)
class Paired:
    """How two strategies differ, seed by seed.

    Attributes:
        difference: mean of first minus second, with its error.
        p: two-sided p-value of the sign-flip test: how often a random exchange of the names, pair by pair, gives a mean
            difference as large as this one.
        smallest_p: the smallest that so many pairs can give.
    """

    difference: Mean
    p: float
    smallest_p: float


def mean_of(values: Sequence[float]) -> Mean:
    """The mean of at least one finite value."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return Mean(statistics.fmean(values), error, len(values))


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Compare values of the same seeds, at least one."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    return Paired(mean_of(differences), _sign_flip(differences), 2.0 ** (1 - min(len(differences), EXACT_SEEDS)))


def _sign_flip(differences: Sequence[float]) -> float:
    n = len(differences)
    observed = abs(sum(differences))
    # What rounding makes smaller than the observed sum is equal to it.
    bound = observed - 1e-9 * sum(map(abs, differences))
    if n <= EXACT_SEEDS:
        flips = itertools.product((1, -1), repeat=n)
        sums = [abs(sum(sign * d for sign, d in zip(signs, differences, strict=True))) for signs in flips]
        return sum(each >= bound for each in sums) / len(sums)
    import numpy as np

    rng = np.random.default_rng(0)
    signs = rng.choice((1.0, -1.0), size=(2**EXACT_SEEDS - 1, n))
    hits = int((np.abs(signs @ np.asarray(differences)) >= bound).sum())
    return (hits + 1) / float(2**EXACT_SEEDS)


def mean_ranks(values: Mapping[str, Sequence[float]], *, lower_is_better: bool) -> dict[str, float]:
    """The mean rank of each strategy over the seeds, 1 for the best; equal values share the mean of their ranks."""
    names = list(values)
    totals = dict.fromkeys(names, 0.0)
    seeds = list(zip(*values.values(), strict=True))
    for seed in seeds:
        for name, own in zip(names, seed, strict=True):
            better = sum((other < own) if lower_is_better else (other > own) for other in seed)
            equal = sum(other == own for other in seed)
            totals[name] += better + (equal + 1) / 2
    return {name: total / len(seeds) for name, total in totals.items()}


@dataclass(frozen=True)
class Tau:
    """A rank correlation: Kendall's tau-b.

    Attributes:
        value: from -1 to 1.
        low: the lower end of its 95 % interval; None where tau is 1 or -1, about whose error the pairs say nothing.
        high: the upper end.
        n: how many pairs there are.
    """

    value: float
    low: float | None
    high: float | None
    n: int


def kendall(one: Sequence[float], other: Sequence[float]) -> Tau | None:
    """Kendall's tau-b of pairs; None where there are fewer than `FEWEST`, or all values of one side are equal.

    The interval is that of the percentile bootstrap: `RESAMPLES` times as many pairs are drawn, with replacement and
    always by the same numbers; those of which tau is not defined do not count.
    """
    import numpy as np

    n = len(one)
    if n < FEWEST or len(set(one)) == 1 or len(set(other)) == 1:
        return None
    signs = [np.sign(np.subtract.outer(values, values)) for values in map(np.asarray, (one, other))]

    def tau(rows: np.ndarray) -> float | None:
        first, second = (each[np.ix_(rows, rows)] for each in signs)
        ordered = float((first * first).sum() * (second * second).sum())
        return float((first * second).sum()) / math.sqrt(ordered) if ordered else None

    value = tau(np.arange(n))
    assert value is not None
    if abs(value) > 1 - 1e-12:
        return Tau(math.copysign(1.0, value), None, None, n)
    rng = np.random.default_rng(0)
    drawn = [each for each in map(tau, rng.integers(n, size=(RESAMPLES, n))) if each is not None]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Tau(value, float(low), float(high), n)
