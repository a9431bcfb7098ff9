"""What the class of a cell is made of besides its steps: parameters with good names, and helper functions."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from nasforge.components import Operation, Shape
from nasforge.errors import NasforgeError
from nasforge.export.names import Namespace, identifier
from nasforge.graph.plan import Step, TemplatePlan, weight_key
from nasforge.graph.supergraph import Node, OperationUse
from nasforge.graph.uses import operation_options, parameter_set


@dataclass(frozen=True)
class Weight:
    """One parameter of the class: the key of its set in the weight bank, its attribute and its shape."""

    key: str
    attribute: str
    shape: Shape


def cell_weights(
    plan: TemplatePlan, operations: Mapping[str, Operation], shapes: Mapping[str, Shape]
) -> Mapping[str, Weight]:
    """The parameters of the plan by their names in the bank, in order of first use, as the interpreter finds them."""
    shapes = dict(shapes)
    specs: dict[str, tuple[Node, list[tuple[str, Shape]]]] = {}
    for step in plan.steps:
        node = step.node
        if node.template:
            raise NasforgeError(f"'{step.name}' calls a template inside of a cell, which the export does not write")
        given = [shapes[source] for source in step.inputs]
        if step.operation is None:
            if len(given) == 1:
                raise NasforgeError(f"'{step.name}' is a merge of a plan for gates; export the plan of an architecture")
            shapes[step.name] = given[0]
            continue
        operation, options = operations[step.operation.name], operation_options(step.operation, operations)
        shapes[step.name] = operation.shape(options, given)
        wanted = [(spec.name, spec.shape) for spec in parameter_set(operation, options, given)]
        if not wanted:
            continue
        _, there = specs.setdefault(weight_key(plan.template, node), (node, wanted))
        if there != wanted:
            raise NasforgeError(f"nodes that share the weights '{node.share}' disagree: {there} and {wanted}")
    return _attributes(specs)


def _attributes(specs: Mapping[str, tuple[Node, list[tuple[str, Shape]]]]) -> Mapping[str, Weight]:
    names = Namespace({*dir(nn.Module()), "project"})
    owners = [node.owner or node.name for node, _ in specs.values()]
    found: dict[str, Weight] = {}
    for (key, (node, wanted)), owner in zip(specs.items(), owners, strict=True):
        base = _plain_node(node) if owners.count(owner) > 1 else owner
        for name, shape in wanted:
            found[f"{key}.{name}"] = Weight(key, names.take(f"{identifier(base)}_{identifier(name)}"), shape)
    return found


def plain_name(name: str, plan: TemplatePlan) -> str:
    """The owner and role of the node of that name, without the labels of options (see `identifier`)."""
    return _plain_node(plan.template.nodes[name])


def _plain_node(node: Node) -> str:
    """Owner and role of a node, without the labels of options: ``node0.x`` of ``node0.x.leaky_relu(slope=0.1)``."""
    if not node.owner or not node.name.startswith(f"{node.owner}."):
        return node.name
    role = node.name.removeprefix(f"{node.owner}.").partition(".")[0]
    return f"{node.owner}.{role}"


def size_text(size: int, width: int) -> str:
    """A size as a multiple of ``width`` where it is one."""
    if size == width:
        return "width"
    return f"{size // width} * width" if size and size % width == 0 else str(size)


def operation_text(
    use: OperationUse, operations: Mapping[str, Operation], inputs: Sequence[str], weights: Sequence[str]
) -> str:
    """The expression of an operation, from those of its inputs and of its weights and norms."""
    options = operation_options(use, operations)
    return operations[use.name].source(options, inputs, weights, [_Part(part, operations) for part in use.parts])


@dataclass(frozen=True)
class _Part:
    """A part of an operation: a function from an expression to an expression."""

    use: OperationUse
    operations: Mapping[str, Operation]

    def __call__(self, value: str) -> str:
        return operation_text(self.use, self.operations, [value], [])


def helpers_of(
    steps: Iterable[Step], operations: Mapping[str, Operation], reserved: Collection[str]
) -> tuple[str, ...]:
    """The helpers of all operations of the steps, equal texts once, in order of first use."""
    texts: dict[str, None] = {}
    for step in steps:
        for use in _with_parts(step.operation):
            texts.update(dict.fromkeys(text.strip("\n") for text in operations[use.name].helpers))
    owner: dict[str, str] = {}
    for text in texts:
        for name in defined_functions(text):
            if name in reserved or name in owner:
                raise NasforgeError(f"two functions of the exported code are named '{name}'; rename a helper")
            owner[name] = text
    return tuple(texts)


def _with_parts(use: OperationUse | None) -> Iterator[OperationUse]:
    if use is not None:
        yield use
        for part in use.parts:
            yield from _with_parts(part)


def defined_functions(text: str) -> list[str]:
    """The names of the functions that a helper defines."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise NasforgeError(f"an operation's helper does not parse: {error}:\n{text}") from None
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    if len(functions) != len(body) or not functions:
        raise NasforgeError(f"an operation's helper must consist of functions:\n{text}")
    return [node.name for node in functions]
