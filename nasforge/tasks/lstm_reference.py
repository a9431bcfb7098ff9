"""The LSTM that a searched cell is compared with: one layer, trained by the same recipe."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from nasforge.executors.network import SequenceCore
from nasforge.executors.precision import uncast
from nasforge.seeds import derive


def lstm_width(parameters: int, vocabulary: int, *, bias: bool) -> int:
    """The width W whose tied model is nearest to `parameters` weights: ``V W (+ V) + 8 W^2 + 8 W``."""
    constant = (vocabulary if bias else 0) - parameters
    linear = vocabulary + 8
    return max(1, round((-linear + math.sqrt(linear * linear - 32 * constant)) / 16))


class LstmCore(SequenceCore):
    """`torch.nn.LSTM`, weights U(±1/sqrt(width)); the mask, where there is one, falls on h_{t-1}."""

    def __init__(self, width: int, seed: int, device: str | torch.device = "cpu") -> None:
        # By way of the meta device: nn.LSTM would draw its first weights from the global generator.
        self._lstm = nn.LSTM(width, width, device="meta").to_empty(device="cpu")
        generator = torch.Generator().manual_seed(derive(seed, "weights", "lstm"))
        bound = 1 / math.sqrt(width)
        with torch.no_grad():
            for parameter in self._lstm.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
        self._lstm = self._lstm.to(device)
        self.width = width
        self.parameters = dict(self._lstm.named_parameters())

    def start(self, batch: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Zero hidden and cell state, each ``[1, batch, width]``."""
        return like.new_zeros(1, batch, self.width), like.new_zeros(1, batch, self.width)

    def __call__(self, inputs: Tensor, state: Any, mask: Tensor | None) -> tuple[Tensor, Any]:
        """See `SequenceCore`."""
        with uncast(inputs) as sequence:
            return self._run(sequence, state, mask)

    def _run(self, inputs: Tensor, state: Any, mask: Tensor | None) -> tuple[Tensor, Any]:
        if mask is None:
            outputs, after = self._lstm(inputs, state)
            return outputs, after
        steps = []
        for step in inputs.unbind(0):
            output, state = self._lstm(step[None], (state[0] * mask, state[1]))
            steps.append(output)
        return torch.cat(steps), state
