"""ENAS (Pham et al. 2018, section 2.2): shared weights and a controller, trained in turns.

Per epoch:

(a) one pass over the training data. For each minibatch, M architectures m ~ pi(m; theta) are drawn afresh and the
    shared weights w take one step along (1/M) sum_i grad_w L(m_i; w)      (eq. 1)
(b) w is fixed. For each controller step, K architectures are drawn and scored on one validation minibatch, the same
    for all K, and the controller ascends E[R(m)] by REINFORCE               (section 2.2)

During the first `warmup_epochs` epochs (a) draws uniformly, and (b) begins after the last of them. Afterwards (a) draws
as the option `sampler` says. With the uniform controller and no controller steps this is random search with weight
sharing (Li and Talwalkar 2019) on the same code.
Deviations from the paper and from the reference codes: docs/enas.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property

from nasforge.controllers.random import RandomController
from nasforge.executors.average import WeightAverage
from nasforge.executors.network import sharing
from nasforge.seeds import derive
from nasforge.space.architecture import Architecture
from nasforge.strategies.base import Event, Report, Strategy, Tick
from nasforge.strategies.samplers import EpsilonSampler, FairSampler, Sampler
from nasforge.strategies.weights import WeightPhase
from nasforge.tasks.base import Score

DEFAULT_EPSILON = 0.1
"""The share of uniform draws of ``sampler: epsilon``."""


class Enas(Strategy):
    """The alternating search. See the module."""

    _windows = 0

    @cached_property
    def _average(self) -> WeightAverage | None:
        decay = self.config.reward_ema
        return None if decay is None else WeightAverage(decay)

    def _samplers(self) -> tuple[Sampler, Sampler]:
        """Who draws for weight steps in the warm-up, and after it."""
        uniform = RandomController(self.space, None, seed=derive(self.seed, "warm-up"))
        match self.config.sampler:
            case "fair":
                fair = FairSampler(self.space, seed=self.seed)
                return fair, fair
            case "uniform":
                return uniform, uniform
            case "epsilon":
                epsilon = DEFAULT_EPSILON if self.config.epsilon is None else self.config.epsilon
                return uniform, EpsilonSampler(self.controller, epsilon, seed=derive(self.seed, "epsilon"))
        return uniform, self.controller

    def search(self) -> Iterator[Report]:
        """See `Strategy`."""
        epochs = self.config.epochs
        weights = WeightPhase(
            self,
            epochs,
            architectures_per_step=self.config.architectures_per_step,
            per_rank=self.config.architectures == "per_rank",
            average=self._average,
        )
        warm_up, later = self._samplers()
        for epoch in range(epochs):
            sampler = warm_up if epoch < self.config.warmup_epochs else later
            yield from weights.epoch(epoch, sampler)
            if epoch + 1 >= self.config.warmup_epochs:
                with nullcontext() if self._average is None else self._average.applied():
                    yield from self._controller_phase(epoch)
        if self._average is not None:
            self._average.keep()

    def propose(self, count: int) -> list[Architecture]:
        """Sample the trained policy."""
        return self.controller.propose(count)

    def _controller_phase(self, epoch: int) -> Iterator[Report]:
        best, report = -math.inf, None
        n_steps = self.config.controller_steps
        for step in range(n_steps):
            proposals = self.controller.propose(self.config.candidates_per_step)
            scored: list[tuple[Architecture, float]] = []
            for architecture, score in zip(proposals, self._scores(proposals), strict=True):
                self.cost.evaluations += 1
                self.cost.evaluated_items += score.count
                reward = self.task.reward(score)
                # A score that is not finite must not reach the controller: the child is left out of the group.
                if math.isfinite(reward):
                    scored.append((architecture, reward))
            self._windows += 1
            if len(scored) < min(2, len(proposals)):
                yield Event("controller_step_skipped", {"epoch": epoch, "step": step + 1, "finite": len(scored)})
                continue
            report = self.controller.update([m for m, _ in scored], [reward for _, reward in scored])
            self.cost.controller_steps += 1
            best = max(best, *(reward for _, reward in scored))
            facts = {
                "epoch": epoch,
                "step": step + 1,
                "reward": report.reward,
                "baseline": report.baseline,
                "entropy": report.entropy,
                "loss": report.loss,
                "best": best,
                "left_out": len(proposals) - len(scored),
            }
            shown = {"reward": report.reward, "entropy": report.entropy}
            yield Tick(f"controller, epoch {epoch + 1}/{self.config.epochs}", step + 1, n_steps, shown)
            yield Event("controller_step", facts)
        if report is not None and report.entropies:
            yield Event("policy", {"epoch": epoch, "entropy_by_decision": dict(report.entropies)})

    def _scores(self, proposals: Sequence[Architecture]) -> list[Score]:
        """Each on the minibatch of this controller step; a team shares them out."""

        networks = [self.executor.network(architecture) for architecture in proposals]

        def score(i: int) -> Score:
            with networks[i].computing():
                return self.task.score_minibatch(networks[i], self._windows, derive(self.seed, "rewards"))

        with sharing(networks):
            return self.task.scores(len(networks), score)
