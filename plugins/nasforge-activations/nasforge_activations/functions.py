"""The functions behind `nasforge_activations.declarations`; each takes and returns ``[..., H]`` and keeps no state."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from nasforge.components import NoOptions
from nasforge_activations.declarations import LeakyReluOptions

Unary = Callable[[Tensor], Tensor]


def gelu(config: NoOptions) -> Unary:
    """x * (1 + erf(x / sqrt(2))) / 2."""
    return F.gelu


def swish(config: NoOptions) -> Unary:
    """x / (1 + exp(-x))."""
    return F.silu


def softsign(config: NoOptions) -> Unary:
    """x / (1 + abs(x))."""
    return F.softsign


def sine(config: NoOptions) -> Unary:
    """sin(x)."""
    return torch.sin


def leaky_relu(config: LeakyReluOptions) -> Unary:
    """x, or slope * x where x is negative."""
    return partial(F.leaky_relu, negative_slope=config.slope)
