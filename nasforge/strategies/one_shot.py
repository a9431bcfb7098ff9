"""Search on shared weights that are trained first, by uniform sampling; proposals are then scored with them.

Single-path one-shot search (Guo et al. 2020) where the proposals are those of evolution; with the LSTM controller it is
the search of ENAS with its two phases one after the other. In contrast to ENAS the weights do not depend on what is
proposed, and every score is that of the whole validation split, with statistics of batch norms of the child's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from nasforge.controllers.base import ControllerReport
from nasforge.controllers.random import RandomController
from nasforge.seeds import derive
from nasforge.space.architecture import Architecture
from nasforge.strategies.base import Event, Report, Strategy, Tick
from nasforge.strategies.black_box import BlackBox
from nasforge.strategies.samplers import FairSampler, Sampler
from nasforge.strategies.weights import WeightPhase
from nasforge.tasks.base import Score


class OneShot(Strategy):
    """See the module."""

    _found: BlackBox | None = None
    _proposed = 0

    def search(self) -> Iterator[Report]:
        """See `Strategy`."""
        config = self.config
        weights = WeightPhase(self, config.epochs, architectures_per_step=config.architectures_per_step)
        sampler: Sampler = RandomController(self.space, None, seed=derive(self.seed, "warm-up"))
        if config.sampler == "fair":
            sampler = FairSampler(self.space, seed=self.seed)
        for epoch in range(config.epochs):
            yield from weights.epoch(epoch, sampler)
        if config.evaluations:
            yield from self._ask()

    def _ask(self) -> Iterator[Report]:
        config, best = self.config, -math.inf
        search = self._found = BlackBox(
            self.controller,
            self._reward,
            budget=config.evaluations,
            batch=config.batch,
            # What fails is never told, and what is left of a group may be too small for a controller.
            smallest_group=min(2, config.batch),
        )
        for query in search.queries():
            finite = math.isfinite(query.score)
            if finite:
                best = max(best, query.score)
            shown = {"reward": query.score, "best": best} if finite else {}
            yield Tick("scoring proposals (proxy)", query.number + 1, config.evaluations, shown)
            facts = {
                "query": query.number,
                "digest": query.architecture.digest,
                "proxy": self.scores[query.architecture].value if finite else None,
                "reward": query.score if finite else None,
                "best": best if math.isfinite(best) else None,
            }
            yield Event("evaluation", facts)
            if search.updates > self.cost.controller_steps and search.report is not None:
                self.cost.controller_steps = search.updates
                yield self._told(search.report, best)

    def _told(self, report: ControllerReport, best: float) -> Event:
        facts = {
            "epoch": self.config.epochs - 1,
            "step": self.cost.controller_steps,
            "reward": report.reward,
            "baseline": report.baseline,
            "entropy": report.entropy,
            "loss": report.loss,
            "best": best,
        }
        return Event("controller_step", facts)

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
