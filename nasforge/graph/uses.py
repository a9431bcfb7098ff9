"""From a use of an operation to its validated parameters."""

from __future__ import annotations

from collections.abc import Mapping

from nasforge.components import Operation, Options
from nasforge.errors import PluginError
from nasforge.graph.supergraph import OperationUse


def operation_options(use: OperationUse, operations: Mapping[str, Operation]) -> Options:
    """The validated parameters of a use, as an instance of its operation's config model.

    Raises:
        PluginError: no plugin registers the operation.
    """
    if use.name not in operations:
        raise PluginError(f"the graph uses the operation '{use.name}', which no plugin here registers")
    return operations[use.name].config(**dict(use.parameters))
