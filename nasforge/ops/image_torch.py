"""The functions behind `nasforge.ops.image`; every factory returns a function without state.

Values are ``[B, C, H, W]``; nothing here changes the memory format, and images of one channel count as channels_last.
Sizes come from the weights: a factory sees its config only, and channels are not written into it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nasforge.components import NoOptions
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

Function = Callable[..., Tensor]
"""From a value, the weights and the norms to a value."""

Norm = Callable[[Tensor], Tensor]
"""Batch norm of a value, which the executor binds."""


def _conv(x: Tensor, weight: Tensor, norm: Norm, stride: int = 1) -> Tensor:
    """ReLU, a convolution with ``[O, C, k, k]``, batch norm: ``[B, O, ceil(H / stride), ceil(W / stride)]``."""
    x = F.conv2d(torch.relu(x), weight, stride=stride, padding=weight.shape[-1] // 2)
    return norm(x)


def _as_given(x: Tensor, result: Tensor) -> Tensor:
    """`result`, in channels_last where `x` is.

    Images of one channel are in both formats at once. A convolution then takes the other one, and the whole network
    would follow it.
    """
    last = x.is_contiguous(memory_format=torch.channels_last)
    return result.contiguous(memory_format=torch.channels_last) if last else result


def _separable(
    x: Tensor,
    depthwise: Tensor,
    pointwise: Tensor,
    norm: Norm,
    *,
    stride: int = 1,
    dilation: int = 1,
) -> Tensor:
    """ReLU, a filter ``[C, 1, k, k]`` for each channel, a 1x1 convolution ``[C, C, 1, 1]``, batch norm."""
    padding = dilation * (depthwise.shape[-1] // 2)
    x = F.conv2d(torch.relu(x), depthwise, None, stride, padding, dilation, groups=x.shape[1])
    return norm(F.conv2d(x, pointwise))


def conv(config: ConvOptions) -> Function:
    """``(x, weight, norm)``: ReLU, k x k convolution, batch norm."""
    stride = config.stride
    return lambda x, weight, norm: _conv(x, weight, norm, stride)


def sep_conv(config: SepConvOptions) -> Function:
    """``(x, *weights, *norms)``: two weights (depthwise, pointwise) and then one norm for each repetition."""
    strides = (config.stride, 1)[: config.repeat]

    def function(x: Tensor, *given: Any) -> Tensor:
        for n, stride in enumerate(strides):
            x = _separable(x, given[2 * n], given[2 * n + 1], given[2 * len(strides) + n], stride=stride)
        return x

    return function


def dil_conv(config: DilConvOptions) -> Function:
    """``(x, depthwise, pointwise, norm)``: a separable convolution whose filter leaves pixels out."""
    stride, dilation = config.stride, config.dilation
    return lambda x, *given: _separable(x, *given, stride=stride, dilation=dilation)


def avg_pool(config: PoolOptions) -> Function:
    """``(x)``: the average of those pixels of the window that are inside the image."""
    kernel, stride = config.kernel, config.stride
    return lambda x: F.avg_pool2d(x, kernel, stride, kernel // 2, count_include_pad=False)


def max_pool(config: PoolOptions) -> Function:
    """``(x)``: the maximum of the window."""
    kernel, stride = config.kernel, config.stride
    return lambda x: F.max_pool2d(x, kernel, stride, kernel // 2)


def zero(config: ZeroOptions) -> Function:
    """``(x)``: zeros ``[B, C, ceil(H / stride), ceil(W / stride)]``, also where x is not finite; x gets no gradient."""
    stride = config.stride
    return lambda x: torch.zeros_like(x[:, :, ::stride, ::stride])


def se(config: SqueezeOptions) -> Function:
    """``(x, squeeze, squeeze_bias, excite, excite_bias)``: Hu et al. 2018, equations (2) to (4), with biases.

    The weights are ``[h, C]``, ``[h]``, ``[C, h]``, ``[C]``. At stride 2 the product is averaged over windows of 2x2
    pixels, at the edge of an odd size over what there is.
    """

    def gated(x: Tensor, squeeze: Tensor, squeeze_bias: Tensor, excite: Tensor, excite_bias: Tensor) -> Tensor:
        hidden = torch.relu(F.linear(x.mean((2, 3)), squeeze, squeeze_bias))
        return x * torch.sigmoid(F.linear(hidden, excite, excite_bias))[:, :, None, None]

    if config.stride == 1:
        return gated
    return lambda x, *weights: F.avg_pool2d(gated(x, *weights), 2, ceil_mode=True)


def stem(config: OutOptions) -> Function:
    """``(x, weight, norm)``: a 3x3 convolution with ``[O, C, 3, 3]`` and batch norm; no ReLU before it."""
    return lambda x, weight, norm: norm(_as_given(x, F.conv2d(x, weight, padding=1)))


def pointwise(config: OutOptions) -> Function:
    """``(x, weight, norm)``: a 1x1 convolution, batch norm, ReLU, as before each macro operation of ENAS."""
    return lambda x, weight, norm: torch.relu(norm(F.conv2d(x, weight)))


def calibrate(config: OutOptions) -> Function:
    """``(x, weight, norm)``: ReLU, a 1x1 convolution, batch norm."""
    return _conv


def factorised_reduction(config: ReductionOptions) -> Function:
    """``(x, first, second, norm)``: half the height and width, rounded up.

    `first` ``[O // 2, C, 1, 1]`` reads the pixels (0, 0), (0, 2), ..., `second` ``[O - O // 2, C, 1, 1]`` reads (1, 1),
    (1, 3), ... and zeros beyond the edge. The reference code of ENAS pads below and on the right, drops the first row
    and column and takes every second pixel of the rest. Here both are one 2x2 convolution, three quarters of whose
    weights are zeros: a step takes little more than half as long as with two convolutions, a copy of every fourth pixel
    and a concatenation.
    """

    def reduce(x: Tensor, first: Tensor, second: Tensor, norm: Norm) -> Tensor:
        height, width = x.shape[2:]
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2))
        kernel = torch.cat((F.pad(first, (0, 1, 0, 1)), F.pad(second, (1, 0, 1, 0))))
        return norm(F.conv2d(x, kernel, stride=2))

    if not config.relu:
        return reduce
    return lambda x, *given: reduce(torch.relu(x), *given)


def project(config: NoOptions) -> Function:
    """``(x, weight)``: ReLU and a 1x1 convolution.

    The sum of such terms is the 1x1 convolution of the concatenation: its weight is theirs side by side.
    """
    return lambda x, weight: F.conv2d(torch.relu(x), weight)


def batch_norm(config: NoOptions) -> Function:
    """``(x, norm)``: batch norm."""
    return lambda x, norm: norm(x)


def rectify(config: NoOptions) -> Function:
    """``(x)``: max(x, 0)."""
    return torch.relu
