"""The protocols of executors: those that share weights, and those that train each child from scratch.

A strategy asks an executor that shares for the network of an architecture; the network names the weights that take
part. What it shares between architectures, and by which keys, is its own affair. Of an executor that trains from
scratch a strategy asks for trainings, each with a number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from nasforge.executors.network import Network
from nasforge.space.architecture import Architecture

if TYPE_CHECKING:
    from nasforge.executors.standalone import Training


class Executor(ABC):
    """Base class of those that share weights; subclasses are final."""

    @abstractmethod
    def network(self, architecture: Architecture) -> Network:
        """The child model of `architecture` on the executor's weights; cheap enough to call at every step."""

    def calibrated(self, architecture: Architecture) -> Network:
        """The child as it is to be ranked: with batch norms whose statistics are its own, where it has any.

        It is good until the next call of the executor.
        """
        return self.network(architecture)

    def calibration_items(self) -> int:
        """How many training items `calibrated` reads for one child."""
        return 0

    @abstractmethod
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """All weights that there are, by the names that networks give them (`Network.trained`)."""

    def state(self) -> Mapping[str, Any]:
        """Everything that `load_state` needs to go on exactly, in the types of `Controller.state`."""
        return {"values": self.values()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken, in a fresh executor of the same space and options.

        Afterwards `parameters` names what it named then.
        """
        self.load_values(state["values"])

    @abstractmethod
    def values(self) -> Mapping[str, Tensor]:
        """A copy of all weights on the CPU, by name."""

    @abstractmethod
    def load_values(self, values: Mapping[str, Tensor]) -> None:
        """Continue with `values`, as given by `values` of an executor of the same space and options."""


class FromScratch(ABC):
    """Base class of those that train each child from scratch; subclasses are final."""

    @property
    @abstractmethod
    def epochs(self) -> int:
        """Passes over the training data of a whole training."""

    def state(self) -> Mapping[str, Any]:
        """Everything that `load_state` needs to go on exactly, trainings under way apart: nothing."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken; there is nothing of its own that an executor could have lost."""
        return

    @abstractmethod
    def begin(self, architecture: Architecture, number: int) -> Training:
        """A child with fresh weights and no step done.

        Args:
            architecture: of the child.
            number: of the training. Everything random in it derives from its number, so that equal numbers repeat a
                training exactly, and others give one architecture new weights and another order of the data.
        """
