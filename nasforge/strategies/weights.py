"""Training of shared weights: passes over the training data, in which a sampler draws what takes part in each step."""

from __future__ import annotations

from collections.abc import Iterator

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
        self._shown: dict[str, float] = {}

    def epoch(self, number: int, sampler: Sampler) -> Iterator[Report]:
        """Pass `number`, counted from 0; a minibatch, a draw and a step at a time."""
        strategy, trainer, ranks = self._strategy, self._trainer, self._ranks
        losses, counts, skipped_before = Losses(), UpdateCounts(strategy.space), trainer.skipped
        for step in range(self._n_steps):
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
            yield Tick(phase, step + 1, self._n_steps, self._shown, done)
            if reads:
                facts = {
                    "epoch": number,
                    "step": step + 1,
                    "loss": recent,
                    "skipped": trainer.skipped - skipped_before,
                }
                yield Event("weight_steps", facts)
        yield Event("updates", {"epoch": number, "by_option": counts.take()})
