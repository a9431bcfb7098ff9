"""Activations as the fused cell runs them: in place, on a view of a buffer, with their derivatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from nasforge.components import Operation
from nasforge.executors.resolve import operation_function
from nasforge.graph.supergraph import OperationUse
from nasforge.graph.uses import operation_options
from nasforge.resolve import resolve

_aten = torch.ops.aten


class Kernel(ABC):
    """One activation f; subclasses are final and keep no state.

    Attributes:
        keeps_input: whether `backward` needs the input.
    """

    keeps_input = False

    @abstractmethod
    def forward(self, x: Tensor) -> None:
        """Put f(x) in place of `x`, of any shape and strides."""

    @abstractmethod
    def backward(self, gradient: Tensor, y: Tensor, x: Tensor | None) -> None:
        """Put ``gradient * f'(x)`` in place of `y` = f(x); `x` is given where `keeps_input`."""


class _Tanh(Kernel):
    def forward(self, x: Tensor) -> None:
        x.tanh_()

    def backward(self, gradient: Tensor, y: Tensor, x: Tensor | None) -> None:
        _aten.tanh_backward.grad_input(gradient, y, grad_input=y)


class _Relu(Kernel):
    def forward(self, x: Tensor) -> None:
        x.relu_()

    def backward(self, gradient: Tensor, y: Tensor, x: Tensor | None) -> None:
        _aten.threshold_backward.grad_input(gradient, y, 0, grad_input=y)


class _Sigmoid(Kernel):
    def forward(self, x: Tensor) -> None:
        x.sigmoid_()

    def backward(self, gradient: Tensor, y: Tensor, x: Tensor | None) -> None:
        _aten.sigmoid_backward.grad_input(gradient, y, grad_input=y)


class _Identity(Kernel):
    def forward(self, x: Tensor) -> None:
        return None

    def backward(self, gradient: Tensor, y: Tensor, x: Tensor | None) -> None:
        y.copy_(gradient)


class _FromPair(Kernel):
    """An activation of a plugin that brings its derivative."""

    keeps_input = True

    def __init__(self, function: Callable[[Tensor], Tensor], derivative: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._function, self._derivative = function, derivative

    def forward(self, x: Tensor) -> None:
        x.copy_(self._function(x))

    def backward(self, gradient: Tensor, y: Tensor, x: Tensor | None) -> None:
        assert x is not None
        torch.mul(gradient, self._derivative(x, y), out=y)


OWN: Mapping[str, type[Kernel]] = {
    f"nasforge.ops.recurrent_torch:{name}": kernel
    for name, kernel in (("tanh", _Tanh), ("relu", _Relu), ("sigmoid", _Sigmoid), ("identity", _Identity))
}
"""By the dotted name of what they compute: a plugin may give another operation the same name."""


def kernel_of(use: OperationUse, operations: Mapping[str, Operation]) -> Kernel | None:
    """The kernel of an activation; None where its registration names no derivative."""
    operation = operations[use.name]
    if operation.build in OWN:
        return OWN[operation.build]()
    if not operation.derivative:
        return None
    derivative = resolve(operation.derivative)(operation_options(use, operations))
    return _FromPair(operation_function(use, operations), derivative)
