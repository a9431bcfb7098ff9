"""Means, their errors, ranks and paired tests over seeds. Small numbers of seeds, so tests are exact."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

EXACT_SEEDS = 16
"""Up to so many pairs all 2^n signs are tried; beyond, as many at random."""


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
