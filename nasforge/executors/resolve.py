"""From a use of an operation to the function behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nasforge.components import Operation
from nasforge.graph.supergraph import OperationUse
from nasforge.graph.uses import operation_options
from nasforge.resolve import resolve


def operation_function(use: OperationUse, operations: Mapping[str, Operation]) -> Callable[..., Any]:
    """The function that computes a use: ``function(*inputs, *weights) -> Tensor``."""
    parts = [operation_function(part, operations) for part in use.parts]
    function: Callable[..., Any] = resolve(operations[use.name].build)(operation_options(use, operations), *parts)
    return function
