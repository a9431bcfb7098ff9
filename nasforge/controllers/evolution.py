"""Regularised evolution (Real et al. 2019, "Regularized Evolution for Image Classifier Architecture Search", alg. 1).

The population is a queue of the last P scored architectures. While it has fewer, proposals are uniform. From then on
each proposal is a child: S members are drawn uniformly with replacement, the best of them is the parent, and one of its
decisions takes another option (`nasforge.space.vary.mutate`). Who is told joins the queue at its end, and the oldest
leaves it, however good it is.

Deviations from the paper:
    * Their mutations are those of cells (another operation, another input, or none with 5 %); here any one decision.
    * Proposals may be asked for many at a time and told later, or never (a failed child); the paper's loop does one
      after the other, on as many workers as there are.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any, final

from nasforge.controllers.advantage import check_group, mean
from nasforge.controllers.base import Controller, ControllerReport
from nasforge.controllers.options import EvolutionOptions
from nasforge.errors import SpaceError
from nasforge.seeds import stream
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.space.vary import mutate


@final
class EvolutionController(Controller):
    """A population in which the oldest dies; it keeps the limits of its space by itself.

    Proposal number n of a controller has a random stream of its own. Whoever is told joins, proposed here or not.
    """

    config: EvolutionOptions

    def __init__(
        self, space: SearchSpace, config: EvolutionOptions | None = None, *, seed: int, device: str = "cpu"
    ) -> None:
        super().__init__(space, config or EvolutionOptions(), seed=seed, device=device)
        self._drawn = 0
        self._members: deque[tuple[Architecture, float]] = deque(maxlen=self.config.population)

    def propose(self, count: int) -> list[Architecture]:
        first, self._drawn = self._drawn, self._drawn + count
        return [
            self._proposal(stream(self.seed, "controller", "evolution", number)) for number in range(first, self._drawn)
        ]

    def _proposal(self, rng: random.Random) -> Architecture:
        if len(self._members) < self.config.population or self.space.size == 1:
            return self.space.sample(rng)
        drawn = [self._members[rng.randrange(len(self._members))] for _ in range(self.config.sample)]
        parent, _ = max(drawn, key=lambda member: member[1])
        try:
            return mutate(self.space, parent, rng)
        except SpaceError:  # the limits leave no neighbour of this parent
            return self.space.sample(rng)

    def update(self, proposals: Sequence[Architecture], rewards: Sequence[float]) -> ControllerReport:
        """Add them to the population; the oldest leave it.

        In the report, `entropy` is that of the population: 0 where all members are equal, log P where none are.

        Raises:
            ValueError: lengths differ, nothing is given, or a reward is not finite.
            SpaceError: a proposal is no architecture of the space within its limits.
        """
        check_group(proposals, rewards)
        checked = [self.space.architecture(each) for each in proposals]
        self._members.extend(zip(checked, map(float, rewards), strict=True))
        counts = Counter(architecture for architecture, _ in self._members)
        alive = len(self._members)
        entropy = -math.fsum(count / alive * math.log(count / alive) for count in counts.values())
        return ControllerReport(reward=mean(rewards), baseline=0.0, entropy=entropy, loss=0.0)

    def state(self) -> Mapping[str, Any]:
        """How many were drawn, and the members from the oldest on."""
        return {
            "drawn": self._drawn,
            "members": [
                {"architecture": dict(architecture), "reward": reward} for architecture, reward in self._members
            ],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._drawn = int(state["drawn"])
        self._members.clear()
        for member in state["members"]:
            self._members.append((self.space.architecture(member["architecture"]), float(member["reward"])))
