"""What the steps of a template own, given the shapes of its inputs: as the interpreter binds them, without values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nasforge.components import NormSpec, Operation, Shape, WeightSpec
from nasforge.errors import NasforgeError
from nasforge.graph.count import merged_shape
from nasforge.graph.plan import Plan, Step, TemplatePlan
from nasforge.graph.supergraph import Node
from nasforge.graph.uses import operation_options


@dataclass(frozen=True)
class ParameterSet:
    """The parameter set of one share key: the first node that uses it, its weights and its batch norms."""

    node: Node
    weights: tuple[WeightSpec, ...]
    norms: tuple[NormSpec, ...]


@dataclass(frozen=True)
class Sized:
    """A template with inputs of given shapes.

    Attributes:
        plan: its steps.
        sets: parameter sets by share key, in order of first use; those without tensors are left out.
        shapes: the shape (channels, height, width) of every value.
    """

    plan: TemplatePlan
    sets: Mapping[str, ParameterSet]
    shapes: Mapping[str, Shape]

    @property
    def signature(self) -> tuple[object, ...]:
        """Equal for two instances of a template that one class can be, with other sizes."""
        return tuple(
            (share, tuple((w.name, len(w.shape)) for w in each.weights), tuple(norm.name for norm in each.norms))
            for share, each in self.sets.items()
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Every size of every weight and the channels of every batch norm, in order of `sets`."""
        found: list[int] = []
        for each in self.sets.values():
            found += [size for weight in each.weights for size in weight.shape]
            found += [norm.channels for norm in each.norms]
        return tuple(found)


def sized(
    plan: Plan, this: TemplatePlan, operations: Mapping[str, Operation], shapes: Mapping[str, Shape], caller: str = ""
) -> Sized:
    """Follow the shapes through a template.

    Args:
        plan: of the whole network.
        this: of the template.
        operations: the catalogue's operations.
        shapes: of the template's inputs.
        caller: the node that calls it; empty for the main template.

    Raises:
        NasforgeError: a step is one that exported networks of images cannot have.
    """
    shapes = dict(shapes)
    sets: dict[str, ParameterSet] = {}
    for step in this.steps:
        given = [shapes[source] for source in step.inputs]
        if step.operation is not None:
            operation, options = operations[step.operation.name], operation_options(step.operation, operations)
            shapes[step.name] = operation.shape(options, given)
            wanted = ParameterSet(step.node, operation.weights(options, given), operation.norms(options, given))
            if wanted.weights or wanted.norms:
                there = sets.setdefault(step.node.share, wanted)
                if (there.weights, there.norms) != (wanted.weights, wanted.norms):
                    raise NasforgeError(f"nodes that share the weights '{step.node.share}' disagree about their shapes")
        elif step.node.role == "call":
            if caller:
                raise NasforgeError(f"'{step.name}' calls a template inside of '{caller}', which is not written")
            called = plan.templates[step.node.template]
            inputs = dict(zip(called.template.inputs, given, strict=True))
            shapes[step.name] = sized(plan, called, operations, inputs, step.name).shapes[called.output]
        else:
            shapes[step.name] = _merged(step, given)
    return Sized(this, sets, shapes)


def _merged(step: Step, given: Sequence[Shape]) -> Shape:
    if step.node.role == "scan":
        raise NasforgeError(f"'{step.name}' is a loop over time, which an image classifier cannot have")
    if not given:
        raise NasforgeError(f"'{step.name}' combines nothing: no wire into it is open")
    if len(given) == 1:
        raise NasforgeError(f"'{step.name}' is a merge of a plan for gates; export the plan of an architecture")
    return merged_shape(step.node.combine, given)
