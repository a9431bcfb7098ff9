"""A network: the task's shell around a core, with the parameters that take part in a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from nasforge.executors.interpreter import Program


class Core(ABC):
    """The part between the shell's embedding and decoder: a sequence in, a sequence out, with a carried state.

    Attributes:
        width: features of its output.
        parameters: its weights by name, those that take part and no others.
    """

    width: int
    parameters: Mapping[str, nn.Parameter]

    @abstractmethod
    def start(self, batch: int, like: Tensor) -> Any:
        """The state before the first word of `batch` sequences, with the type and device of `like`."""

    @abstractmethod
    def __call__(self, inputs: Tensor, state: Any, mask: Tensor | None) -> tuple[Tensor, Any]:
        """Run over time.

        Args:
            inputs: ``[time, batch, width]``.
            state: from `start` or from the call before.
            mask: dropout mask of the recurrent state ``[batch, width]``, or None.

        Returns:
            The outputs ``[time, batch, width]`` and the state after them.
        """


class GraphCore(Core):
    """A core that interprets a plan; its state is its last output ``[batch, width]``."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.width = program.shape[-1]
        self.parameters = program.parameters

    def start(self, batch: int, like: Tensor) -> Tensor:
        """Zeros."""
        return like.new_zeros(batch, self.width)

    def __call__(self, inputs: Tensor, state: Any, mask: Tensor | None) -> tuple[Tensor, Any]:
        """See `Core`."""
        outputs = self._program({"inputs": inputs, "state": state, "mask": mask})
        return outputs, outputs[-1]


@dataclass(frozen=True)
class Network:
    """A model that a task can train and score.

    Attributes:
        shell: the task's weights around the core.
        core: the searched or reference network.
    """

    shell: nn.Module
    core: Core

    @cached_property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The weights that take part in a step of this network, by name."""
        shell = {f"shell.{name}": parameter for name, parameter in self.shell.named_parameters()}
        return {**shell, **{f"core.{name}": parameter for name, parameter in self.core.parameters.items()}}

    def count(self) -> int:
        """Number of weights, shell included."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    def copy_values(self) -> dict[str, Tensor]:
        """A copy of all weights on the CPU, by name."""
        return {name: p.detach().to("cpu", copy=True).contiguous() for name, p in self.parameters.items()}

    def load_values(self, values: Mapping[str, Tensor]) -> None:
        """Copy `values` into the weights; raises KeyError where one is missing."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(values[name])
