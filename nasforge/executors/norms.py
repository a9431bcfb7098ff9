"""Batch norms as the interpreter binds them: weights and running statistics from a bank, the mode from the network.

Three modes: ``batch`` takes the statistics of the batch and leaves the running ones alone (shared weights: running
averages over many architectures fit none of them); ``update`` takes those of the batch and moves the running ones, as
a network that is trained alone does; ``fixed`` takes the running ones, so that examples are independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-5
"""What is added to the variance: as in the micro cells of ENAS, in DARTS and in PyTorch."""

Use = Literal["batch", "update", "fixed"]


@dataclass
class NormMode:
    """Which statistics the batch norms of one network take; the one thing about a program that changes.

    Attributes:
        use: see the module.
        momentum: how far ``update`` moves the running statistics towards those of the batch.
    """

    use: Use = "batch"
    momentum: float = 0.1

    @contextmanager
    def set(self, use: Use, momentum: float = 0.1) -> Iterator[None]:
        """Another mode for a while."""
        before = self.use, self.momentum
        self.use, self.momentum = use, momentum
        try:
            yield
        finally:
            self.use, self.momentum = before


@dataclass(frozen=True)
class BatchNorm:
    """Batch norm of ``[B, C, H, W]``; scale, offset, mean and variance are ``[C]``."""

    scale: nn.Parameter
    offset: nn.Parameter
    mean: Tensor
    variance: Tensor
    mode: NormMode

    def __call__(self, x: Tensor) -> Tensor:
        """The normalised value; in the mode ``update`` the running statistics move."""
        mode = self.mode
        if mode.use == "batch":
            return F.batch_norm(x, None, None, self.scale, self.offset, True, 0.0, EPS)
        training = mode.use == "update"
        return F.batch_norm(x, self.mean, self.variance, self.scale, self.offset, training, mode.momentum, EPS)
