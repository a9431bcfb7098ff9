"""Exponential moving averages of weights: what rewards are measured with, where the strategy says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

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

    def state(self, named: Mapping[str, nn.Parameter]) -> Mapping[str, Any]:
        """Everything that `load_state` needs to go on exactly; `named` are the weights by name."""
        name_of = {parameter: name for name, parameter in named.items()}
        return {
            name_of[parameter]: {"steps": self._steps[parameter], "average": average.to("cpu", copy=True).contiguous()}
            for parameter, average in self._averages.items()
        }

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Any], named: Mapping[str, nn.Parameter]) -> None:
        """Go on where `state` was taken."""
        self._steps = {named[name]: int(each["steps"]) for name, each in state.items()}
        self._averages = {named[name]: torch.empty_like(named[name]).copy_(e["average"]) for name, e in state.items()}

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
