"""The classes of the cells of a network of images: one for each template that is called, made for every call."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from torch import nn

from nasforge.components import Operation
from nasforge.errors import NasforgeError
from nasforge.export.image_class import Call, ClassWriter
from nasforge.export.image_shapes import Sized, sized
from nasforge.export.image_sizes import Constructor, constructor
from nasforge.export.names import Namespace, identifier
from nasforge.graph.plan import Plan, Step, call_scope

NETWORK_ATTRIBUTES = frozenset({*dir(nn.Module()), "classifier", "features"})
"""Attributes of the class of the network that cells cannot be called."""


@dataclass
class CellClasses:
    """The classes of called templates.

    Attributes:
        classes: their names.
        texts: what they are.
        calls: by the calling node, what is called.
        names: names of weights and running statistics in the network to names in the state dict.
        sized: what names of parameter sets in the bank begin with, to the template that owns them.
    """

    classes: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)
    calls: dict[str, Call] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    sized: dict[str, Sized] = field(default_factory=dict)


def cell_classes(
    plan: Plan, operations: Mapping[str, Operation], momentum: float, main: Sized, reserved: Collection[str]
) -> CellClasses:
    """Write the classes; calls whose weights have other names or ranks, since their inputs have, get one of their own.

    Args:
        plan: of the whole network.
        operations: the catalogue's operations.
        momentum: of batch norms.
        main: the calling template.
        reserved: names of the module around the classes.

    Raises:
        NasforgeError: calls that share weights disagree about their shapes, or a template cannot be written.
    """
    made = CellClasses()
    callers: dict[str, list[Step]] = {}
    groups: dict[tuple[str, tuple[object, ...]], list[str]] = {}
    for step in main.plan.steps:
        if step.node.role != "call":
            continue
        called = plan.templates[step.node.template]
        prefix = f"{call_scope(step.node)}{called.template.name}/"
        inputs = dict(zip(called.template.inputs, (main.shapes[source] for source in step.inputs), strict=True))
        of = sized(plan, called, operations, inputs, step.name)
        if prefix not in callers:
            groups.setdefault((called.template.name, of.signature), []).append(prefix)
        elif (of.signature, of.sizes) != (made.sized[prefix].signature, made.sized[prefix].sizes):
            raise NasforgeError(f"calls that share the weights of '{prefix}' disagree about their shapes")
        made.sized.setdefault(prefix, of)
        callers.setdefault(prefix, []).append(step)
    attributes = Namespace(NETWORK_ATTRIBUTES)
    for (template, _), prefixes in groups.items():
        instances = [made.sized[prefix] for prefix in prefixes]
        name = _class_name(template, {*reserved, *made.classes})
        made.classes.add(name)
        sizes = constructor(plan, operations, instances)
        writer = ClassWriter(instances[0], operations, momentum, reserved)
        made.texts.append("\n".join(_cell(name, template, writer, sizes)))
        for number, prefix in enumerate(prefixes):
            arguments = ", ".join(str(values[number]) for values in sizes.arguments.values())
            call = Call(attributes.take(callers[prefix][0].name), f"{name}({arguments})")
            made.calls |= {step.name: call for step in callers[prefix]}
            made.names |= {f"core.{prefix}{s}.{n}": f"{call.attribute}.{own}" for s, n, own in writer.names}
    return made


def _cell(name: str, template: str, writer: ClassWriter, sizes: Constructor) -> Iterator[str]:
    words = identifier(template).replace("_", " ")
    nodes = f"{writer.n_nodes} node{'s' * (writer.n_nodes != 1)}"
    yield f"class {name}(nn.Module):"
    yield f'    """The searched {words.removesuffix(" cell")} cell ({nodes})."""'
    yield ""
    if sizes.texts:
        arguments = "".join(f", {each}: int" for each in sizes.arguments)
        yield f"    def __init__(self{arguments}) -> None:"
        yield "        super().__init__()"
        yield from writer.creation(sizes.texts)
        yield ""
    yield from writer.forward("forward", "From its inputs to its output, each `[n, channels, height, width]`.")


def _class_name(template: str, taken: Collection[str]) -> str:
    words = identifier(template).removesuffix("_cell").split("_")
    base = name = "".join(word.capitalize() for word in words) + "Cell"
    number = 2
    while name in taken:
        name, number = f"{base}{number}", number + 1
    return name
