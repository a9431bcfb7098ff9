"""Exponential moving averages of weights: what rewards are measured with, where the strategy says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Averages of the weights that were seen so far, on the weights' own device.

    A weight is averaged over the steps in which it took part, and no others: one that is rarely drawn would otherwise
    be forgotten. The first averages are shorter: after n steps the decay is at most (1 + n) / (10 + n).

    Args:
        decay: the weight of the past, 0 to 1.
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._averages: dict[nn.Parameter, Tensor] = {}
        self._steps: dict[nn.Parameter, int] = {}

    @torch.no_grad()
    def update(self, parameters: Iterable[nn.Parameter]) -> None:
        """Take in the weights of a step, after it."""
        for parameter in dict.fromkeys(parameters):
            steps = self._steps[parameter] = self._steps.get(parameter, 0) + 1
            if steps == 1:
                self._averages[parameter] = parameter.detach().clone()
            else:
                decay = min(self._decay, (1 + steps) / (10 + steps))
                self._averages[parameter].lerp_(parameter, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The averages in place of the weights, for as long as the context lasts; nothing may train in it."""
        own = {parameter: parameter.detach().clone() for parameter in self._averages}
        self.keep()
        try:
            yield
        finally:
            _put(own)

    def keep(self) -> None:
        """The averages in place of the weights, for good."""
        _put(self._averages)


@torch.no_grad()
def _put(values: dict[nn.Parameter, Tensor]) -> None:
    for parameter, value in values.items():
        parameter.copy_(value)
