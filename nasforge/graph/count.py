"""Parameters and FLOPs of architectures, and the size of the shared bank, from declarations alone: without torch.

FLOPs are those of one example and one time step: a template that is scanned over time counts once. A multiply-add
counts two; a merge of k values costs k - 1 additions per element, a mean one division more. A part of an operation
(the activation of a highway step) is applied to values of the shape of its result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nasforge.components import Operation, Shape, WeightSpec
from nasforge.errors import SpaceError
from nasforge.graph.plan import Plan, plan_architecture, plan_support, weight_key
from nasforge.graph.supergraph import OperationUse, Supergraph
from nasforge.graph.uses import operation_options


@dataclass(frozen=True)
class Counts:
    """What a network costs.

    Attributes:
        parameters: number of weights; a set that several nodes share counts once.
        flops: for one example and one time step.
    """

    parameters: int
    flops: int


@dataclass(frozen=True)
class _Use:
    """An operation on inputs of known shapes."""

    shape: Shape
    weights: tuple[WeightSpec, ...]
    parameters: int
    flops: int


class Meter:
    """Counts what architectures of one supergraph cost.

    Args:
        supergraph: the compiled space.
        operations: the catalogue's operations by name.
        shapes: the shape of each input of the main template, without time and batch.
    """

    def __init__(
        self, supergraph: Supergraph, operations: Mapping[str, Operation], shapes: Mapping[str, Shape]
    ) -> None:
        self._supergraph = supergraph
        self._operations = operations
        self._shapes = dict(shapes)
        self._uses: dict[tuple[OperationUse, tuple[Shape, ...]], _Use] = {}

    def count(self, architecture: Mapping[str, str]) -> Counts:
        """What the child of `architecture` costs.

        Raises:
            SpaceError: nodes that share a parameter set disagree about its tensors.
            PluginError: it uses an operation that no plugin registers.
        """
        return self._count(plan_architecture(self._supergraph, architecture))

    def bank(self) -> int:
        """Number of weights of the bank that all architectures share: every set that one of them can use, once.

        Raises: as `count`.
        """
        every = {
            name: frozenset(wire.number for wire in template.wires)
            for name, template in self._supergraph.templates.items()
        }
        return self._count(plan_support(self._supergraph, every)).parameters

    def _count(self, plan: Plan) -> Counts:
        sets: dict[str, _Use] = {}
        _, flops = self._template(plan, "main", self._shapes, sets)
        return Counts(sum(use.parameters for use in sets.values()), flops)

    def _template(self, plan: Plan, name: str, inputs: Mapping[str, Shape], sets: dict[str, _Use]) -> tuple[Shape, int]:
        """The shape of a template's output, and the FLOPs of one call; enters its parameter sets into `sets`."""
        steps = plan.templates[name]
        shapes, flops = dict(inputs), 0
        for step in steps.steps:
            node, read = step.node, tuple(shapes[source] for source in step.inputs)
            if node.operation is not None:
                use = self._use(node.operation, read)
                shape, cost = use.shape, use.flops
                if use.weights:
                    key = weight_key(steps.template, node)
                    shared = sets.setdefault(key, use)
                    if shared is not use and shared.weights != use.weights:
                        raise SpaceError(
                            f"nodes that share the weights '{key}' disagree: {shared.weights} and {use.weights}"
                        )
            elif node.role == "merge":
                shape = read[0]
                additions = len(read) - 1 + (node.combine == "mean" and len(read) > 1)
                cost = additions * math.prod(shape)
            else:
                bound = {key: shapes[source] for key, _, source in node.bind}
                shape, cost = self._template(plan, node.template, bound, sets)
            shapes[step.name] = shape
            flops += cost
        return shapes[steps.output], flops

    def _use(self, operation: OperationUse, shapes: tuple[Shape, ...]) -> _Use:
        found = self._uses.get((operation, shapes))
        if found is None:
            options = operation_options(operation, self._operations)
            declared = self._operations[operation.name]
            shape = declared.shape(options, shapes)
            flops = declared.flops(options, shapes) + sum(self._use(part, (shape,)).flops for part in operation.parts)
            weights = declared.weights(options, shapes)
            found = _Use(shape, weights, sum(math.prod(spec.shape) for spec in weights), flops)
            self._uses[operation, shapes] = found
        return found
