"""Scoring with a tied linear decoder: exact log-likelihoods, in chunks, never capped."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK_ELEMENTS = 1 << 20
"""Logits per chunk (4 MB of float32): memory does not grow with vocabulary times tokens."""


@torch.no_grad()
def decoder_nll(x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> float:
    """The summed cross-entropy of ``x @ weight.T + bias`` in nats.

    Args:
        x: ``[tokens, width]``.
        weight: ``[vocabulary, width]``.
        bias: ``[vocabulary]`` or None.
        targets: ``[tokens]`` int64; negative ones are padding and are not counted.
    """
    rows = max(1, CHUNK_ELEMENTS // weight.shape[0])
    total = 0.0
    for begin in range(0, x.shape[0], rows):
        logits = F.linear(x[begin : begin + rows], weight, bias)
        losses = F.cross_entropy(logits, targets[begin : begin + rows], ignore_index=-1, reduction="none")
        total += float(losses.double().sum())
    return total
