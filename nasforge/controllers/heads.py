"""Output layers of the LSTM policy: a vocabulary for each role, and attention for inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class VocabularyHead(nn.Module):
    """Output layer and embedding of all options of one role."""

    def __init__(self, labels: int, units: int, bias: bool) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(labels, units))
        self.weight = nn.Parameter(torch.empty(labels, units))
        self.bias = nn.Parameter(torch.empty(labels)) if bias else None

    def logits(self, hidden: Tensor, rows: slice | Tensor) -> Tensor:
        """w_j . h + b_j for the labels in `rows`; `hidden` is ``[count, units]``, the result ``[count, rows]``."""
        return F.linear(hidden, self.weight[rows], None if self.bias is None else self.bias[rows])

    def embed(self, index: Tensor, rows: slice | Tensor) -> Tensor:
        """The embeddings ``[count, units]`` of the options `index` ``[count]``, counted within `rows`."""
        return F.embedding(index, self.embedding[rows])


class AnchorAttention(nn.Module):
    """Additive attention over anchors."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.anchor_weight = nn.Parameter(torch.empty(units, units))
        self.hidden_weight = nn.Parameter(torch.empty(units, units))
        self.vector = nn.Parameter(torch.empty(units))

    def key(self, anchor: Tensor) -> Tensor:
        """W1 a for anchors ``[count, units]``."""
        return F.linear(anchor, self.anchor_weight)

    def logits(self, keys: Tensor, hidden: Tensor) -> Tensor:
        """v . tanh(W1 a_j + W2 h); `keys` is ``[count, options, units]``, `hidden` ``[count, units]``."""
        return torch.tanh(keys + F.linear(hidden, self.hidden_weight).unsqueeze(1)) @ self.vector
