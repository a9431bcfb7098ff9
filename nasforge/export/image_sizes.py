"""The constructor of a cell's class: sizes that differ between its instances, as expressions of a few arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nasforge.components import Operation, Shape
from nasforge.errors import NasforgeError
from nasforge.export.image_shapes import Sized, sized
from nasforge.export.names import Namespace
from nasforge.graph.plan import Plan

_LARGEST_FACTOR = 64

Vector = tuple[int, ...]
"""One size in every instance of a class, then in the probes."""


@dataclass
class Constructor:
    """What a class is told about its sizes.

    Attributes:
        texts: an expression for each of `Sized.sizes`.
        arguments: names of arguments to their value in each instance.
    """

    texts: list[str] = field(default_factory=list)
    arguments: dict[str, Vector] = field(default_factory=dict)


def constructor(plan: Plan, operations: Mapping[str, Operation], instances: Sequence[Sized]) -> Constructor:
    """The arguments are channels of inputs, as far as they say the sizes; others are added where they must be.

    That a size depends on the channels, and is not equal to them by chance, is seen in two probes: the same template
    with other channels.

    Args:
        plan: of the whole network.
        operations: the catalogue's operations.
        instances: calls of one template, with equal signatures.
    """
    all_of_them = [*instances, *_probes(plan, operations, instances[0])]
    inputs = instances[0].plan.template.inputs
    channels = {name: tuple(each.shapes[name][0] for each in all_of_them) for name in inputs}
    names = Namespace()
    if len(set(channels.values())) == 1:
        known = {names.take("channels"): next(iter(channels.values()))}
    else:
        known = {names.take(f"{name}_channels"): vector for name, vector in channels.items()}
    texts: list[str] = []
    n = len(instances)
    for vector in zip(*(each.sizes for each in all_of_them), strict=True):
        text = _text(vector, known)
        if text is None and len(set(vector[:n])) == 1:
            text = str(vector[0])
        if text is None:
            text = _text(vector[:n], {name: values[:n] for name, values in known.items()})
        if text is None:
            text = names.take("more_channels")
            known[text] = vector
        texts.append(text)
    used = {word for text in texts for word in text.split()}
    return Constructor(texts, {name: vector[:n] for name, vector in known.items() if name in used})


def _probes(plan: Plan, operations: Mapping[str, Operation], like: Sized) -> list[Sized]:
    found: list[Sized] = []
    for factor, more in ((2, 0), (3, 1)):
        shapes: dict[str, Shape] = {}
        for name in like.plan.template.inputs:
            channels, *rest = like.shapes[name]
            shapes[name] = (factor * channels + more, *rest)
        try:
            probe = sized(plan, like.plan, operations, shapes, "a probe")
        except NasforgeError:  # an operation that refuses such channels
            continue
        if probe.signature == like.signature:
            found.append(probe)
    return found


def _text(vector: Vector, known: Mapping[str, Vector]) -> str | None:
    """A size as a number, an argument, a multiple, a part or what is left by half of one."""
    if len(set(vector)) == 1 and any(len(set(values)) > 1 for values in known.values()):
        return str(vector[0])
    for name, values in known.items():
        for factor in range(1, _LARGEST_FACTOR + 1):
            pairs = list(zip(vector, values, strict=True))
            if all(size == factor * value for size, value in pairs):
                return name if factor == 1 else f"{factor} * {name}"
            if all(size == value // factor for size, value in pairs):
                return f"{name} // {factor}"
            if factor == 2 and all(size == value - value // factor for size, value in pairs):
                return f"{name} - {name} // {factor}"
    return None
