"""From a use of an operation to its validated parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from nasforge.components import Operation, Options, Shape, WeightSpec
from nasforge.errors import PluginError, SpaceError
from nasforge.graph.supergraph import OperationUse


def parameter_set(operation: Operation, options: Options, shapes: Sequence[Shape]) -> tuple[WeightSpec, ...]:
    """All weights of a use: its own, then scale and offset of each of its batch norms."""
    norms = operation.norms(options, shapes)
    return (*operation.weights(options, shapes), *(spec for norm in norms for spec in norm.weights))


def operation_options(use: OperationUse, operations: Mapping[str, Operation]) -> Options:
    """The validated parameters of a use, as an instance of its operation's config model.

    Raises:
        PluginError: no plugin registers the operation.
        SpaceError: it does not take the parameters.
    """
    if use.name not in operations:
        raise PluginError(f"the graph uses the operation '{use.name}', which no plugin here registers")
    try:
        return operations[use.name].config(**dict((*use.parameters, *use.given)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise SpaceError(f"the operation {use.whole_label} cannot be: {where}: {first['msg']}") from None
