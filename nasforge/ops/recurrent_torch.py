"""The functions behind `nasforge.ops.recurrent`; every factory returns a function without state.

Leading dimensions are independent: the functions take ``[..., H]``, one time step or a whole sequence.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nasforge.components import NoOptions
from nasforge.ops.recurrent import ClipNormOptions, ProjectionOptions

Unary = Callable[[Tensor], Tensor]
Derivative = Callable[[Tensor, Tensor], Tensor]
"""From the input and the output of an activation to its derivative there."""


def tanh(config: NoOptions) -> Unary:
    """tanh(x)."""
    return torch.tanh


def relu(config: NoOptions) -> Unary:
    """max(x, 0)."""
    return torch.relu


def sigmoid(config: NoOptions) -> Unary:
    """1 / (1 + exp(-x))."""
    return torch.sigmoid


def identity(config: NoOptions) -> Unary:
    """x."""
    return _itself


def _itself(x: Tensor) -> Tensor:
    return x


def tanh_derivative(config: NoOptions) -> Derivative:
    """1 - y^2."""
    return lambda x, y: 1 - y * y


def relu_derivative(config: NoOptions) -> Derivative:
    """1 where y > 0, else 0; 1 at NaN, as autograd has it."""
    return lambda x, y: torch.where(y <= 0, 0.0, 1.0).to(y.dtype)


def sigmoid_derivative(config: NoOptions) -> Derivative:
    """y * (1 - y)."""
    return lambda x, y: y * (1 - y)


def identity_derivative(config: NoOptions) -> Derivative:
    """1."""
    return lambda x, y: torch.ones_like(x)


def projection(config: ProjectionOptions) -> Callable[..., Tensor]:
    """``[..., H] @ [H, 2H] (+ [2H])``."""
    return _affine if config.bias else torch.matmul


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.matmul(x, weight) + bias


def highway(config: NoOptions, activation: Unary) -> Callable[[Tensor, Tensor], Tensor]:
    """The highway step: state ``[..., H]``, pre-activations ``[..., 2H]`` (candidate, gate) to ``[..., H]``.

    ``lerp(s, f(u), c)`` is ``s + c * (f(u) - s)``, one kernel forward and exact at c = 0 and c = 1.
    """

    def step(state: Tensor, pre: Tensor) -> Tensor:
        u, t = pre.chunk(2, -1)
        return torch.lerp(state, activation(u), torch.sigmoid(t))

    return step


def add(config: NoOptions) -> Callable[[Tensor, Tensor], Tensor]:
    """a + b."""
    return torch.add


def mask(config: NoOptions) -> Callable[[Tensor, Tensor | None], Tensor]:
    """x * mask; x itself where the mask is None."""
    return _masked


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask


def clip_norm(config: ClipNormOptions) -> Unary:
    """Rows of ``[..., H]`` longer than `max_norm` are scaled to it. Zero rows pass without dividing by zero."""
    limit = config.max_norm

    def clip(x: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x * (limit / norm.clamp_min(limit))

    return clip
