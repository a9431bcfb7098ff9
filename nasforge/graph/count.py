"""Parameters and FLOPs of architectures, and the size of the shared bank, from declarations alone: without torch.

FLOPs are those of one example and one time step: a template that is scanned over time counts once. A multiply-add
counts two; a merge of k values costs k - 1 additions per element, a mean one division more, a concatenation nothing. A
part of an operation (the activation of a highway step) is applied to values of the shape of its result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, product

from nasforge.components import Operation, Shape, WeightSpec
from nasforge.errors import SpaceError
from nasforge.graph.plan import Plan, Step, call_scope, plan_architecture, plan_support, weight_key
from nasforge.graph.supergraph import Chosen, Combine, OperationUse, Supergraph
from nasforge.graph.uses import operation_options, parameter_set

MOST_VALUES = 4096
"""Combinations of searched parameters of one operation among which the largest set of weights is looked for."""


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


@dataclass(frozen=True)
class _Called:
    """What a call of a template costs.

    Attributes:
        shape: of its output.
        flops: of one call.
        sets: its own parameter sets, named as in a call without scope.
        scopes: the calls in it, by what the names of their sets begin with.
    """

    shape: Shape
    flops: int
    sets: Mapping[str, _Use]
    scopes: Mapping[str, tuple[_Called, ...]]

    @cached_property
    def parameters(self) -> int:
        """Weights of all its sets; those of calls with one scope count once."""
        own = sum(use.parameters for use in self.sets.values())
        if not all(self.scopes) or any(len(calls) > 1 for calls in self.scopes.values()):
            return sum(use.parameters for use in self.all_sets().values())
        return own + sum(calls[0].parameters for calls in self.scopes.values())

    def all_sets(self) -> dict[str, _Use]:
        """Its own sets and those of all calls in it."""
        found = dict(self.sets)
        for scope, calls in self.scopes.items():
            for call in calls:
                for key, use in call.all_sets().items():
                    _enter(found, scope + key, use)
        return found


def merged_shape(combine: Combine, shapes: Sequence[Shape]) -> Shape:
    """The shape of a merge: that of its inputs; of a concatenation with all their channels."""
    if combine != "concat":
        return shapes[0]
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


class Meter:
    """Counts what architectures of one supergraph cost.

    Args:
        supergraph: the compiled space.
        operations: the catalogue's operations by name.
        shapes: the shape of each input of the main template under the choices of an architecture, without time and
            batch.
    """

    def __init__(
        self,
        supergraph: Supergraph,
        operations: Mapping[str, Operation],
        shapes: Callable[[Mapping[str, str]], Mapping[str, Shape]],
    ) -> None:
        self._supergraph = supergraph
        self._operations = operations
        self._shapes = shapes
        self._largest_sets = False
        self._uses: dict[tuple[OperationUse, tuple[Shape, ...]], _Use] = {}

    def count(self, architecture: Mapping[str, str]) -> Counts:
        """What the child of `architecture` costs.

        Raises:
            SpaceError: nodes that share a parameter set disagree about its tensors.
            PluginError: it uses an operation that no plugin registers.
        """
        return self._count(plan_architecture(self._supergraph, architecture), architecture)

    def bank(self) -> int:
        """Number of weights of the bank that all architectures share: every set that one of them can use, once.

        A set whose size decisions say counts as large as it can be, for the largest numbers of channels.

        Raises: as `count`.
        """
        every = {
            name: frozenset(wire.number for wire in template.wires)
            for name, template in self._supergraph.templates.items()
        }
        largest = {each.decision: _largest(each) for each in self._chosen()}
        self._largest_sets = True
        try:
            return self._count(plan_support(self._supergraph, every, largest), largest).parameters
        finally:
            self._largest_sets = False

    def _largest_use(self, step: Step, shapes: tuple[Shape, ...]) -> _Use:
        """The use with the most weights, of all values of the parameters that decisions say."""
        assert step.operation is not None and step.node.operation is not None
        searched = [(key, value) for key, value in step.node.operation.parameters if isinstance(value, Chosen)]
        if not searched:
            return self._use(step.operation, shapes)
        uses = []
        for values in islice(product(*(value.values for _, value in searched)), MOST_VALUES):
            said = {key: value for (key, _), (_, value) in zip(searched, values, strict=True)}
            parameters = tuple((key, said.get(key, value)) for key, value in step.operation.parameters)
            uses.append(self._use(replace(step.operation, parameters=parameters), shapes))
        return max(uses, key=lambda use: use.parameters)

    def _chosen(self) -> list[Chosen]:
        uses = [n.operation for t in self._supergraph.templates.values() for n in t.nodes.values() if n.operation]
        width = self._supergraph.width
        return [each for use in uses for each in use.chosen] + ([] if width is None else [width])

    def _count(self, plan: Plan, choices: Mapping[str, str]) -> Counts:
        called = self._template(plan, "main", tuple(self._shapes(choices).items()), {})
        return Counts(called.parameters, called.flops)

    def _template(
        self,
        plan: Plan,
        name: str,
        inputs: tuple[tuple[str, Shape], ...],
        known: dict[tuple[str, tuple[tuple[str, Shape], ...]], _Called],
    ) -> _Called:
        """What a call costs; calls of one template with inputs of equal shapes are looked at once."""
        found = known.get((name, inputs))
        if found is not None:
            return found
        steps = plan.templates[name]
        shapes, flops = dict(inputs), 0
        sets: dict[str, _Use] = {}
        scopes: dict[str, tuple[_Called, ...]] = {}
        for step in steps.steps:
            node, read = step.node, tuple([shapes[source] for source in step.inputs])
            if step.operation is not None:
                use = self._use(step.operation, read) if not self._largest_sets else self._largest_use(step, read)
                shape, cost = use.shape, use.flops
                if use.weights:
                    _enter(sets, weight_key(steps.template, node), use)
            elif node.role == "merge":
                shape = merged_shape(node.combine, read)
                additions = len(read) - 1 + (node.combine == "mean" and len(read) > 1)
                cost = 0 if node.combine == "concat" else additions * math.prod(shape)
            else:
                called = self._template(plan, node.template, _given(step, plan, shapes), known)
                shape, cost = called.shape, called.flops
                scope = call_scope(node)
                scopes[scope] = (*scopes.get(scope, ()), called)
            shapes[step.name] = shape
            flops += cost
        known[name, inputs] = _Called(shapes[steps.output], flops, sets, scopes)
        return known[name, inputs]

    def _use(self, operation: OperationUse, shapes: tuple[Shape, ...]) -> _Use:
        found = self._uses.get((operation, shapes))
        if found is None:
            options = operation_options(operation, self._operations)
            declared = self._operations[operation.name]
            shape = declared.shape(options, shapes)
            flops = declared.flops(options, shapes) + sum(self._use(part, (shape,)).flops for part in operation.parts)
            weights = parameter_set(declared, options, shapes)
            found = _Use(shape, weights, sum(math.prod(spec.shape) for spec in weights), flops)
            self._uses[operation, shapes] = found
        return found


def _given(step: Step, plan: Plan, shapes: Mapping[str, Shape]) -> tuple[tuple[str, Shape], ...]:
    """The inputs of the template that a call or a scan names, with their shapes."""
    if step.node.role == "scan":
        return tuple((key, shapes[source]) for key, _, source in step.node.bind)
    names = plan.templates[step.node.template].template.inputs
    return tuple((name, shapes[source]) for name, source in zip(names, step.inputs, strict=True))


def _enter(sets: dict[str, _Use], key: str, use: _Use) -> None:
    shared = sets.setdefault(key, use)
    if shared is not use and shared.weights != use.weights:
        raise SpaceError(f"nodes that share the weights '{key}' disagree: {shared.weights} and {use.weights}")


def _largest(chosen: Chosen) -> str:
    """The option of the largest number; the first of values that are no numbers."""
    numbers = [(value, option) for option, value in chosen.values if isinstance(value, int | float)]
    return max(numbers)[1] if numbers else chosen.values[0][0]
