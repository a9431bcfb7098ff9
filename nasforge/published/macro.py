"""The encoding of macro networks: the authors' numbers (melodyguan/enas, ``src/cifar10/general_child.py``).

The first layer is its operation; layer l is its operation and then l - 1 bits, which say whether the stem and layers 1
to l - 2 are added. The layer right before has no bit: it is always read. docs/published.md shows the network that the
authors trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nasforge.components import Encoding
from nasforge.errors import SpaceError, UsageError
from nasforge.graph.supergraph import OperationUse
from nasforge.published.numbers import read_numbers
from nasforge.published.said import MAX_FAULTS, Said, check_known, check_says, operation_of
from nasforge.published.words import counted, sizes_of
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace

if TYPE_CHECKING:
    from nasforge.kinds.macro_network import MacroNetworkSpec

OPERATIONS = tuple(
    OperationUse(name, (("kernel", kernel),))
    for name, kernel in (("conv", 3), ("sep_conv", 3), ("conv", 5), ("sep_conv", 5), ("avg_pool", 3), ("max_pool", 3))
)
BITS = ("no", "yes")
"""The options of a skip connection, by their bits."""


def read_macro(text: str, spec: MacroNetworkSpec, space: SearchSpace) -> Architecture:
    """Each layer's operation, then bits for the stem and all earlier layers but the last; ``/`` may be in between."""
    numbers = read_numbers("enas-macro", text.replace("/", " "))
    count = (math.isqrt(8 * len(numbers) + 1) - 1) // 2
    if _length(count) != len(numbers):
        raise UsageError(
            f"enas-macro: {len(numbers)} numbers; L layers have L (L + 1) / 2, their operations and 0, 1, 2, ... bits: "
            f"{_length(count)} for {counted(count, 'layer')}, {_length(count + 1)} for {count + 1}"
        )
    rows = [numbers[_length(layer) : _length(layer + 1)] for layer in range(count)]
    _check_parts(text)
    _check_numbers(rows)
    sizes = (spec.layers,) if isinstance(spec.layers, int) else spec.layers.from_
    if count not in sizes:
        kept = [layer for layer in spec.reduce_after if layer < count]
        override = f"the override space.layers={count} makes"
        if len(kept) < len(spec.reduce_after):
            override = f"the overrides space.layers={count} and 'space.reduce_after={kept}' make"
        raise SpaceError(f"the text describes a network of {sizes_of(count, sizes, 'layer')}; {override} them fit")
    if spec.each.skips is None:
        _check_no_skips(rows)
    said = Said("enas-macro", space)
    if not isinstance(spec.layers, int):
        said.put("the number of layers", spec.layers.use or "layers", str(count))
    for layer, (operation, *bits) in enumerate(rows):
        name = f"layer{layer + 1}"
        said.operation(name, f"{name}.op", spec.each.op, OPERATIONS[operation])
        for source, bit in zip(_sources(layer), bits, strict=True):
            if spec.each.skips is not None:
                said.put(f"the skip from {source} to {name}", f"{name}.skip.{source}", BITS[bit])
    return said.architecture()


def write_macro(architecture: Mapping[str, str], spec: MacroNetworkSpec, space: SearchSpace) -> str:
    """The inverse of `read_macro`, on one line without ``/``, as the authors' code takes it."""
    count = spec.layers if isinstance(spec.layers, int) else int(architecture[spec.layers.use or "layers"])
    names = [f"layer{layer + 1}" for layer in range(count)]
    uses = [operation_of(architecture, f"{name}.op", spec.each.op) for name in names]
    check_known("enas-macro", dict(zip(names, uses, strict=True)), OPERATIONS)
    numbers: list[int] = []
    for layer, (name, use) in enumerate(zip(names, uses, strict=True)):
        options = (architecture.get(f"{name}.skip.{source}", BITS[0]) for source in _sources(layer))
        numbers += [OPERATIONS.index(use), *map(BITS.index, options)]
    text = " ".join(map(str, numbers))
    check_says("enas-macro", architecture, read_macro(text, spec, space))
    return text


def _length(count: int) -> int:
    """How many numbers a network of `count` layers is."""
    return count * (count + 1) // 2


def _sources(layer: int) -> list[str]:
    """What the bits of a layer are about, as the space calls it."""
    return ["stem", *(f"layer{earlier}" for earlier in range(1, layer))] if layer else []


def _check_parts(text: str) -> None:
    """Raise UsageError for every ``/`` that does not stand between two layers."""
    parts = [len(part.split()) for part in text.split("/")]
    faults = [
        f"part {layer + 1} between '/' has {counted(length, 'number')}; layer{layer + 1} has {layer + 1}"
        for layer, length in enumerate(parts)
        if length != layer + 1
    ]
    if len(parts) > 1 and faults:
        raise UsageError("\n".join(f"enas-macro: {fault}" for fault in faults[:MAX_FAULTS]))


def _check_numbers(rows: Sequence[Sequence[int]]) -> None:
    """Raise UsageError for every number that is out of range."""
    known = ", ".join(f"{number} {use.label}" for number, use in enumerate(OPERATIONS))
    faults: list[str] = []
    for layer, (operation, *bits) in enumerate(rows):
        start = _length(layer) + 1
        if operation >= len(OPERATIONS):
            faults.append(f"number {start} is {operation}, the operation of layer{layer + 1}; operations are {known}")
        faults += [
            f"number {start + index} is {bit}, whether {source} skips to layer{layer + 1}; it must be 0 or 1"
            for index, (source, bit) in enumerate(zip(_sources(layer), bits, strict=True), 1)
            if bit > 1
        ]
    if faults:
        raise UsageError("\n".join(f"enas-macro: {fault}" for fault in faults[:MAX_FAULTS]))


def _check_no_skips(rows: Sequence[Sequence[int]]) -> None:
    """Raise SpaceError for every bit that is 1."""
    faults = [
        f"number {_length(layer) + 1 + index} is 1, a skip from {source} to layer{layer + 1}, but the space has "
        "none; the override 'space.each.skips={choose: any, from: previous}' makes them fit"
        for layer, (_, *bits) in enumerate(rows)
        for index, (source, bit) in enumerate(zip(_sources(layer), bits, strict=True), 1)
        if bit
    ]
    if faults:
        raise SpaceError("\n".join(faults[:MAX_FAULTS]))


ENCODINGS: Mapping[str, Encoding] = {
    "enas-macro": Encoding(
        "enas-macro",
        "the authors' code: operation of each layer, by number, and a bit for each that may be skipped to it",
        read_macro,
        write_macro,
    )
}
"""The encodings of macro networks, by name."""
