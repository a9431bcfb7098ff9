"""From a use of an operation to the function behind it: the one place where `build` names are resolved."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from nasforge.components import Operation, Options
from nasforge.errors import PluginError
from nasforge.graph.supergraph import OperationUse


def resolve(dotted: str) -> Any:
    """The object behind ``package.module:name``.

    Raises:
        PluginError: the module cannot be imported or has no such name; the message gives the cause.
    """
    module_name, _, attribute = dotted.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except Exception as error:
        raise PluginError(f"'{dotted}' cannot be loaded: {type(error).__name__}: {error}") from error


def operation_options(use: OperationUse, operations: Mapping[str, Operation]) -> Options:
    """The validated parameters of a use, as an instance of its operation's config model."""
    return operations[use.name].config(**dict(use.parameters))


def operation_function(use: OperationUse, operations: Mapping[str, Operation]) -> Callable[..., Any]:
    """The function that computes a use: ``function(*inputs, *weights) -> Tensor``."""
    parts = [operation_function(part, operations) for part in use.parts]
    function: Callable[..., Any] = resolve(operations[use.name].build)(operation_options(use, operations), *parts)
    return function
