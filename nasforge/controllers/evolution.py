"""Regularised evolution (Real et al. 2019, "Regularized Evolution for Image Classifier Architecture Search", alg. 1).

The population is a queue of the last P scored architectures. While it has fewer, proposals are uniform. From then on
each proposal is a child: S members are drawn uniformly with replacement, the best of them is the parent, and one of its
decisions takes another option (`nasforge.space.vary.mutate`). Who is told joins the queue at its end, and the oldest
leaves it, however good it is.

Told vectors (`VectorController`), "the best" is that of NSGA-II (Deb et al. 2002, section III-C), within the
population: who is on the better front, and of one front who is less crowded (`nasforge.controllers.pareto`); who leaves
a population that is too large is the worst of it in this order, not the oldest.

Deviations from the paper:
    * Their mutations are those of cells (another operation, another input, or none with 5 %); here any one decision.
    * Proposals may be asked for many at a time and told later, or never (a failed child); the paper's loop does one
      after the other, on as many workers as there are.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, final

from nasforge.controllers.advantage import check_group, mean
from nasforge.controllers.base import ControllerReport, VectorController
from nasforge.controllers.options import EvolutionOptions
from nasforge.controllers.pareto import fitness
from nasforge.errors import SpaceError
from nasforge.seeds import stream
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.space.vary import mutate


@final
class EvolutionController(VectorController):
    """A population in which the oldest dies; it keeps the limits of its space by itself.

    Proposal number n of a controller has a random stream of its own. Whoever is told joins, proposed here or not.
    """

    config: EvolutionOptions

    def __init__(
        self, space: SearchSpace, config: EvolutionOptions | None = None, *, seed: int, device: str = "cpu"
    ) -> None:
        super().__init__(space, config or EvolutionOptions(), seed=seed, device=device)
        self._drawn = 0
        # From the oldest on, each with what it was told; a reward is a vector of length 1.
        self._members: list[tuple[Architecture, tuple[float, ...]]] = []
        self._fitness: list[tuple[float, ...]] = []

    def propose(self, count: int) -> list[Architecture]:
        first, self._drawn = self._drawn, self._drawn + count
        return [
            self._proposal(stream(self.seed, "controller", "evolution", number)) for number in range(first, self._drawn)
        ]

    def _proposal(self, rng: random.Random) -> Architecture:
        if len(self._members) < self.config.population or self.space.size == 1:
            return self.space.sample(rng)
        drawn = [rng.randrange(len(self._members)) for _ in range(self.config.sample)]
        parent, _ = self._members[max(drawn, key=self._fitness.__getitem__)]
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
        return self.update_on(proposals, [(float(reward),) for reward in rewards])

    def update_on(self, proposals: Sequence[Architecture], values: Sequence[tuple[float, ...]]) -> ControllerReport:
        """See `VectorController`, and `update`."""
        check_group(proposals, [vector[0] for vector in values])
        if len({len(each) for _, each in [*self._members, *zip(proposals, values, strict=True)]}) > 1:
            raise ValueError("one controller is told vectors of one length")
        for part in list(zip(*values, strict=True))[1:]:
            check_group(proposals, part)
        checked = [self.space.architecture(each) for each in proposals]
        self._members += zip(checked, values, strict=True)
        self._leave()
        counts = Counter(architecture for architecture, _ in self._members)
        alive = len(self._members)
        entropy = -math.fsum(count / alive * math.log(count / alive) for count in counts.values())
        return ControllerReport(reward=mean([each[0] for each in values]), baseline=0.0, entropy=entropy, loss=0.0)

    def _leave(self) -> None:
        """Leave `population` members, and say how good each is."""
        vectors = [each for _, each in self._members]
        if len(vectors[0]) > 1:
            found = fitness(vectors)
            # Of equal ones the younger stay.
            best = sorted(range(len(found)), key=lambda place: (found[place], place))[-self.config.population :]
            self._members = [self._members[place] for place in sorted(best)]
            vectors = fitness([each for _, each in self._members])  # type: ignore[assignment]
        else:
            del self._members[: -self.config.population]
            vectors = vectors[-self.config.population :]
        self._fitness = list(vectors)

    def state(self) -> Mapping[str, Any]:
        """How many were drawn, and the members from the oldest on."""
        return {
            "drawn": self._drawn,
            "members": [
                {"architecture": dict(architecture), "reward": first, "others": list(others)}
                for architecture, (first, *others) in self._members
            ],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._drawn = int(state["drawn"])
        self._members = [
            (self.space.architecture(each["architecture"]), (float(each["reward"]), *map(float, each["others"])))
            for each in state["members"]
        ]
        if self._members:
            self._leave()
