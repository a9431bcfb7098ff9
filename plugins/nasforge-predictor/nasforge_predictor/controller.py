"""Predict and ask: a regression on what was told, and Thompson sampling from it (Thompson 1933; Chapelle and Li 2011).

The model is linear in choices and pairs of choices (`nasforge_predictor.model`). For each proposal one function
that may be the truth is drawn from it, and the candidate where this function is highest is proposed: where the model is
unsure draws differ, so what may be good is tried.

Candidates are uniform draws of the space and children of the best architectures, which differ in one decision; then,
twice, children of the candidates that are highest so far. So nothing is ever listed, and no space is too large.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from nasforge.controllers.advantage import check_group, mean
from nasforge.controllers.base import Controller, ControllerReport
from nasforge.errors import SpaceError
from nasforge.seeds import derive, stream
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.space.vary import mutate
from nasforge_predictor.declarations import PredictorOptions
from nasforge_predictor.features import Choices
from nasforge_predictor.model import Function, Prediction, Values

_PARENTS = 5
"""Of how many of the best there are children."""
_ROUNDS = 2
"""How often there are children of the highest candidates."""
_TRIES = 20
"""Uniform draws, at most, to find an architecture that was not told."""
_ROUNDING = 1e-9
"""Scores that differ by less than this fraction of their size are taken for equal."""


@dataclass(frozen=True)
class _Told:
    """The mean of the rewards of one architecture, and how many they are."""

    mean: float
    count: int

    def plus(self, reward: float) -> _Told:
        """With one more; finite for all finite rewards."""
        count = self.count + 1
        return _Told(self.mean * (self.count / count) + reward / count, count)


@dataclass(frozen=True)
class _Learned:
    """What follows from all that was told: a prediction, None where there is none yet, and the best."""

    prediction: Prediction | None
    best: tuple[Architecture, ...]


@final
class PredictorController(Controller):
    """Learns to predict scores; it keeps the limits of its space by itself.

    Proposal number n of a controller has random streams of its own. Proposals are uniform until enough was told, and
    as long as all scores are equal. What was told, or is in the same group already, is not proposed unless nothing else
    is found. What is told need not have been proposed here.

    The model is fitted anew after each update, when the next proposal is asked for; nothing of one fit enters the next,
    so that what was told is all the state there is.
    """

    config: PredictorOptions

    def __init__(
        self, space: SearchSpace, config: PredictorOptions | None = None, *, seed: int, device: str = "cpu"
    ) -> None:
        super().__init__(space, config or PredictorOptions(), seed=seed, device=device)
        self._choices = Choices(space)
        self._drawn = 0
        # In the order in which each was told last.
        self._told: dict[Architecture, _Told] = {}
        self._learned: _Learned | None = None

    def propose(self, count: int) -> list[Architecture]:
        first, self._drawn = self._drawn, self._drawn + count
        taken = set(self._told)
        group: list[Architecture] = []
        for number in range(first, self._drawn):
            group.append(self._proposal(number, taken))
            taken.add(group[-1])
        return group

    def _proposal(self, number: int, taken: Collection[Architecture]) -> Architecture:
        rng = stream(self.seed, "controller", "predictor", number)
        if self._learned is None:
            self._learned = self._learn()
        if self._learned.prediction is None:
            return self._uniform(taken, rng)
        noise = np.random.default_rng(derive(self.seed, "controller", "predictor", "draw", number))
        return self._highest(self._learned.prediction.draw(noise), self._learned.best, taken, rng)

    def _uniform(self, taken: Collection[Architecture], rng: random.Random) -> Architecture:
        for _ in range(_TRIES):
            architecture = self.space.sample(rng)
            if architecture not in taken:
                break
        return architecture

    def _highest(
        self, function: Function, best: Sequence[Architecture], taken: Collection[Architecture], rng: random.Random
    ) -> Architecture:
        """The candidate where `function` is highest; of those that are not taken, if there are any."""
        values: dict[Architecture, float] = {}

        def add(candidates: Sequence[Architecture]) -> None:
            new = [each for each in dict.fromkeys(candidates) if each not in values]
            if new:
                values.update(zip(new, function(self._choices.table(new)).tolist(), strict=True))

        half, quarter = (self.config.candidates + 1) // 2, (self.config.candidates + 3) // 4
        add([self.space.sample(rng) for _ in range(half)] + [self._child(rng.choice(best), rng) for _ in range(half)])
        for _ in range(_ROUNDS):
            parents = heapq.nlargest(_PARENTS, values, key=values.__getitem__)
            add([self._child(rng.choice(parents), rng) for _ in range(quarter)])
        return max([each for each in values if each not in taken] or values, key=values.__getitem__)

    def _child(self, parent: Architecture, rng: random.Random) -> Architecture:
        try:
            return mutate(self.space, parent, rng)
        except SpaceError:  # the limits leave no neighbour of this parent
            return self.space.sample(rng)

    # Learning --------------------------------------------------------------------------------------------------------

    def _learn(self) -> _Learned:
        best = tuple(self._best(_PARENTS))
        if len(self._told) < self.config.starts:
            return _Learned(None, best)
        kept = self._kept()
        scores = _standardised([self._told[each].mean for each in kept])
        if scores is None:
            return _Learned(None, best)
        weights = np.array([float(self._told[each].count) for each in kept])
        rows = self._choices.table(kept)
        return _Learned(Prediction(rows, scores, weights, interaction=self.config.interaction), best)

    def _best(self, count: int) -> list[Architecture]:
        return heapq.nlargest(count, self._told, key=lambda each: self._told[each].mean)

    def _kept(self) -> list[Architecture]:
        """What the model is fitted to: all that was told, or half of what it may be the best, half the last."""
        most = self.config.observations
        if len(self._told) <= most:
            return list(self._told)
        best = set(self._best(most // 2))
        others = [each for each in self._told if each not in best]
        return [*(each for each in self._told if each in best), *others[len(best) - most :]]

    def update(self, proposals: Sequence[Architecture], rewards: Sequence[float]) -> ControllerReport:
        """Remember them; of an architecture that is told again, the mean of its rewards.

        In the report, `entropy` is the log of how many architectures of the space, without limits, were not told yet.

        Raises:
            ValueError: lengths differ, nothing is given, or a reward is not finite.
            SpaceError: a proposal is no architecture of the space within its limits.
        """
        check_group(proposals, rewards)
        checked = [self.space.architecture(each) for each in proposals]
        for architecture, reward in zip(checked, map(float, rewards), strict=True):
            self._told[architecture] = self._told.pop(architecture, _Told(0.0, 0)).plus(reward)
        self._learned = None
        entropy = math.log(max(1, self.space.size - len(self._told)))
        return ControllerReport(reward=mean(rewards), baseline=0.0, entropy=entropy, loss=0.0)

    # State -----------------------------------------------------------------------------------------------------------

    def state(self) -> Mapping[str, Any]:
        """How many were drawn, and what was told, in the order in which each was told last."""
        return {
            "drawn": self._drawn,
            "told": [
                {"architecture": dict(architecture), "mean": told.mean, "count": told.count}
                for architecture, told in self._told.items()
            ],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._drawn = int(state["drawn"])
        self._told = {
            self.space.architecture(each["architecture"]): _Told(float(each["mean"]), int(each["count"]))
            for each in state["told"]
        }
        self._learned = None


def _standardised(scores: Sequence[float]) -> Values | None:
    """Of mean 0 and variance 1, whatever their size; None where all are equal."""
    size = max(map(abs, scores))
    if size == 0:
        return None
    scaled = [score / size for score in scores]  # what is squared below neither vanishes nor overflows
    centre = mean(scaled)
    deviation = math.hypot(*(score - centre for score in scaled)) / math.sqrt(len(scaled))
    return None if deviation <= _ROUNDING else np.array([(score - centre) / deviation for score in scaled])
