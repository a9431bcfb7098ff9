"""The executor without sharing: every child is trained from scratch, on weights of its own."""

from __future__ import annotations

from collections.abc import Mapping

from nasforge.components import Operation
from nasforge.executors.base import FromScratch
from nasforge.executors.calibration import CALIBRATION_STEPS, calibrate
from nasforge.executors.network import Network
from nasforge.executors.options import StandaloneOptions
from nasforge.executors.recurrent import RecurrentBackend
from nasforge.executors.shared import standalone
from nasforge.executors.training import StepReport, Trainer
from nasforge.graph.supergraph import Supergraph
from nasforge.recipe import Recipe
from nasforge.seeds import derive
from nasforge.space.architecture import Architecture
from nasforge.tasks.base import Score, Task


class Training:
    """A child and how far it is trained.

    Attributes:
        network: on weights of its own.
        total_steps: for which its schedule is planned; no step follows them.
        calibrated_items: how many items the last `score` read of the training data.
    """

    def __init__(self, network: Network, task: Task, recipe: Recipe, total_steps: int, *, seed: int) -> None:
        self.network = network
        self.total_steps = total_steps
        self.calibrated_items = 0
        self._task, self._recipe, self._seed = task, recipe, seed
        self._trainer = Trainer(task, recipe, total_steps, seed=seed)

    @property
    def steps(self) -> int:
        """Steps done."""
        return self._trainer.step_number

    @property
    def skipped(self) -> int:
        """How many of them moved nothing, since a loss or a gradient was not finite."""
        return self._trainer.skipped

    def step(self) -> StepReport:
        """One more weight step."""
        return self._trainer.step([self.network])

    def score(self) -> Score:
        """On the whole validation split, with running statistics that fit the weights; nothing of the network changes.

        Of a team the first rank scores, and the others are told: all must hear the same to the last digit.
        """
        moved = {value: value.clone() for value in self.network.core.statistics.values()}
        if moved:
            steps = min(CALIBRATION_STEPS, self._task.steps_per_epoch(self._recipe))
            seed = derive(self._seed, "calibration")
            self.calibrated_items = steps * calibrate(self.network, self._task.alone(), self._recipe, steps, seed=seed)

        def score(i: int) -> Score:
            with self.network.computing():
                return self._task.evaluate(self.network, "valid", exact=False)

        (found,) = self._task.scores(1, score)
        for value, before in moved.items():
            value.copy_(before)
        return found


class Standalone(FromScratch):
    """Fresh networks of the search stage.

    Args:
        supergraph: the compiled space.
        operations: the catalogue's operations.
        task: gives data and the shell, which each child has of its own.
        recipe: of the trainings.
        config: the ``executor`` block.
        seed: derives weights, masks and the order of the data, anew for each number of a training.
        device: where the weights live.
        backend: how recurrent cells run; None for the interpreter.
    """

    def __init__(
        self,
        supergraph: Supergraph,
        operations: Mapping[str, Operation],
        task: Task,
        recipe: Recipe,
        config: StandaloneOptions,
        *,
        seed: int,
        device: str = "cpu",
        backend: RecurrentBackend | None = None,
    ) -> None:
        self._supergraph = supergraph
        self._operations = operations
        self._task, self._recipe, self._config = task, recipe, config
        self._seed, self._device, self._backend = seed, device, backend

    @property
    def epochs(self) -> int:
        """See `FromScratch`."""
        return self._config.epochs

    def begin(self, architecture: Architecture, number: int) -> Training:
        """See `FromScratch`."""
        seed = derive(self._seed, "child", number)
        network = standalone(
            self._supergraph,
            architecture,
            self._operations,
            self._task,
            self._recipe,
            width=self._config.hidden,
            seed=derive(seed, "weights"),
            device=self._device,
            backend=self._backend,
            precision=self._config.precision,
        )
        total = self._config.epochs * self._task.steps_per_epoch(self._recipe)
        return Training(network, self._task, self._recipe, total, seed=derive(seed, "training"))
