"""Children that a search trains from scratch: what became of each, and what they cost together."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from nasforge.controllers.advantage import mean
from nasforge.errors import RunFailedError
from nasforge.executors.standalone import Training
from nasforge.executors.training import REPORT_EVERY, Losses
from nasforge.executors.training import mean as mean_or_none
from nasforge.space.architecture import Architecture
from nasforge.strategies.base import Report, Strategy, Tick
from nasforge.tasks.base import Score


@dataclass(frozen=True)
class Trained:
    """How a training ended.

    Attributes:
        score: on the whole validation split; None where it failed.
        cause: why it failed.
    """

    score: Score | None
    cause: str = ""


class Children:
    """Trains for a strategy.

    Args:
        strategy: to whose cost each training is added when it ends.
        total_steps: weight steps that the search makes at most.
    """

    def __init__(self, strategy: Strategy, total_steps: int) -> None:
        self._strategy = strategy
        self._total_steps = total_steps

    def train(
        self, begin: Callable[[], Training], until: int, phase: str, *, done: int = 0
    ) -> Generator[Sequence[Report], None, Trained]:
        """Train a child until it has made `until` steps, and score it.

        A child that fails does not end a search: it cannot be built or trained, no step had a finite loss, or the score
        is not finite. In a team an error ends it all the same, since the other ranks would wait.

        Args:
            begin: gives the child.
            until: steps.
            phase: what is done, in a few words.
            done: steps that were paid for before; where the child has made fewer, they are repeated.
        """
        cost, losses, shown = self._strategy.cost, Losses(), dict[str, float]()
        steps = items = 0
        try:
            training = begin()
            while training.steps < until:
                report = training.step()
                losses.add(report)
                if training.steps > done:
                    steps += 1
                    items += report.count
                if training.steps % REPORT_EVERY == 0 or training.steps == until:
                    recent = mean_or_none(losses.read()[-REPORT_EVERY:])
                    shown = {} if recent is None else {"loss": recent}
                fraction = (cost.child_steps + steps) / self._total_steps
                yield [Tick(phase, training.steps, until, shown, min(1.0, fraction))]
            trained = self._scored(training)
        except (RunFailedError, ArithmeticError, RuntimeError) as error:
            if self._strategy.task.team.size > 1:
                raise
            trained = Trained(None, f"{type(error).__name__}: {error}")
        cost.child_steps += steps
        cost.items += items
        if trained.score is not None:
            cost.evaluated_items += trained.score.count + training.calibrated_items
        cost.evaluations += 1
        return trained

    @staticmethod
    def _scored(training: Training) -> Trained:
        if training.skipped == training.steps:
            return Trained(None, "the loss or its gradient was not finite in any step")
        score = training.score()
        if not math.isfinite(score.value):
            return Trained(None, "the score is not finite")
        return Trained(score)


def mean_score(scores: Sequence[Score]) -> Score:
    """The mean of scores of one split; its error is not known where there are several."""
    if len(scores) == 1:
        return scores[0]
    return Score(mean([each.value for each in scores]), mean([each.loss for each in scores]), scores[0].count)


class Found:
    """The scores of trainings, by architecture; what fails has none."""

    def __init__(self) -> None:
        self._scores: dict[Architecture, list[Score]] = {}

    def __len__(self) -> int:
        return len(self._scores)

    def add(self, architecture: Architecture, score: Score) -> None:
        """Take a score."""
        self._scores.setdefault(architecture, []).append(score)

    def means(self) -> dict[Architecture, Score]:
        """The mean score of each."""
        return {architecture: mean_score(scores) for architecture, scores in self._scores.items()}

    def state(self) -> list[dict[str, Any]]:
        """Plain data."""
        return [
            {
                "architecture": dict(architecture),
                "scores": [[each.value, each.loss, each.count, each.standard_error] for each in scores],
            }
            for architecture, scores in self._scores.items()
        ]

    def load_state(self, strategy: Strategy, state: Sequence[dict[str, Any]]) -> None:
        """Hold what `state` was taken of."""
        self._scores = {
            strategy.space.architecture(each["architecture"]): [Score(*score) for score in each["scores"]]
            for each in state
        }


def best_first(strategy: Strategy) -> list[Architecture]:
    """The architectures that have a score, the best first."""
    sign = 1 if strategy.task.metric.direction == "min" else -1
    return sorted(strategy.scores, key=lambda each: sign * strategy.scores[each].value)
