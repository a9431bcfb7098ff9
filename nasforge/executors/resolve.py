"""From a use of an operation to the function behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nasforge.components import Operation, Options
from nasforge.errors import PluginError
from nasforge.graph.supergraph import OperationUse
from nasforge.resolve import resolve


def operation_options(use: OperationUse, operations: Mapping[str, Operation]) -> Options:
    """The validated parameters of a use, as an instance of its operation's config model.

    Raises:
        PluginError: no plugin registers the operation.
    """
    if use.name not in operations:
        raise PluginError(f"the graph uses the operation '{use.name}', which no plugin here registers")
    return operations[use.name].config(**dict(use.parameters))


def operation_function(use: OperationUse, operations: Mapping[str, Operation]) -> Callable[..., Any]:
    """The function that computes a use: ``function(*inputs, *weights) -> Tensor``."""
    parts = [operation_function(part, operations) for part in use.parts]
    function: Callable[..., Any] = resolve(operations[use.name].build)(operation_options(use, operations), *parts)
    return function
