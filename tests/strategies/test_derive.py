"""Deriving candidates: distinct cells, ranked on the whole validation split."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import cell, choices, samples

from nasforge.executors.team import ALONE
from nasforge.graph.canonical import canonical_digest
from nasforge.space.architecture import Architecture
from nasforge.strategies.base import Event, Report, Tick
from nasforge.strategies.derive import TRIES_PER_CANDIDATE, Candidate, distinct, drawn, rank
from nasforge.tasks.base import Metric, Score

SUPERGRAPH = cell(4, ops=("tanh", "relu"))


def digest(architecture: Architecture) -> str:
    return canonical_digest(SUPERGRAPH, architecture)


def test_isomorphic_copies_are_dropped() -> None:
    a, copy_of_a, b = (
        SUPERGRAPH.space.architecture(choices(ops, [0, 0, 0]))
        for ops in (["tanh", "relu", "tanh", "tanh"], ["tanh", "tanh", "tanh", "relu"], ["tanh"] * 4)
    )
    assert digest(a) == digest(copy_of_a) != digest(b)
    assert distinct([a, copy_of_a, b], digest, 3) == [(a, digest(a)), (b, digest(b))]


def test_as_many_as_asked_in_order_of_appearance() -> None:
    listed = samples(SUPERGRAPH.space, 400, seed=1)
    pool = iter(listed)
    found = distinct(drawn(lambda count: [next(pool) for _ in range(count)], 12), digest, 12)
    in_order: dict[str, Architecture] = {}
    for architecture in listed:
        in_order.setdefault(digest(architecture), architecture)
    assert len(in_order) > 12
    assert [(key, architecture) for architecture, key in found] == list(in_order.items())[:12]


def test_a_concentrated_policy_ends_with_what_it_has() -> None:
    only = samples(SUPERGRAPH.space, 1)[0]
    asked: list[int] = []

    def propose(count: int) -> list[Architecture]:
        asked.append(count)
        return [only] * count

    assert distinct(drawn(propose, 5), digest, 5) == [(only, digest(only))]
    assert sum(asked) == 5 * TRIES_PER_CANDIDATE


def ranked(values: list[float], direction: Any) -> tuple[list[Candidate], list[Report], list[tuple[str, bool]]]:
    architectures = samples(SUPERGRAPH.space, len(values), seed=2)
    scores: Mapping[int, float] = dict(enumerate(values))
    asked: list[tuple[str, bool]] = []

    def evaluate(network: Any, split: str, *, exact: bool) -> Score:
        asked.append((split, exact))
        return Score(scores[network.number], 0.0, 1)

    order = iter(range(len(values)))
    executor: Any = SimpleNamespace(
        calibrated=lambda architecture: SimpleNamespace(number=next(order), computing=nullcontext)
    )
    task: Any = SimpleNamespace(
        metric=Metric("score", direction),
        evaluate=evaluate,
        team=ALONE,
        scores=lambda n, score: [score(i) for i in range(n)],
    )
    ranking: list[Candidate] = []
    reports = list(rank([(a, f"key{i}") for i, a in enumerate(architectures)], executor, task, ranking))
    return ranking, reports, asked


@pytest.mark.parametrize(("direction", "expected"), [("min", [1.0, 2.0, 3.0]), ("max", [3.0, 2.0, 1.0])])
def test_best_first_by_the_direction_of_the_metric(direction: str, expected: list[float]) -> None:
    ranking, _, asked = ranked([2.0, 3.0, 1.0], direction)
    assert [candidate.proxy.value for candidate in ranking] == expected
    keys = {2.0: "key0", 3.0: "key1", 1.0: "key2"}
    assert all(candidate.canonical_digest == keys[candidate.proxy.value] for candidate in ranking)
    assert asked == [("valid", False)] * 3


@pytest.mark.parametrize("direction", ["min", "max"])
def test_scores_that_are_not_finite_are_left_out_and_reported(direction: str) -> None:
    ranking, reports, _ = ranked([2.0, math.nan, math.inf, 1.0, -math.inf], direction)
    assert sorted(candidate.proxy.value for candidate in ranking) == [1.0, 2.0]
    events = [report.facts for report in reports if isinstance(report, Event)]
    assert [(facts["finite"], facts["proxy"]) for facts in events] == [
        (True, 2.0),
        (False, None),
        (False, None),
        (True, 1.0),
        (False, None),
    ]
    ticks = [report for report in reports if isinstance(report, Tick)]
    assert [(tick.done, tick.total) for tick in ticks] == [(n, 5) for n in range(1, 6)]
