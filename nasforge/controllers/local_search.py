"""Local search with restarts (White et al. 2021, "Exploring the Loss Landscape in Neural Architecture Search").

A climb starts at the best of a few uniform draws. The neighbours of where it stands, one decision changed
(`nasforge.space.vary.neighbours`), are proposed in random order; whatever is told to be better is where it stands from
then on. Where all neighbours were proposed and none was, that is a local optimum, and another climb starts.

Deviations from the paper:
    * The paper evaluates all neighbours and goes to the best of them; here the first that is better is taken.
    * Proposals may be asked for many at a time and told later, or never. What a climb cannot use, because more are
      asked for than it has neighbours left, are uniform draws for the next start.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

from nasforge.controllers.advantage import check_group, mean
from nasforge.controllers.base import Controller, ControllerReport
from nasforge.controllers.options import LocalSearchOptions
from nasforge.seeds import stream
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.space.vary import neighbours


@final
class LocalSearchController(Controller):
    """Climbs to one local optimum after the other; it keeps the limits of its space by itself.

    Every uniform draw and every step of a climb has a random stream of its own. What is told need not have been
    proposed here: if it is better than where the climb stands, the climb goes on there.
    """

    config: LocalSearchOptions

    def __init__(
        self, space: SearchSpace, config: LocalSearchOptions | None = None, *, seed: int, device: str = "cpu"
    ) -> None:
        super().__init__(space, config or LocalSearchOptions(), seed=seed, device=device)
        self._drawn = 0
        # Where the climb stands and its reward, None between climbs; how often it moved, over all climbs.
        self._at: tuple[Architecture, float] | None = None
        self._moves = 0
        # The neighbours in the order of this step, and how many of them were proposed.
        self._order: tuple[Architecture, ...] = ()
        self._proposed = 0
        # What was told beside the climb since it began: how many, and the best of them.
        self._starts = 0
        self._start: tuple[Architecture, float] | None = None

    def propose(self, count: int) -> list[Architecture]:
        if self._at is not None and self._proposed == len(self._order):
            self._at = None
            self._begin_where_possible()
        taken = self._order[self._proposed : self._proposed + count] if self._at is not None else ()
        self._proposed += len(taken)
        first, self._drawn = self._drawn, self._drawn + count - len(taken)
        draws = [
            self.space.sample(stream(self.seed, "controller", "local search", "start", number))
            for number in range(first, self._drawn)
        ]
        return [*taken, *draws]

    def update(self, proposals: Sequence[Architecture], rewards: Sequence[float]) -> ControllerReport:
        """Move to the best of them if it is better than where the climb stands.

        In the report, `entropy` is that of the next proposal: log n with n neighbours left, the log of the space's size
        between climbs.

        Raises:
            ValueError: lengths differ, nothing is given, or a reward is not finite.
            SpaceError: a proposal is no architecture of the space within its limits.
        """
        check_group(proposals, rewards)
        told = [(self.space.architecture(each), float(reward)) for each, reward in zip(proposals, rewards, strict=True)]
        best = max(told, key=lambda pair: pair[1])
        if self._at is not None and best[1] > self._at[1]:
            self._stand_at(*best)
        else:
            near = set(self._order) if self._at is not None else set()
            for architecture, reward in told:
                if architecture not in near and (self._at is None or architecture != self._at[0]):
                    self._starts += 1
                    if self._start is None or reward > self._start[1]:
                        self._start = (architecture, reward)
            if self._at is None:
                self._begin_where_possible()
        left = len(self._order) - self._proposed if self._at is not None else 0
        entropy = math.log(left or self.space.size)
        return ControllerReport(reward=mean(rewards), baseline=0.0, entropy=entropy, loss=0.0)

    def _begin_where_possible(self) -> None:
        if self._start is not None and self._starts >= self.config.starts:
            (architecture, reward), self._start, self._starts = self._start, None, 0
            self._stand_at(architecture, reward)

    def _stand_at(self, architecture: Architecture, reward: float) -> None:
        self._at = (architecture, reward)
        self._moves += 1
        self._look_around()
        self._proposed = 0

    def _look_around(self) -> None:
        assert self._at is not None
        found = list(neighbours(self.space, self._at[0]))
        stream(self.seed, "controller", "local search", "neighbours", self._moves).shuffle(found)
        self._order = tuple(found)

    def state(self) -> Mapping[str, Any]:
        """Counts of draws, moves, proposed neighbours and starts; where the climb stands and the best start so far."""
        return {
            "drawn": self._drawn,
            "moves": self._moves,
            "proposed": self._proposed,
            "starts": self._starts,
            "at": _plain(self._at),
            "start": _plain(self._start),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._drawn, self._moves = int(state["drawn"]), int(state["moves"])
        self._starts = int(state["starts"])
        self._start = self._scored(state["start"])
        self._at = self._scored(state["at"])
        self._order = ()
        if self._at is not None:
            self._look_around()
        self._proposed = int(state["proposed"])

    def _scored(self, plain: Sequence[Mapping[str, Any]]) -> tuple[Architecture, float] | None:
        for each in plain:
            return self.space.architecture(each["architecture"]), float(each["reward"])
        return None


def _plain(scored: tuple[Architecture, float] | None) -> list[dict[str, Any]]:
    return [] if scored is None else [{"architecture": dict(scored[0]), "reward": scored[1]}]
