"""Drop-path: values that are left out at random in training, for each example on its own (Larsson et al. 2017).

As in the final networks of ENAS (Pham et al. 2018; the rate is from the authors' code) and of DARTS, what is dropped is
the result of an operation before it is added to others. A value is kept with the probability ``1 - rate * share`` and
then divided by it. `rate` is that of the whole network at this moment of the training, `share` that of the value: it
rises with the depth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nasforge.executors.team import ALONE, Team
from nasforge.executors.transfer import sent


@dataclass
class DropMode:
    """How much the drop-paths of one network drop; nothing outside of training.

    Attributes:
        rate: the probability that a value of share 1 is dropped.
        generator: on the CPU, so that devices agree; None where nothing is dropped.
        team: which part of the whole batch the values are.
    """

    rate: float = 0.0
    generator: torch.Generator | None = None
    team: Team = ALONE

    @contextmanager
    def set(self, rate: float, seed: int, team: Team = ALONE) -> Iterator[None]:
        """Another rate for a while; `seed` says what of the whole batch of `team` is dropped."""
        before = self.rate, self.generator, self.team
        self.rate, self.generator, self.team = rate, torch.Generator().manual_seed(seed), team
        try:
            yield
        finally:
            self.rate, self.generator, self.team = before


@dataclass(frozen=True)
class DropPath:
    """A function whose value ``[B, ...]`` is dropped.

    Attributes:
        function: what computes the value.
        share: greater than 0, at most 1.
        mode: of the network.
    """

    function: Callable[..., Tensor]
    share: float
    mode: DropMode

    def __call__(self, *given: Any) -> Tensor:
        """The value; in training some of its examples are zeros, the others larger."""
        value = self.function(*given)
        if self.mode.rate == 0:
            return value
        keep = 1 - self.mode.rate * self.share
        ones = [1] * (value.dim() - 1)
        kept = self.mode.team.drawn(
            len(value), lambda n: torch.empty(n, *ones).bernoulli_(keep, generator=self.mode.generator).div_(keep)
        )
        return value * sent(kept, value)
