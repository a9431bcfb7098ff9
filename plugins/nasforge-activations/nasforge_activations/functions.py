"""The functions behind `nasforge_activations.declarations`; each takes and returns ``[..., H]`` and keeps no state."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from nasforge.components import NoOptions
from nasforge_activations.declarations import LeakyReluOptions

Unary = Callable[[Tensor], Tensor]
Derivative = Callable[[Tensor, Tensor], Tensor]
"""From the input and the output of an activation to its derivative there."""


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


def gelu_derivative(config: NoOptions) -> Derivative:
    """Phi(x) + x phi(x), with the normal distribution function and its density."""

    def derivative(x: Tensor, y: Tensor) -> Tensor:
        density = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        return 0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * density

    return derivative


def swish_derivative(config: NoOptions) -> Derivative:
    """s (1 + x (1 - s)) with s = sigmoid(x)."""

    def derivative(x: Tensor, y: Tensor) -> Tensor:
        gate = torch.sigmoid(x)
        return gate * (1 + x * (1 - gate))

    return derivative


def softsign_derivative(config: NoOptions) -> Derivative:
    """1 / (1 + |x|)^2."""
    return lambda x, y: (1 + x.abs()) ** -2


def sine_derivative(config: NoOptions) -> Derivative:
    """cos(x)."""
    return lambda x, y: torch.cos(x)


def leaky_relu_derivative(config: LeakyReluOptions) -> Derivative:
    """1 where x is positive, else the slope; 1 at NaN, as autograd has it."""
    return lambda x, y: torch.where(x <= 0, config.slope, 1.0).to(x.dtype)
