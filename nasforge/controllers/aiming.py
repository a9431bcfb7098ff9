"""Several objectives for every controller, in one place: what a group teaches is told in the form that each takes.

Controllers of vectors (`VectorController`) are told the reward and all other objectives. All others get one number, the
augmented Chebyshev scalarisation of ParEGO (Knowles 2006, eq. 2), here as a reward: with l_i = 0 for the best and 1 for
the worst value of objective i that was told so far, and weights w that are not negative and sum to 1,

    reward = -(max_i w_i l_i + 0.05 sum_i w_i l_i)

The weights are drawn uniformly anew for each group, so that one search after the other end of the front is rewarded. A
controller that compares rewards of different groups (`Controller.remembers`) gets equal weights for all of them.

Deviations from the paper:
    * It draws from an evenly spaced set of weights; here they are uniform.
    * The ranges grow while a search goes on, so that what a controller remembers is on an older scale.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, final

from nasforge.controllers.advantage import check_group, mean
from nasforge.controllers.base import Controller, ControllerReport, VectorController
from nasforge.seeds import stream
from nasforge.space.architecture import Architecture

AUGMENTATION = 0.05
"""Of the sum, beside the maximum: what is worse in one objective and equal in the others is worse (Knowles 2006)."""

OtherObjectives = Callable[[Architecture], tuple[float, ...]]
"""What an architecture has beside its reward: a finite number each, higher is better."""


@final
class AimingController(Controller):
    """Another controller that is told rewards and learns from them and from further objectives.

    Attributes:
        inner: the controller that proposes and learns.
        others: the further objectives, at least one.
    """

    def __init__(self, inner: Controller, others: OtherObjectives) -> None:
        super().__init__(inner.space, inner.config, seed=inner.seed, device=inner.device)
        self.inner = inner
        self.others = others
        self._groups = 0
        # The worst and the best value of each objective.
        self._ranges: list[tuple[float, float]] = []

    @property
    def remembers(self) -> bool:
        """That of the inner controller."""
        return self.inner.remembers

    def propose(self, count: int) -> list[Architecture]:
        return self.inner.propose(count)

    def most_likely(self, count: int) -> list[Architecture]:
        """See `Controller`."""
        return self.inner.most_likely(count)

    def update(self, proposals: Sequence[Architecture], rewards: Sequence[float]) -> ControllerReport:
        """Tell the inner controller; its report is of what it was told, but for the mean of `rewards`.

        Raises: as `Controller.update`, and whatever `others` raises.
        """
        check_group(proposals, rewards)
        vectors = [(float(r), *self.others(each)) for each, r in zip(proposals, rewards, strict=True)]
        if isinstance(self.inner, VectorController):
            return self.inner.update_on(proposals, vectors)
        told = [*zip(*self._ranges, strict=True), *vectors]
        ranges = [(min(values), max(values)) for values in zip(*told, strict=True)]
        weights = self._weights(len(ranges))
        report = self.inner.update(proposals, [_scalar(vector, weights, ranges) for vector in vectors])
        self._groups, self._ranges = self._groups + 1, ranges
        return replace(report, reward=mean(rewards))

    def _weights(self, count: int) -> tuple[float, ...]:
        if self.remembers:
            return (1 / count,) * count
        return simplex(count, stream(self.seed, "objectives", self._groups))

    def state(self) -> Mapping[str, Any]:
        """That of the inner controller, how many groups were told, and the ranges so far."""
        return {
            "inner": self.inner.state(),
            "groups": self._groups,
            "ranges": [list(each) for each in self._ranges],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.inner.load_state(state["inner"])
        self._groups = int(state["groups"])
        self._ranges = [(float(worst), float(best)) for worst, best in state["ranges"]]


def _scalar(vector: Sequence[float], weights: Sequence[float], ranges: Sequence[tuple[float, float]]) -> float:
    losses = [
        weight * ((best - value) / (best - worst) if best > worst else 0.0)
        for value, weight, (worst, best) in zip(vector, weights, ranges, strict=True)
    ]
    return -(max(losses) + AUGMENTATION * sum(losses))


def simplex(count: int, rng: random.Random) -> tuple[float, ...]:
    """Numbers from 0 on that sum to 1, uniformly over all such: the gaps between sorted uniform draws."""
    cuts = [0.0, *sorted(rng.random() for _ in range(count - 1)), 1.0]
    return tuple(high - low for low, high in itertools.pairwise(cuts))
