"""Declarations of the operations of networks of images: what cells choose from, and what stands around it.

Values are ``[batch, channels, height, width]``, usually in the memory format ``channels_last``; every operation keeps
the format. Shapes are (channels, height, width). The order within an operation is that of the micro cells of ENAS (Pham
et al. 2018, section 2.4) and of DARTS (Liu et al. 2019): ReLU, convolution, batch norm. Convolutions have no bias.
Height and width become ceil(size / stride). Padding is equal on all sides; the reference code of ENAS (TensorFlow's
``SAME``) pads one pixel less above and on the left where it halves an even size.

Batch norms are declared as such (`Operation.norms`): which statistics they take is the executor's affair. What is
counted as FLOPs is said in `nasforge.ops.image_layers`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from nasforge.components import Family, NoOptions, Operation, Options, Shape, WeightSpec
from nasforge.errors import SpaceError
from nasforge.ops.image_layers import (
    Convolve,
    Layer,
    Layers,
    Normalise,
    Rectify,
    convolution_weight,
    flop_count,
    norm_specs,
    output_shape,
    strided,
    weight_specs,
)
from nasforge.ops.image_options import (
    ConvOptions,
    DilConvOptions,
    OutOptions,
    PoolOptions,
    ReductionOptions,
    SepConvOptions,
    SqueezeOptions,
    ZeroOptions,
)
from nasforge.ops.image_source import (
    CONVOLUTION,
    REDUCTION,
    SEPARABLE,
    SQUEEZE,
    reduction_text,
    separable_text,
    squeeze_text,
    zero_text,
)

_TORCH = "nasforge.ops.image_torch"


def _conv_layers(config: ConvOptions) -> Sequence[Layer]:
    """ReLU, a convolution of all channels, batch norm."""
    return Rectify(), Convolve(config.kernel, config.stride), Normalise()


def _sep_conv_layers(config: SepConvOptions) -> Sequence[Layer]:
    """Each time: ReLU, a filter for every channel, a 1x1 convolution, batch norm."""
    return (
        *_separable(config.kernel, config.stride),
        *(layer for n in range(2, config.repeat + 1) for layer in _separable(config.kernel, 1, f"_{n}")),
    )


def _separable(kernel: int, stride: int, suffix: str = "") -> Sequence[Layer]:
    depthwise = Convolve(kernel, stride, depthwise=True, name=f"depthwise{suffix}")
    return Rectify(), depthwise, Convolve(name=f"pointwise{suffix}"), Normalise(f"norm{suffix}")


def _dil_conv_layers(config: DilConvOptions) -> Sequence[Layer]:
    return _separable(config.kernel, config.stride)


def _stem_layers(config: OutOptions) -> Sequence[Layer]:
    return Convolve(3, out=config.out), Normalise()


def _pointwise_layers(config: OutOptions) -> Sequence[Layer]:
    return Convolve(out=config.out), Normalise(), Rectify()


def _calibrate_layers(config: OutOptions) -> Sequence[Layer]:
    return Rectify(), Convolve(out=config.out), Normalise()


def _reduction_layers(config: ReductionOptions) -> Sequence[Layer]:
    """What costs as much: the two halves of the channels read one pixel in four each, as one convolution would."""
    reduction = Convolve(stride=2, out=config.out), Normalise()
    return (Rectify(), *reduction) if config.relu else reduction


def _reduction_weights(config: ReductionOptions, shapes: Sequence[Shape]) -> tuple[WeightSpec, ...]:
    into = shapes[0][0]
    out = into if config.out is None else config.out
    if out < 2:
        raise SpaceError("factorised_reduction makes half of its channels from each half of the pixels: 1 is too few")
    first = convolution_weight("first", into, out // 2)
    return first, convolution_weight("second", into, out - out // 2)


def _squeeze_weights(config: SqueezeOptions, shapes: Sequence[Shape]) -> tuple[WeightSpec, ...]:
    channels = shapes[0][0]
    hidden = config.hidden(channels)
    return (
        WeightSpec("squeeze", (hidden, channels), fan_in=channels),
        WeightSpec("squeeze_bias", (hidden,), init="zeros"),
        WeightSpec("excite", (channels, hidden), fan_in=hidden),
        WeightSpec("excite_bias", (channels,), init="zeros"),
    )


def _squeeze_flops(config: SqueezeOptions, shapes: Sequence[Shape]) -> int:
    """Means, two matrices with biases, ReLU, sigmoid, product; at stride 2 the pool of four pixels."""
    channels, hidden = shapes[0][0], config.hidden(shapes[0][0])
    gates = 4 * channels * hidden + 2 * hidden + 2 * channels
    pool = 4 * math.prod(strided(shapes[0], 2)) if config.stride == 2 else 0
    return 2 * math.prod(shapes[0]) + gates + pool


def _strided(config: Any, shapes: Sequence[Shape]) -> Shape:
    return strided(shapes[0], config.stride)


def _pool_flops(config: PoolOptions, shapes: Sequence[Shape]) -> int:
    return config.kernel**2 * math.prod(_strided(config, shapes))


Text = Callable[[Any, str, Sequence[str]], str]
"""`Operation.source` of an operation with one input and no parts: from config, input, and weights with norms."""


def _operation(
    name: str,
    summary: str,
    text: Text,
    *helpers: str,
    config: type[Options] = NoOptions,
    family: Family = "image",
    layers: Layers = lambda config: (),
    shape: Callable[[Any, Sequence[Shape]], Shape] | None = None,
    weights: Callable[[Any, Sequence[Shape]], tuple[WeightSpec, ...]] | None = None,
    flops: Callable[[Any, Sequence[Shape]], int] | None = None,
) -> Operation:
    """An operation that consists of `layers`, or whose `shape`, `weights` and `flops` are said."""
    return Operation(
        name,
        summary,
        f"{_TORCH}:{name}",
        lambda options, inputs, values, parts: text(options, inputs[0], values),
        helpers,
        families=(family,),
        config=config,
        shape=shape or output_shape(layers),
        weights=weights or weight_specs(layers),
        flops=flops or flop_count(layers),
        norms=norm_specs(layers),
    )


_CHOICES = (
    _operation(
        "conv",
        "ReLU, convolution, batch norm",
        lambda config, x, w: f"relu_conv_norm({x}, {', '.join(w)}, {config.stride})",
        CONVOLUTION,
        config=ConvOptions,
        layers=_conv_layers,
    ),
    _operation(
        "sep_conv",
        "ReLU, depthwise and 1x1 convolution, batch norm; twice",
        separable_text,
        SEPARABLE,
        config=SepConvOptions,
        layers=_sep_conv_layers,
    ),
    _operation(
        "dil_conv",
        "ReLU, depthwise dilated and 1x1 convolution, batch norm",
        lambda config, x, w: f"relu_separable_norm({x}, {', '.join(w)}, {config.stride}, {config.dilation})",
        SEPARABLE,
        config=DilConvOptions,
        layers=_dil_conv_layers,
    ),
    _operation(
        "avg_pool",
        "average of a window, of the pixels inside the image",
        lambda config, x, w: (
            f"F.avg_pool2d({x}, {config.kernel}, {config.stride}, {config.kernel // 2}, count_include_pad=False)"
        ),
        config=PoolOptions,
        shape=_strided,
        flops=_pool_flops,
    ),
    _operation(
        "max_pool",
        "maximum of a window",
        lambda config, x, w: f"F.max_pool2d({x}, {config.kernel}, {config.stride}, {config.kernel // 2})",
        config=PoolOptions,
        shape=_strided,
        flops=_pool_flops,
    ),
    _operation("zero", "zeros", zero_text, config=ZeroOptions, shape=_strided),
    _operation(
        "se",
        "squeeze and excitation: channels times gates, computed from all channels' means",
        squeeze_text,
        SQUEEZE,
        config=SqueezeOptions,
        shape=_strided,
        weights=_squeeze_weights,
        flops=_squeeze_flops,
    ),
)

_STRUCTURE = (
    _operation(
        "stem",
        "3x3 convolution of the image, batch norm",
        lambda config, x, w: f"{w[1]}(F.conv2d({x}, {w[0]}, padding=1))",
        config=OutOptions,
        family="structure",
        layers=_stem_layers,
    ),
    _operation(
        "pointwise",
        "1x1 convolution, batch norm, ReLU",
        lambda config, x, w: f"torch.relu({w[1]}(F.conv2d({x}, {w[0]})))",
        config=OutOptions,
        family="structure",
        layers=_pointwise_layers,
    ),
    _operation(
        "calibrate",
        "ReLU, 1x1 convolution, batch norm",
        lambda config, x, w: f"relu_conv_norm({x}, {', '.join(w)})",
        CONVOLUTION,
        config=OutOptions,
        family="structure",
        layers=_calibrate_layers,
    ),
    _operation(
        "factorised_reduction",
        "half the height and width by two shifted 1x1 convolutions, batch norm",
        reduction_text,
        REDUCTION,
        config=ReductionOptions,
        family="structure",
        layers=_reduction_layers,
        weights=_reduction_weights,
    ),
    _operation(
        "project",
        "ReLU, 1x1 convolution: one term of the sum that stands for a concatenation and its 1x1 convolution",
        lambda config, x, w: f"F.conv2d(torch.relu({x}), {w[0]})",
        family="structure",
        layers=lambda config: (Rectify(), Convolve()),
    ),
    _operation(
        "batch_norm",
        "batch norm of images",
        lambda config, x, w: f"{w[0]}({x})",
        family="structure",
        layers=lambda config: (Normalise(),),
    ),
    _operation(
        "rectify",
        "ReLU of images",
        lambda config, x, w: f"torch.relu({x})",
        family="structure",
        layers=lambda config: (Rectify(),),
    ),
)

OPERATIONS: tuple[Operation, ...] = (*_CHOICES, *_STRUCTURE)
