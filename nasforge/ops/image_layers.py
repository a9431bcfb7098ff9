"""Layers in a row, and what follows from them: output shape, weights and FLOPs of the operations on images.

Shapes are (channels, height, width). A multiply-add counts two FLOPs, and what goes with it is counted as it is when an
image is classified, with the statistics of batch norm known:

* ReLU, and every other function of one value: one per element;
* a convolution: two per weight and output pixel, padding included;
* batch norm: two per element, one multiply-add;
* a pool: as many as its window has pixels, per output element (comparisons; or additions and the division);
* subsampling, shifting and concatenating: none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nasforge.components import NormSpec, Shape, WeightSpec


@dataclass(frozen=True)
class Rectify:
    """max(x, 0)."""


@dataclass(frozen=True)
class Convolve:
    """A convolution without bias, padded so that the output has ceil(size / stride) pixels.

    Attributes:
        kernel: height and width, odd.
        stride: of both directions.
        out: channels of the output; None for as many as come in.
        depthwise: whether each channel has a filter of its own, and reads no other.
        name: of its weight, ``[out, in, kernel, kernel]`` or ``[channels, 1, kernel, kernel]``.
    """

    kernel: int = 1
    stride: int = 1
    out: int | None = None
    depthwise: bool = False
    name: str = "weight"


@dataclass(frozen=True)
class Normalise:
    """Batch norm.

    Attributes:
        name: of it in the operation.
    """

    name: str = "norm"


Layer = Rectify | Convolve | Normalise
Layers = Callable[[Any], Sequence[Layer]]
"""From an operation's config to its layers."""


def strided(shape: Shape, stride: int) -> Shape:
    """The shape of what a stride of 1 or 2 leaves: ceil(size / stride) pixels."""
    channels, height, width = shape
    return channels, math.ceil(height / stride), math.ceil(width / stride)


def convolution_weight(name: str, into: int, out: int, kernel: int = 1) -> WeightSpec:
    """The weight ``[out, into, kernel, kernel]``; one output sums `into` channels of a window."""
    return WeightSpec(name, (out, into, kernel, kernel), fan_in=into * kernel**2)


def output_shape(layers: Layers) -> Callable[[Any, Sequence[Shape]], Shape]:
    """`Operation.shape` of layers in a row."""

    def shape(config: Any, shapes: Sequence[Shape]) -> Shape:
        return [shapes[0], *(after for _, _, after in _walk(layers(config), shapes[0]))][-1]

    return shape


def weight_specs(layers: Layers) -> Callable[[Any, Sequence[Shape]], tuple[WeightSpec, ...]]:
    """`Operation.weights` of layers in a row."""

    def weights(config: Any, shapes: Sequence[Shape]) -> tuple[WeightSpec, ...]:
        return tuple(spec for step in _walk(layers(config), shapes[0]) for spec in _weights(*step))

    return weights


def norm_specs(layers: Layers) -> Callable[[Any, Sequence[Shape]], tuple[NormSpec, ...]]:
    """`Operation.norms` of layers in a row."""

    def norms(config: Any, shapes: Sequence[Shape]) -> tuple[NormSpec, ...]:
        return tuple(
            NormSpec(layer.name, after[0])
            for layer, _, after in _walk(layers(config), shapes[0])
            if isinstance(layer, Normalise)
        )

    return norms


def flop_count(layers: Layers) -> Callable[[Any, Sequence[Shape]], int]:
    """`Operation.flops` of layers in a row."""

    def flops(config: Any, shapes: Sequence[Shape]) -> int:
        return sum(_flops(*step) for step in _walk(layers(config), shapes[0]))

    return flops


def _walk(layers: Sequence[Layer], shape: Shape) -> Iterator[tuple[Layer, Shape, Shape]]:
    """Each layer with the shapes before and after it."""
    for layer in layers:
        after = shape
        if isinstance(layer, Convolve):
            channels, height, width = strided(shape, layer.stride)
            after = (channels if layer.out is None else layer.out), height, width
        yield layer, shape, after
        shape = after


def _weights(layer: Layer, before: Shape, after: Shape) -> tuple[WeightSpec, ...]:
    if isinstance(layer, Convolve):
        return (convolution_weight(layer.name, 1 if layer.depthwise else before[0], after[0], layer.kernel),)
    return ()


def _flops(layer: Layer, before: Shape, after: Shape) -> int:
    if isinstance(layer, Convolve):
        return 2 * math.prod(after) * layer.kernel**2 * (1 if layer.depthwise else before[0])
    return math.prod(after) * (2 if isinstance(layer, Normalise) else 1)
