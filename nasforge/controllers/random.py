"""Uniform sampling: the controller that learns nothing, against which every other is measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

from nasforge.controllers.advantage import check_group, mean
from nasforge.controllers.base import Controller, ControllerReport
from nasforge.controllers.options import RandomOptions
from nasforge.seeds import stream
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace


@final
class RandomController(Controller):
    """Uniform over assignments: every architecture of the space has probability ``1 / space.size``.

    Under limits it is uniform over what they admit; the entropy that it reports is that without limits, since nobody
    counts the admitted ones.

    Proposal number n of a controller has a random stream of its own, so the state is one number.
    """

    def __init__(
        self, space: SearchSpace, config: RandomOptions | None = None, *, seed: int, device: str = "cpu"
    ) -> None:
        super().__init__(space, config or RandomOptions(), seed=seed, device=device)
        self._drawn = 0

    def propose(self, count: int) -> list[Architecture]:
        first, self._drawn = self._drawn, self._drawn + count
        return [
            self.space.sample(stream(self.seed, "controller", "sample", number)) for number in range(first, self._drawn)
        ]

    @property
    def remembers(self) -> bool:
        """It forgets all that it is told."""
        return False

    def update(self, proposals: Sequence[Architecture], rewards: Sequence[float]) -> ControllerReport:
        """Report the mean reward; nothing changes.

        Raises:
            ValueError: lengths differ, nothing is given, or a reward is not finite.
            SpaceError: a proposal is no architecture of the space.
        """
        check_group(proposals, rewards)
        for proposal in proposals:
            self.space.architecture(proposal)
        return ControllerReport(reward=mean(rewards), baseline=0.0, entropy=math.log(self.space.size), loss=0.0)

    def state(self) -> Mapping[str, Any]:
        return {"drawn": self._drawn}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._drawn = int(state["drawn"])
