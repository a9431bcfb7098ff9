"""The protocol of executors that share weights.

A strategy asks an executor for the network of an architecture; the network names the weights that take part. What an
executor shares between architectures, and by which keys, is its own affair.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from nasforge.executors.network import Network
from nasforge.space.architecture import Architecture


class Executor(ABC):
    """Base class; subclasses are final."""

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
