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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

from nasforge.controllers.random import RandomController
from nasforge.executors.average import WeightAverage
from nasforge.executors.base import Executor
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

    executor: Executor

    # How far the search is: epochs done; of the epoch under way, updates of the controller done, skipped ones included,
    # the best reward and what the last update said; validation minibatches used.
    _epoch = 0
    _controller_step = 0
    _best = -math.inf
    _entropies: Mapping[str, float] | None = None
    _windows = 0

    @cached_property
    def _weights(self) -> WeightPhase:
        return WeightPhase(
            self,
            self.config.epochs,
            architectures_per_step=self.config.architectures_per_step,
            per_rank=self.config.architectures == "per_rank",
            average=self._average,
        )

    @cached_property
    def _average(self) -> WeightAverage | None:
        decay = self.config.reward_ema
        return None if decay is None else WeightAverage(decay)

    @cached_property
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

    def steps(self) -> Iterator[Sequence[Report]]:
        """See `Strategy`."""
        warm_up, later = self._samplers
        while self._epoch < self.config.epochs:
            yield from self._weights.epoch(self._epoch, warm_up if self._epoch < self.config.warmup_epochs else later)
            if self._epoch + 1 >= self.config.warmup_epochs:
                yield from self._controller_phase()
            self._epoch, self._controller_step, self._best, self._entropies = self._epoch + 1, 0, -math.inf, None
        if self._average is not None:
            self._average.keep()

    def position(self) -> Mapping[str, Any]:
        """See `Strategy`."""
        named, average = self.executor.parameters(), self._average
        return {
            "epoch": self._epoch,
            "controller_step": self._controller_step,
            "best": self._best,
            "entropies": None if self._entropies is None else dict(self._entropies),
            "windows": self._windows,
            "weights": self._weights.state(),
            "average": None if average is None else average.state(named),
            "samplers": [sampler.state() for sampler in self._own_samplers()],
        }

    def load_position(self, position: Mapping[str, Any]) -> None:
        """See `Strategy`."""
        self._epoch, self._controller_step = int(position["epoch"]), int(position["controller_step"])
        self._best, self._entropies, self._windows = position["best"], position["entropies"], int(position["windows"])
        self._weights.load_state(position["weights"])
        if self._average is not None:
            self._average.load_state(position["average"], self.executor.parameters())
        for sampler, state in zip(self._own_samplers(), position["samplers"], strict=True):
            sampler.load_state(state)

    def _own_samplers(self) -> list[Sampler]:
        """Those that are not the controller."""
        warm_up, later = self._samplers
        return [warm_up] if later in (warm_up, self.controller) else [warm_up, later]

    def propose(self, count: int) -> list[Architecture]:
        """Sample the trained policy."""
        return self.controller.propose(count)

    def _controller_phase(self) -> Iterator[Sequence[Report]]:
        while self._controller_step < self.config.controller_steps:
            # The weights are their own again between two steps.
            with nullcontext() if self._average is None else self._average.applied():
                reports = self._update()
            self._controller_step += 1
            if self._controller_step == self.config.controller_steps and self._entropies:
                reports.append(Event("policy", {"epoch": self._epoch, "entropy_by_decision": dict(self._entropies)}))
            yield reports

    def _update(self) -> list[Report]:
        """Draw a group, score it, and tell the controller."""
        epoch, step = self._epoch, self._controller_step + 1
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
            return [Event("controller_step_skipped", {"epoch": epoch, "step": step, "finite": len(scored)})]
        report = self.controller.update([m for m, _ in scored], [reward for _, reward in scored])
        self.cost.controller_steps += 1
        self._best = max(self._best, *(reward for _, reward in scored))
        self._entropies = report.entropies
        facts = {
            "epoch": epoch,
            "step": step,
            "reward": report.reward,
            "baseline": report.baseline,
            "entropy": report.entropy,
            "loss": report.loss,
            "best": self._best,
            "left_out": len(proposals) - len(scored),
        }
        shown = {"reward": report.reward, "entropy": report.entropy}
        phase = f"controller, epoch {epoch + 1}/{self.config.epochs}"
        return [Tick(phase, step, self.config.controller_steps, shown), Event("controller_step", facts)]

    def _scores(self, proposals: Sequence[Architecture]) -> list[Score]:
        """Each on the minibatch of this controller step; a team shares them out."""

        networks = [self.executor.network(architecture) for architecture in proposals]

        def score(i: int) -> Score:
            with networks[i].computing():
                return self.task.score_minibatch(networks[i], self._windows, derive(self.seed, "rewards"))

        with sharing(networks):
            return self.task.scores(len(networks), score)
