"""The protocol of tasks: what training and scoring ask of data.

A task never trains. Executors and strategies ask it for batches by number (so that a position in the data is one
integer), for losses of a network on a batch, and for scores.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, runtime_checkable

from torch import Tensor, nn

from nasforge.components import Shape
from nasforge.errors import PluginError
from nasforge.executors.interpreter import Program
from nasforge.executors.network import Core, Network
from nasforge.executors.team import ALONE, Team

Split = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Metric:
    """What a task reports.

    Attributes:
        name: e.g. ``perplexity``.
        direction: whether ``min`` or ``max`` is better.
    """

    name: str
    direction: Literal["min", "max"]

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is strictly better than `b`."""
        return a < b if self.direction == "min" else a > b


@dataclass(frozen=True)
class Score:
    """The result of an evaluation.

    Attributes:
        value: the metric.
        loss: mean loss per item (for language models: nats per token).
        count: how many items were scored (for language models: tokens).
        standard_error: of the value, where items are independent draws; None where they are not.
    """

    value: float
    loss: float
    count: int
    standard_error: float | None = None


@dataclass(frozen=True)
class StepLoss:
    """The loss of one training batch.

    Attributes:
        total: the scalar to differentiate, regularisers included.
        data: the mean loss per item without regularisers, detached scalar.
        count: number of items.
        state: what the next batch starts from, detached: a tensor or a tuple of them, where zeros stand for the start
            of a sequence; None where nothing is carried.
    """

    total: Tensor
    data: Tensor
    count: int
    state: Any


@dataclass(frozen=True)
class ImageDescription:
    """What an image classifier is told about its images.

    Attributes:
        shape: (channels, height, width).
        classes: their names in the order of the labels.
        mean: of each channel over the training images, on the scale 0 to 1.
        deviation: likewise, greater than 0.
    """

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


@runtime_checkable
class DescribesImages(Protocol):
    """A task whose networks are image classifiers: features, averages over all pixels, and a linear layer."""

    def image_description(self) -> ImageDescription:
        """The images as the networks read them."""


class Task(ABC):
    """Base class; subclasses are final and built as ``Task(config, base_folder, seed=, device=, team=)``.

    Attributes:
        metric: what `evaluate` reports.
        team: the processes that train together. Batches of training are those of the whole team, ``size`` times those
            of the recipe, and `loss` takes this rank's part; scores are each rank's own.
    """

    metric: Metric
    team: Team = ALONE

    def alone(self) -> Self:
        """The same task for what each rank does by itself: batches as of a team of one."""
        own = copy.copy(self)
        own.team = ALONE
        return own

    def scores(self, n: int, score: Callable[[int], Score]) -> list[Score]:
        """``score(i)`` for `i` from 0 to ``n - 1``, in order; a team shares them out, and every rank gets all."""
        if self.team.size == 1:
            return [score(i) for i in range(n)]
        rows = self.team.share(n, lambda i: _numbers(score(i)), 4)
        return [
            Score(value, loss, int(count), None if math.isnan(error) else error) for value, loss, count, error in rows
        ]

    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """What `result.json` says about the data: name, sha256, counts."""

    @abstractmethod
    def input_shapes(self, width: int) -> Mapping[str, Shape]:
        """The shapes that a network of `width` features gets, without time and batch (`TaskKind.shapes`)."""

    @abstractmethod
    def shell(self, width: int, recipe: Any, seed: int) -> nn.Module:
        """Fresh weights around the searched network (embedding, decoder), from their own random stream."""

    def training_shell(self, core: Core, recipe: Any, seed: int) -> nn.Module:
        """Fresh weights behind the outputs that `Recipe.training_outputs` names; called only where it names some.

        Args:
            core: what `core` made of a program with these outputs.
            recipe: of the training.
            seed: derives the weights.

        Raises:
            PluginError: the task does not have it, although its recipe names outputs.
        """
        raise PluginError(
            f"the recipe of the task {type(self).__name__} asks for {', '.join(recipe.training_outputs.values())}, but "
            "the task has no 'training_shell' that reads it"
        )

    @abstractmethod
    def core(self, program: Program) -> Core:
        """What is inside of the shell: `program` with the inputs and outputs that the task's networks have."""

    @abstractmethod
    def steps_per_epoch(self, recipe: Any) -> int:
        """Number of training batches of one pass, at least 1.

        Raises:
            DataError: the data does not fill one batch of the whole team.
        """

    @abstractmethod
    def loss(self, network: Network, recipe: Any, step: int, state: Any, seed: int) -> StepLoss:
        """The loss of `network` on this rank's part of training batch number `step`, counted from 0 over all epochs.

        The mean over the ranks is the loss on the whole batch: parts are equally large, and masks are cut from those of
        the whole batch (`Team.drawn`).

        Args:
            network: the model; its parameters get gradients through ``total.backward()``.
            recipe: batch size of one rank, and regularisers.
            step: the number of the batch; the first of an epoch ignores `state`.
            state: `StepLoss.state` of the batch before, zeros where that was skipped; None before the first.
            seed: derives the batch's dropout masks and order.
        """

    @abstractmethod
    def score_minibatch(self, network: Network, index: int, seed: int) -> Score:
        """The score on validation minibatch number `index`: equal for equal (index, seed), so that candidates pair."""

    @abstractmethod
    def split_items(self, split: Split) -> int:
        """How many items a split has; `evaluate` reads all of them."""

    @abstractmethod
    def minibatch_items(self) -> int:
        """How many items `score_minibatch` reads."""

    @abstractmethod
    def evaluate(self, network: Network, split: Split, *, exact: bool) -> Score:
        """The score on a whole split.

        Args:
            network: the model; nothing about it changes.
            split: which part of the data.
            exact: whether to follow the reported protocol; else a faster one that is close to it (proxy scores).
        """

    def evaluation(self, network: Network, batch: int) -> Callable[[], object]:
        """One evaluation of `network` on `batch` examples, to be called as often as its time is measured.

        Inputs are made ready before; the call computes predictions, without gradients.

        Raises:
            PluginError: the task does not have it.
        """
        raise PluginError(
            f"the task {type(self).__name__} has no 'evaluation' whose latency could be measured; leave latency_ms out"
        )

    @abstractmethod
    def reward(self, score: Score) -> float:
        """The reward of a score; higher is better. Not finite where the score is not."""

    @abstractmethod
    def reference_cores(self, width: int, parameters: int, seed: int) -> Mapping[str, Any]:
        """Well-known networks of about `parameters` weights (shell included), by name, as cores (see `Network`)."""


def _numbers(score: Score) -> tuple[float, float, float, float]:
    error = math.nan if score.standard_error is None else score.standard_error
    return score.value, score.loss, score.count, error
