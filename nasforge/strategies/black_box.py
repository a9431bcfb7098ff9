"""Search by asking: propose, score, learn. For whatever gives an architecture a score, be it a table or a training.

    until the budget is spent: a group of architectures is proposed, each is scored, the controller learns from it

A score is noisy, and of many noisy scores the best is too good to be true (the winner's curse): the longer the search,
the more the architecture with the best single score owes it to luck. So the last part of a budget is spent on asking
again (`AskAgain`), and the answer is the architecture with the best *mean* of its scores.

Nothing here knows what a score is made of; `nasforge.data.table` gives one kind of it, trainings from scratch another
(`nasforge.strategies.from_scratch`).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from nasforge.controllers.advantage import mean
from nasforge.controllers.base import Controller, ControllerReport
from nasforge.controllers.limited import within_limits
from nasforge.errors import RunFailedError
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace

ScoreFunction = Callable[[Architecture, int], float]
"""``score(architecture, query)``: what is to be as high as possible. It depends on nothing but its arguments; `query`
counts from 0 and never repeats, so that whatever is random in a score can be derived from it. A number that is not
finite says that this query failed."""

Archive = Mapping[Architecture, Sequence[float]]
"""Every architecture with a finite score, in the order of the first ones, with all its scores."""

GROUP = 5
"""Proposals of one update of a controller that learns from groups; measured best on a table (docs/search.md)."""

ASK_AGAIN_FROM = 150
"""The smallest budget of which a part is spent on asking again, unless told otherwise."""


@dataclass(frozen=True)
class AskAgain:
    """The last part of a budget, in which no architecture is new.

    Each query goes to the one with the fewest scores among the `top` with the best means. Who was lucky once falls out
    of them, and who takes the place is asked as often as the others were.

    Attributes:
        queries: how much of the budget it takes.
        top: among how many.
    """

    queries: int
    top: int = 5

    def __post_init__(self) -> None:
        if self.queries < 1 or self.top < 1:
            raise ValueError(f"queries and top must be at least 1, not {self.queries} and {self.top}")

    @classmethod
    def for_budget(cls, budget: int) -> Self | None:
        """What measured best (docs/search.md): nothing below 150 queries, from there on a fifth of them."""
        return cls(budget // 5) if budget >= ASK_AGAIN_FROM else None


@dataclass(frozen=True)
class Question:
    """A score that is asked for.

    Attributes:
        number: counts from 0.
        architecture: what is to be scored.
        again: whether it is part of asking again.
    """

    number: int
    architecture: Architecture
    again: bool


@dataclass(frozen=True)
class Query:
    """One score that was asked for.

    Attributes:
        number: counts from 0.
        architecture: what was scored.
        score: its score; not finite where the query failed.
        again: whether it was part of asking again.
    """

    number: int
    architecture: Architecture
    score: float
    again: bool


@dataclass(frozen=True)
class Answer:
    """What a search found.

    Attributes:
        architecture: the one with the best mean.
        mean: of its scores.
        scores: all of them.
    """

    architecture: Architecture
    mean: float
    scores: tuple[float, ...]


def best_of(archive: Archive, count: int) -> list[Architecture]:
    """Those with the best means, the best first; of equal ones, who was asked first."""
    means = {architecture: mean(scores) for architecture, scores in archive.items()}
    return heapq.nlargest(count, means, key=means.__getitem__)


def answer_of(archive: Archive, asked: int) -> Answer:
    """The architecture with the best mean after `asked` queries.

    Raises:
        RunFailedError: no query gave a finite score.
    """
    if not archive:
        raise RunFailedError(f"none of {asked:,} queries gave a finite score; nothing can be said of any architecture")
    (best,) = best_of(archive, 1)
    return Answer(best, mean(archive[best]), tuple(archive[best]))


def archive_state(archive: Archive) -> list[dict[str, Any]]:
    """The archive as plain data."""
    return [{"architecture": dict(architecture), "scores": list(each)} for architecture, each in archive.items()]


def load_archive(space: SearchSpace, state: Sequence[Mapping[str, Any]]) -> dict[Architecture, list[float]]:
    """What `archive_state` gave of an archive of `space`."""
    return {space.architecture(each["architecture"]): [float(score) for score in each["scores"]] for each in state}


def default_batch(smallest_group: int) -> int:
    """How many architectures are proposed at a time, unless told otherwise, to a controller that needs so many."""
    return max(GROUP, smallest_group) if smallest_group > 1 else 1


def update_facts(report: ControllerReport, step: int, best: float) -> dict[str, Any]:
    """What the journal has of an update of the controller, the number of which is `step`, after the score `best`."""
    numbers = {name: getattr(report, name) for name in ("reward", "baseline", "entropy", "loss")}
    return {"step": step, **numbers, "best": best}


class BlackBox:
    """A search of `budget` queries; repeats count.

    `queries` makes them all, with the function that was given; else whoever uses it calls `ask` and `tell` in turn.

    Attributes:
        controller: proposes within the limits of its space, whatever the one that was given proposes.
        archive: every architecture with a finite score, in the order of the first ones, with all its scores.
        updates: how often the controller was told.
        report: what its last update did; None before the first.
        asked: how many queries were made.
        failed: how many of them gave no finite score.
    """

    def __init__(
        self,
        controller: Controller,
        score: ScoreFunction | None = None,
        *,
        budget: int,
        batch: int = 1,
        ask_again: AskAgain | None = None,
        smallest_group: int = 1,
    ) -> None:
        """Prepare a search; nothing is asked yet.

        Args:
            controller: proposes and learns.
            score: see `ScoreFunction`; None for whoever asks and tells.
            budget: how many queries are made in all.
            batch: how many architectures are proposed at a time; the last group may be smaller.
            ask_again: how the last part of the budget is spent; None to search to the end.
            smallest_group: how many finite scores a group needs, for the controller to be told
                (`nasforge.components.ControllerKind.smallest_group`).

        Raises:
            ValueError: a number is below 1, or asking again takes the whole budget.
        """
        for name, number in {"budget": budget, "batch": batch, "smallest_group": smallest_group}.items():
            if number < 1:
                raise ValueError(f"{name} must be at least 1, not {number}")
        if ask_again is not None and ask_again.queries >= budget:
            raise ValueError(f"asking again takes {ask_again.queries} of {budget} queries: nothing is left to search")
        self.controller = within_limits(controller)
        self.archive: dict[Architecture, list[float]] = {}
        self.updates = 0
        self.report: ControllerReport | None = None
        self.asked = 0
        self.failed = 0
        self._score = score
        self._budget = budget
        self._batch = batch
        self._smallest_group = smallest_group
        self._search_budget = budget - (0 if ask_again is None else ask_again.queries)
        self._top = 1 if ask_again is None else ask_again.top
        # The group that is being scored, its scores so far, and the controller as it was before it was proposed: from
        # that state it proposes the same group again, which is how a search goes on in the middle of one.
        self._group: list[Architecture] = []
        self._scores: list[float] = []
        self._before: Mapping[str, Any] = {}

    @property
    def done(self) -> bool:
        """Whether the budget is spent."""
        return self.asked >= self._budget

    def queries(self) -> Iterator[Query]:
        """Make the queries that are left, yielding after each; between two of them `state` may be taken."""
        if self._score is None:
            raise ValueError("no function gives scores: ask and tell")
        while not self.done:
            question = self.ask()
            yield self.tell(float(self._score(question.architecture, question.number)))

    def ask(self) -> Question:
        """What is to be scored next: the same until `tell` was called.

        Raises:
            ValueError: the budget is spent.
            RunFailedError: something was to be asked again, but no query gave a finite score.
        """
        if self.done:
            raise ValueError(f"all {self._budget:,} queries were made")
        again = self.asked >= self._search_budget
        if again:
            if not self.archive:
                answer_of(self.archive, self.asked)
            fewest = min(self.best(self._top), key=lambda each: len(self.archive[each]))
            return Question(self.asked, fewest, again)
        if not self._group:
            self._before = self.controller.state()
            self._group = self.controller.propose(min(self._batch, self._search_budget - self.asked))
        return Question(self.asked, self._group[len(self._scores)], again)

    def tell(self, score: float) -> Query:
        """The score of what `ask` asked for; a number that is not finite says that it failed."""
        question = self.ask()
        query = Query(question.number, question.architecture, score, question.again)
        self.asked += 1
        if math.isfinite(score):
            self.archive.setdefault(query.architecture, []).append(score)
        else:
            self.failed += 1
        if not query.again:
            self._learn(score)
        return query

    def _learn(self, score: float) -> None:
        self._scores.append(score)
        if len(self._scores) == len(self._group):
            told = [(m, s) for m, s in zip(self._group, self._scores, strict=True) if math.isfinite(s)]
            if len(told) >= self._smallest_group:
                self.report = self.controller.update([m for m, _ in told], [s for _, s in told])
                self.updates += 1
            self._group, self._scores = [], []

    def best(self, count: int) -> list[Architecture]:
        """See `best_of`."""
        return best_of(self.archive, count)

    def answer(self) -> Answer:
        """See `answer_of`."""
        return answer_of(self.archive, self.asked)

    # State -----------------------------------------------------------------------------------------------------------

    def state(self) -> Mapping[str, Any]:
        """Everything that `load_state` needs to go on exactly, in the types of `Controller.state`.

        In the middle of a group, ``controller`` is its state from before the group was proposed, and ``scores`` holds
        the scores that are there already, as texts, since they need not be finite.
        """
        return {
            "controller": self._before if self._group else self.controller.state(),
            "group": len(self._group),
            "scores": [repr(score) for score in self._scores],
            "updates": self.updates,
            "asked": self.asked,
            "failed": self.failed,
            "archive": archive_state(self.archive),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken, with equal arguments otherwise."""
        self.controller.load_state(state["controller"])
        self._before = state["controller"]
        self._group = self.controller.propose(int(state["group"])) if state["group"] else []
        self._scores = [float(score) for score in state["scores"]]
        self.asked, self.failed, self.updates = int(state["asked"]), int(state["failed"]), int(state["updates"])
        self.archive = load_archive(self.controller.space, state["archive"])
