"""The protocol of executors that share weights.

A strategy asks an executor for the network of an architecture; the network names the weights that take part. What an
executor shares between architectures, and by which keys, is its own affair.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor

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
    def values(self) -> Mapping[str, Tensor]:
        """A copy of all weights on the CPU, by name."""

    @abstractmethod
    def load_values(self, values: Mapping[str, Tensor]) -> None:
        """Continue with `values`, as given by `values` of an executor of the same space and options."""
