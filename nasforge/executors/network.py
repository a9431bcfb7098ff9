"""A network: the task's shell around a core, with the parameters that take part in a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from nasforge.components import Precision, Shape
from nasforge.executors.bank import Modes
from nasforge.executors.code import Code
from nasforge.executors.interpreter import Program
from nasforge.executors.norms import Use
from nasforge.executors.precision import computing_in, uncast
from nasforge.executors.team import ALONE, Team


class Core:
    """The part inside of the shell: what is searched, or a reference in its place.

    Attributes:
        width: features, or channels, of its output.
        parameters: its weights by name, those that take part and no others.
        statistics: the running statistics of its batch norms, by name.
        modes: what differs between training and scoring; None where nothing does.
        output_shapes: of the outputs that its plan was asked for, by name.
        code: what it runs from its one input to its output; None where it shares no values with others.
    """

    width: int
    parameters: Mapping[str, nn.Parameter]
    statistics: Mapping[str, Tensor] = MappingProxyType({})
    modes: Modes | None = None
    output_shapes: Mapping[str, Shape] = MappingProxyType({})
    code: Code | None = None


class SequenceCore(Core, ABC):
    """A core between embedding and decoder: a sequence in, a sequence out, with a carried state."""

    @abstractmethod
    def start(self, batch: int, like: Tensor) -> Any:
        """The state before the first word of `batch` sequences, with the type and device of `like`."""

    @abstractmethod
    def __call__(self, inputs: Tensor, state: Any, mask: Tensor | None) -> tuple[Tensor, Any]:
        """Run over time, in float32 even where autocast surrounds it (`nasforge.executors.precision`).

        Args:
            inputs: ``[time, batch, width]``.
            state: from `start` or from the call before.
            mask: dropout mask of the recurrent state ``[batch, width]``, or None.

        Returns:
            The outputs ``[time, batch, width]`` and the state after them.
        """


class GraphCore(SequenceCore):
    """A core that interprets a plan; its state is its last output ``[batch, width]``.

    Attributes:
        program: what is interpreted.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.width = program.shape[-1]
        self.parameters = program.parameters

    def start(self, batch: int, like: Tensor) -> Tensor:
        """Zeros."""
        return like.new_zeros(batch, self.width)

    def __call__(self, inputs: Tensor, state: Any, mask: Tensor | None) -> tuple[Tensor, Any]:
        """See `SequenceCore`."""
        with uncast(inputs) as sequence:
            outputs = self.program({"inputs": sequence, "state": state, "mask": mask})
        return outputs, outputs[-1]


class ImageCore(Core):
    """A core that interprets a plan on images."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.width = program.shape[0]
        self.parameters = program.parameters
        self.statistics = program.statistics
        self.modes = program.modes
        self.output_shapes = program.output_shapes
        self.code = program.code

    def __call__(self, images: Tensor) -> Tensor:
        """From images ``[batch, channels, height, width]`` to features ``[batch, width, smaller, smaller]``."""
        return self._program({"image": images})

    def with_outputs(self, images: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The features, and the values of the outputs that its plan was asked for, each ``[batch, ...]``, by name."""
        return self._program.with_outputs({"image": images})


@dataclass(frozen=True)
class Addition:
    """What a network has in training only: outputs on the way, and what the task makes of them.

    Attributes:
        core: the same network with the outputs that training asks for; the weights of both are the same.
        shell: the task's weights behind these outputs.
    """

    core: Core
    shell: nn.Module

    @cached_property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The weights that take part in a step of training, those of the network's shell apart, by name."""
        shell = {f"training.{name}": parameter for name, parameter in self.shell.named_parameters()}
        return {**shell, **{f"core.{name}": parameter for name, parameter in self.core.parameters.items()}}


@dataclass(frozen=True)
class Network:
    """A model that a task can train and score.

    Attributes:
        shell: the task's weights around the core.
        core: the searched or reference network.
        train_norms: what batch norms do in training: ``batch`` where weights are shared, ``update`` where they are not.
        evaluate_norms: what they do in scoring: ``batch``, or ``fixed`` where the running statistics are its own.
        momentum: of ``update``.
        addition: what it has in training only; it is not counted, kept or exported.
        precision: in which type `computing` has products computed.
    """

    shell: nn.Module
    core: Core
    train_norms: Use = "update"
    evaluate_norms: Use = "fixed"
    momentum: float = 0.1
    addition: Addition | None = None
    precision: Precision = "float32"

    @cached_property
    def trained(self) -> Mapping[str, nn.Parameter]:
        """The weights that take part in a step of training, by name."""
        return {**self.parameters, **({} if self.addition is None else self.addition.parameters)}

    @cached_property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The weights of this network, by name."""
        shell = {f"shell.{name}": parameter for name, parameter in self.shell.named_parameters()}
        return {**shell, **{f"core.{name}": parameter for name, parameter in self.core.parameters.items()}}

    def computing(self) -> AbstractContextManager[object]:
        """Its own precision, for as long as the context lasts.

        Whoever asks a task for a loss or a proxy score of the network enters it (`Trainer`, strategies); tasks need not
        know. Backward belongs outside.
        """
        return computing_in(self.precision, next(iter(self.parameters.values())).device)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Batch norms as in training, for as long as the context lasts."""
        if self.core.modes is None:
            yield
        else:
            with self.core.modes.norms.set(self.train_norms, self.momentum):
                yield

    @contextmanager
    def dropping(self, rate: float, seed: int, team: Team = ALONE) -> Iterator[None]:
        """Drop-path with a rate, for as long as the context lasts; `seed` says what `team` drops."""
        if self.core.modes is None or not rate:
            yield
        else:
            with self.core.modes.drops.set(rate, seed, team):
                yield

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Batch norms as in scoring, for as long as the context lasts; no gradients."""
        with torch.no_grad():
            if self.core.modes is None:
                yield
            else:
                with self.core.modes.norms.set(self.evaluate_norms):
                    yield

    def count(self) -> int:
        """Number of weights, shell included."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    @property
    def _values(self) -> Mapping[str, Tensor]:
        return {**self.parameters, **{f"core.{name}": value for name, value in self.core.statistics.items()}}

    def copy_values(self) -> dict[str, Tensor]:
        """A copy of all weights and running statistics on the CPU, by name."""
        return {name: p.detach().to("cpu", copy=True).contiguous() for name, p in self._values.items()}

    def load_values(self, values: Mapping[str, Tensor]) -> None:
        """Copy `values` into weights and running statistics; raises KeyError where one is missing."""
        with torch.no_grad():
            for name, value in self._values.items():
                value.copy_(values[name])


@contextmanager
def sharing(networks: Sequence[Network]) -> Iterator[None]:
    """Let children of one executor compute once what they have in common, for as long as the context lasts.

    Each is listed as often as it is to be scored, on one input that is the same tensor for all. No value changes.
    """
    modes = networks[0].core.modes if networks else None
    codes = [network.core.code for network in networks if network.core.modes is modes]
    if modes is None or len(codes) < 2:
        yield
    else:
        with modes.reuse.set([code for code in codes if code is not None]):
            yield
