"""Operations bound to parameter sets of a bank: found once, and the same for every child that uses them.

To bind a child of a macro network of twelve layers anew, with a hundred operations, takes longer than a forward pass of
a small one; in a search nearly every operation of a new child was part of an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from nasforge.components import Operation, Shape
from nasforge.executors.bank import WeightBank
from nasforge.executors.drops import DropPath
from nasforge.executors.norms import BatchNorm
from nasforge.executors.resolve import operation_function
from nasforge.graph.supergraph import OperationUse
from nasforge.graph.uses import operation_options, parameter_set

Function = Callable[..., Tensor]


@dataclass(frozen=True)
class BoundOperation:
    """An operation with the parameter set of one key, for inputs of given shapes.

    Attributes:
        operation: the catalogue's.
        function: what computes it.
        weights: its parameters, then its batch norms.
        shape: of its value, without time and batch.
        parameters: by name in the bank.
        statistics: running statistics of its batch norms, by name in the bank.
    """

    operation: Operation
    function: Function
    weights: tuple[nn.Parameter | BatchNorm, ...]
    shape: Shape
    parameters: Mapping[str, nn.Parameter]
    statistics: Mapping[str, Tensor]


def bound_operation(
    use: OperationUse,
    operations: Mapping[str, Operation],
    bank: WeightBank,
    key: str,
    shapes: tuple[Shape, ...],
    drop: float,
) -> BoundOperation:
    """The operation of a node, with its weights, which are allocated where they are not there yet.

    Args:
        use: the operation, with all values decided.
        operations: the catalogue's operations by name.
        bank: where weights come from, and where what was bound is kept.
        key: of its parameter set.
        shapes: of its inputs, without time and batch.
        drop: how strongly drop-path drops its value.

    Raises:
        SpaceError: nodes that share the key disagree about its tensors.
    """
    operation, place = operations[use.name], (key, use, shapes, drop)
    found: BoundOperation | None = bank.bound.get(place)
    if found is None or found.operation is not operation:
        found = bank.bound[place] = _bind(operation, use, operations, bank, key, shapes, drop)
    return found


def _bind(
    operation: Operation,
    use: OperationUse,
    operations: Mapping[str, Operation],
    bank: WeightBank,
    key: str,
    shapes: tuple[Shape, ...],
    drop: float,
) -> BoundOperation:
    options = operation_options(use, operations)
    specs, norms = parameter_set(operation, options, shapes), operation.norms(options, shapes)
    weights = bank.take(key, specs) if specs else ()
    own = len(weights) - 2 * len(norms)
    statistics: dict[str, Tensor] = {}
    functions: list[BatchNorm] = []
    for number, norm in enumerate(norms):
        running = bank.statistics(key, norm)
        statistics |= running
        scale, offset = weights[own + 2 * number : own + 2 * number + 2]
        mean, variance = running.values()
        functions.append(BatchNorm(scale, offset, mean, variance, bank.modes.norms))
    function: Function = operation_function(use, operations)
    if drop:
        function = DropPath(function, drop, bank.modes.drops)
    named = {f"{key}.{spec.name}": weight for spec, weight in zip(specs, weights, strict=True)}
    whole: tuple[nn.Parameter | BatchNorm, ...] = (*weights[:own], *functions)
    return BoundOperation(operation, function, whole, operation.shape(options, shapes), named, statistics)
