"""Means, ranks and the sign-flip test, against scipy and by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.stats import bootstrap, kendalltau, permutation_test, rankdata, sem

from nasforge.run import statistics
from nasforge.run.statistics import Mean, Tau, kendall, mean_of, mean_ranks, paired


def test_means_and_errors_are_those_of_scipy() -> None:
    values = [1.0, 4.0, 2.5]
    assert mean_of(values) == Mean(2.5, pytest.approx(sem(values)), 3)
    assert mean_of([3.0]) == Mean(3.0, None, 1)


def test_p_values_are_those_of_scipys_exact_permutation_test() -> None:
    rng = random.Random(0)
    for n in range(2, 9):
        first = [rng.gauss(0.4, 1) for _ in range(n)]
        second = [rng.gauss(0, 1) for _ in range(n)]
        found = paired(first, second)
        expected = permutation_test(
            (first, second), lambda a, b: abs((a - b).mean()), permutation_type="samples", alternative="greater"
        )
        assert found.p == pytest.approx(expected.pvalue)
        assert found.smallest_p == 2.0 ** (1 - n)
        assert found.difference.value == pytest.approx(sum(first) / n - sum(second) / n)


def test_equal_pairs_give_one_and_constant_differences_the_smallest() -> None:
    assert paired([1.0, 2.0], [1.0, 2.0]).p == 1.0
    # 0.1 more each time, as floats have it.
    values = [0.3, 0.7, 1.1, 5.9, 100.3]
    found = paired([value + 0.1 for value in values], values)
    assert found.p == found.smallest_p == 2 / 32


def test_many_seeds_are_sampled_and_agree_with_the_exact_test(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    first, second = [rng.gauss(0.5, 1) for _ in range(14)], [rng.gauss(0, 1) for _ in range(14)]
    exact = paired(first, second)
    monkeypatch.setattr(statistics, "EXACT_SEEDS", 12)
    sampled = paired(first, second)
    assert sampled.p == pytest.approx(exact.p, abs=0.03)
    assert sampled.smallest_p == 2.0**-11
    assert paired([1.0] * 40, [0.0] * 40).p == 2.0**-12


@pytest.mark.parametrize("lower", [True, False])
def test_mean_ranks_share_ties(lower: bool) -> None:
    values = {"a": [1.0, 2.0, 3.0], "b": [1.0, 1.0, 5.0], "c": [0.5, 7.0, 3.0]}
    expected = dict.fromkeys(values, 0.0)
    for seed in zip(*values.values(), strict=True):
        for name, rank in zip(values, rankdata([v if lower else -v for v in seed]), strict=True):
            expected[name] += rank / 3
    assert mean_ranks(values, lower_is_better=lower) == pytest.approx(expected)


def test_tau_is_what_counting_pairs_gives() -> None:
    # Of the six pairs five are in the same order, one is not: (5 - 1) / 6.
    found = kendall([1.0, 2.0, 3.0, 4.0], [10.0, 30.0, 20.0, 40.0])
    assert found is not None and (found.value, found.n) == (pytest.approx(4 / 6), 4)
    # One tie on the left: of five pairs that differ there and six on the right, four agree and one does not.
    tied = kendall([1.0, 1.0, 3.0, 4.0], [10.0, 20.0, 40.0, 30.0])
    assert tied is not None and tied.value == pytest.approx((4 - 1) / (5 * 6) ** 0.5)


def test_tau_and_its_interval_are_those_of_scipy() -> None:
    rng = np.random.default_rng(3)
    for n in (5, 12, 20):
        one = rng.integers(0, 8, n).astype(float)
        other = one + rng.normal(0, 3, n).round()
        found = kendall(list(one), list(other))
        assert found is not None and found.low is not None and found.high is not None
        assert found.value == pytest.approx(kendalltau(one, other).statistic)
    expected = bootstrap(
        (one, other), lambda a, b: kendalltau(a, b).statistic, paired=True, vectorized=False, n_resamples=1000,
        method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert (found.low, found.high) == (pytest.approx(expected.low, abs=0.05), pytest.approx(expected.high, abs=0.05))
    assert kendall(list(one), list(other)) == found


def test_tau_is_undefined_without_order_and_has_no_interval_where_all_agrees() -> None:
    assert kendall([1.0, 2.0], [1.0, 2.0]) is None
    assert kendall([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    assert kendall([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]) is None
    assert kendall([1.0, 2.0, 3.0], [1.0, 4.0, 9.0]) == Tau(1.0, None, None, 3)
    assert kendall([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == Tau(-1.0, None, None, 3)
