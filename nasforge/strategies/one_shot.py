"""Search on shared weights that are trained first, by uniform sampling; proposals are then scored with them.

Single-path one-shot search (Guo et al. 2020) where the proposals are those of evolution; with the LSTM controller it is
the search of ENAS with its two phases one after the other. In contrast to ENAS the weights do not depend on what is
proposed, and every score is that of the whole validation split, with statistics of batch norms of the child's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from nasforge.controllers.random import RandomController
from nasforge.executors.base import Executor
from nasforge.seeds import derive
from nasforge.space.architecture import Architecture
from nasforge.strategies.base import Event, Report, Strategy, Tick
from nasforge.strategies.black_box import BlackBox, update_facts
from nasforge.strategies.samplers import FairSampler, Sampler
from nasforge.strategies.weights import WeightPhase
from nasforge.tasks.base import Score


class OneShot(Strategy):
    """See the module."""

    executor: Executor

    _epoch = 0
    _best = -math.inf
    _proposed = 0

    @cached_property
    def _weights(self) -> WeightPhase:
        return WeightPhase(self, self.config.epochs, architectures_per_step=self.config.architectures_per_step)

    @cached_property
    def _sampler(self) -> Sampler:
        if self.config.sampler == "fair":
            return FairSampler(self.space, seed=self.seed)
        return RandomController(self.space, None, seed=derive(self.seed, "warm-up"))

    @cached_property
    def _found(self) -> BlackBox | None:
        """What asks for scores; None where none are wanted."""
        if not self.config.evaluations:
            return None
        return BlackBox(
            self.controller,
            self._reward,
            budget=self.config.evaluations,
            batch=self.config.batch,
            # What fails is never told, and what is left of a group may be too small for a controller.
            smallest_group=min(2, self.config.batch),
        )

    def steps(self) -> Iterator[Sequence[Report]]:
        """See `Strategy`."""
        while self._epoch < self.config.epochs:
            yield from self._weights.epoch(self._epoch, self._sampler)
            self._epoch += 1
        if self._found is not None:
            yield from self._ask(self._found)

    def position(self) -> Mapping[str, Any]:
        """See `Strategy`."""
        return {
            "epoch": self._epoch,
            "best": self._best,
            "weights": self._weights.state(),
            "sampler": self._sampler.state(),
            "found": None if self._found is None else self._found.state(),
        }

    def load_position(self, position: Mapping[str, Any]) -> None:
        """See `Strategy`."""
        self._epoch, self._best = int(position["epoch"]), position["best"]
        self._weights.load_state(position["weights"])
        self._sampler.load_state(position["sampler"])
        if self._found is not None:
            self._found.load_state(position["found"])

    def _ask(self, search: BlackBox) -> Iterator[Sequence[Report]]:
        for query in search.queries():
            finite = math.isfinite(query.score)
            if finite:
                self._best = max(self._best, query.score)
            best = self._best
            shown = {"reward": query.score, "best": best} if finite else {}
            facts = {
                "query": query.number,
                "digest": query.architecture.digest,
                "proxy": self.scores[query.architecture].value if finite else None,
                "reward": query.score if finite else None,
                "best": best if math.isfinite(best) else None,
            }
            reports: list[Report] = [
                Tick("scoring proposals (proxy)", query.number + 1, self.config.evaluations, shown),
                Event("evaluation", facts),
            ]
            if search.updates > self.cost.controller_steps and search.report is not None:
                self.cost.controller_steps = search.updates
                facts = update_facts(search.report, search.updates, best)
                reports.append(Event("controller_step", {"epoch": self.config.epochs - 1, **facts}))
            yield reports

    def _reward(self, architecture: Architecture, query: int) -> float:
        def score(i: int) -> Score:
            network = self.executor.calibrated(architecture)
            with network.computing():
                return self.task.evaluate(network, "valid", exact=False)

        # Weights stand still, so that a score is the same again: it is a query, but is computed once.
        if architecture not in self.scores:
            # Of a team the first rank scores, and the others are told: all must hear the same to the last digit.
            (self.scores[architecture],) = self.task.scores(1, score)
            self.cost.evaluated_items += self.scores[architecture].count + self.executor.calibration_items()
        self.cost.evaluations += 1
        return self.task.reward(self.scores[architecture])

    def propose(self, count: int) -> list[Architecture]:
        """The best that were scored, at the next call those after them; then what the controller proposes."""
        if self._found is None:
            return self.controller.propose(count)
        begin, self._proposed = self._proposed, self._proposed + count
        best = self._found.best(begin + count)[begin:]
        return [*best, *self.controller.propose(count - len(best))] if len(best) < count else best
