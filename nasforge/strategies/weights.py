"""Training of shared weights: passes over the training data, in which a sampler draws what takes part in each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nasforge.executors.average import WeightAverage
from nasforge.executors.training import REPORT_EVERY, Losses, Trainer, mean
from nasforge.seeds import derive
from nasforge.strategies.base import Event, Report, Strategy, Tick
from nasforge.strategies.samplers import Sampler, UpdateCounts


class WeightPhase:
    """The passes of one search; one optimiser and one schedule serve them all.

    Args:
        strategy: whose executor is trained; what it costs is added to its cost.
        epochs: passes in all.
        architectures_per_step: how many are drawn for a step, whose gradients are averaged.
        per_rank: whether each rank of a team has its own; else all ranks train the same.
        average: takes in the weights of each step; None for none.
    """

    def __init__(
        self,
        strategy: Strategy,
        epochs: int,
        *,
        architectures_per_step: int = 1,
        per_rank: bool = False,
        average: WeightAverage | None = None,
    ) -> None:
        self._strategy, self._epochs = strategy, epochs
        self._per_step, self._average = architectures_per_step, average
        # All ranks draw the networks of all: each has to know whose weights a step moves.
        self._ranks = strategy.task.team.size if per_rank else 1
        self._n_steps = strategy.task.steps_per_epoch(strategy.recipe)
        seed = derive(strategy.seed, "weights phase")
        self._trainer = Trainer(strategy.task, strategy.recipe, epochs * self._n_steps, seed=seed)
        # Of the pass that is under way.
        self._shown: dict[str, float] = {}
        self._losses, self._counts, self._skipped_before = Losses(), UpdateCounts(strategy.space), 0

    def epoch(self, number: int, sampler: Sampler) -> Iterator[Sequence[Report]]:
        """What is left of pass `number`, counted from 0; a minibatch, a draw and a step at a time."""
        strategy, trainer, ranks = self._strategy, self._trainer, self._ranks
        losses, counts = self._losses, self._counts
        for step in range(trainer.step_number - number * self._n_steps, self._n_steps):
            drawn = sampler.propose(self._per_step * ranks)
            networks = [strategy.executor.network(m) for m in drawn]
            mine = networks[strategy.task.team.rows(self._per_step)] if ranks > 1 else networks
            report = trainer.step(mine, of_ranks=networks if ranks > 1 else ())
            counts.add(report, drawn)
            if self._average is not None:
                # Weights that a skipped step left alone are averaged once more: to ask would be to wait for the device.
                self._average.update(p for network in networks for p in network.trained.values())
            strategy.cost.child_steps += len(networks)
            strategy.cost.items += report.count * self._per_step
            losses.add(report)
            reads = (step + 1) % REPORT_EVERY == 0 or step + 1 == self._n_steps
            recent = mean(losses.read()[-REPORT_EVERY:]) if reads else None
            if recent is not None:
                self._shown = {"loss": recent}
            phase = f"shared weights, epoch {number + 1}/{self._epochs}"
            done = (number + (step + 1) / self._n_steps) / self._epochs
            reports: list[Report] = [Tick(phase, step + 1, self._n_steps, self._shown, done)]
            if reads:
                facts = {
                    "epoch": number,
                    "step": step + 1,
                    "loss": recent,
                    "skipped": trainer.skipped - self._skipped_before,
                }
                reports.append(Event("weight_steps", facts))
            if step + 1 == self._n_steps:
                reports.append(Event("updates", {"epoch": number, "by_option": counts.take()}))
                losses.load_state(())
                self._skipped_before = trainer.skipped
            yield reports

    def state(self) -> Mapping[str, Any]:
        """Everything but the weights that `load_state` needs to go on exactly, in the types of `Controller.state`."""
        return {
            "trainer": self._trainer.state(self._strategy.executor.parameters()),
            "shown": dict(self._shown),
            "losses": list(self._losses.read()),
            "counts": self._counts.state(),
            "skipped_before": self._skipped_before,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken; the weights hold their values already."""
        self._trainer.load_state(state["trainer"], self._strategy.executor.parameters())
        self._shown = dict(state["shown"])
        self._losses.load_state(state["losses"])
        self._counts.load_state(state["counts"])
        self._skipped_before = int(state["skipped_before"])
