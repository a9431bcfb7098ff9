"""Deriving candidates after a search: many proposals, no isomorphic copies, ranked on the whole validation split.

The paper samples several architectures and scores each on one minibatch; the reference codes report the last or the
best of a few dozen samples on one batch. A whole split costs little and removes that noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from nasforge.executors.base import Executor, FromScratch
from nasforge.space.architecture import Architecture
from nasforge.strategies.base import Event, Report, Tick
from nasforge.tasks.base import Metric, Score, Task

TRIES_PER_CANDIDATE = 20
"""Proposals drawn for each distinct candidate before a concentrated policy is taken to have no more."""


@dataclass(frozen=True)
class Candidate:
    """A proposal with its score of the search: shared weights or a training from scratch, whole validation split."""

    architecture: Architecture
    canonical_digest: str
    proxy: Score


def drawn(propose: Callable[[int], list[Architecture]], count: int) -> Iterator[Architecture]:
    """Proposals for `count` candidates, asked for as they are needed."""
    for _ in range(TRIES_PER_CANDIDATE):
        yield from propose(count)


def distinct(
    proposals: Iterable[Architecture], digest: Callable[[Architecture], str], count: int
) -> list[tuple[Architecture, str]]:
    """The first `count` that are not isomorphic, if there are so many, each with its canonical digest."""
    found: dict[str, Architecture] = {}
    for architecture in proposals:
        found.setdefault(digest(architecture), architecture)
        if len(found) == count:
            break
    return [(architecture, key) for key, architecture in found.items()]


def rank(
    candidates: list[tuple[Architecture, str]],
    executor: Executor | FromScratch,
    task: Task,
    ranking: list[Candidate],
    known: Mapping[Architecture, Score] = MappingProxyType({}),
) -> Iterator[Report]:
    """Score `candidates` on the whole validation split and fill `ranking`, best first; those in `known` have a score.

    With an executor that trains from scratch all are in `known`. Candidates whose score is not finite are reported and
    left out. The ranks of a team score one candidate each at a time.
    """
    for index, (architecture, digest, score) in enumerate(_scored(candidates, executor, task, known)):
        finite = math.isfinite(score.value)
        if finite:
            ranking.append(Candidate(architecture, digest, score))
        facts = {"digest": architecture.digest, "canonical_digest": digest, "finite": finite}
        proxy = score.value if finite else None
        yield Event("candidate", {**facts, "proxy": proxy, "direction": task.metric.direction})
        yield Tick("ranking candidates (proxy)", index + 1, len(candidates), {task.metric.name: score.value})
    ranking.sort(key=lambda candidate: _order(candidate.proxy, task.metric))


def _scored(
    candidates: list[tuple[Architecture, str]],
    executor: Executor | FromScratch,
    task: Task,
    known: Mapping[Architecture, Score],
) -> Iterator[tuple[Architecture, str, Score]]:
    def score(begin: int, i: int) -> Score:
        architecture = candidates[begin + i][0]
        if architecture in known:
            return known[architecture]
        # Of trainings from scratch all scores are known.
        assert not isinstance(executor, FromScratch)
        network = executor.calibrated(architecture)
        with network.computing():
            return task.evaluate(network, "valid", exact=False)

    for begin in range(0, len(candidates), task.team.size):
        group = candidates[begin : begin + task.team.size]
        for (architecture, digest), found in zip(group, task.scores(len(group), partial(score, begin)), strict=True):
            yield architecture, digest, found


def _order(score: Score, metric: Metric) -> float:
    return score.value if metric.direction == "min" else -score.value
