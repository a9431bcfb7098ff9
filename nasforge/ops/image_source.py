"""What exported networks of images consist of, as text: helper functions, and the longer expressions that call them.

Each computes what its namesake in `nasforge.ops.image_torch` does.
"""

from __future__ import annotations

from collections.abc import Sequence

from nasforge.ops.image_options import ReductionOptions, SepConvOptions, SqueezeOptions, ZeroOptions

CONVOLUTION = '''\
def relu_conv_norm(x, weight, norm, stride=1):
    """ReLU, a convolution, batch norm; 1 / stride of the height and width, rounded up."""
    x = F.conv2d(torch.relu(x), weight, stride=stride, padding=weight.shape[-1] // 2)
    return norm(x)
'''

SEPARABLE = '''\
def relu_separable_norm(x, depthwise, pointwise, norm, stride=1, dilation=1):
    """ReLU, a filter for each channel, a 1x1 convolution, batch norm."""
    padding = dilation * (depthwise.shape[-1] // 2)
    x = F.conv2d(torch.relu(x), depthwise, None, stride, padding, dilation, groups=x.shape[1])
    return norm(F.conv2d(x, pointwise))
'''

SQUEEZE = '''\
def squeeze_excite(x, squeeze, squeeze_bias, excite, excite_bias):
    """Each channel times a gate between 0 and 1, which depends on the means of all channels."""
    hidden = torch.relu(F.linear(x.mean((2, 3)), squeeze, squeeze_bias))
    return x * torch.sigmoid(F.linear(hidden, excite, excite_bias))[:, :, None, None]
'''

REDUCTION = '''\
def factorised_reduction(x, first, second, norm):
    """Half the height and width: half of the channels read every second pixel from (0, 0), the others from (1, 1)."""
    height, width = x.shape[2:]
    x = F.pad(x, (0, width % 2, 0, height % 2))
    kernel = torch.cat((F.pad(first, (0, 1, 0, 1)), F.pad(second, (1, 0, 1, 0))))
    return norm(F.conv2d(x, kernel, stride=2))
'''


def separable_text(config: SepConvOptions, x: str, weights: Sequence[str]) -> str:
    """A call for each repetition, around the one before it; two weights each, then one norm each."""
    for n in range(config.repeat):
        stride = config.stride if n == 0 else 1
        depthwise, pointwise = weights[2 * n : 2 * n + 2]
        x = f"relu_separable_norm({x}, {depthwise}, {pointwise}, {weights[2 * config.repeat + n]}, {stride})"
    return x


def squeeze_text(config: SqueezeOptions, x: str, weights: Sequence[str]) -> str:
    """The gated channels, at stride 2 averaged."""
    gated = f"squeeze_excite({x}, {', '.join(weights)})"
    return f"F.avg_pool2d({gated}, 2, ceil_mode=True)" if config.stride == 2 else gated


def reduction_text(config: ReductionOptions, x: str, weights: Sequence[str]) -> str:
    """The reduction, of max(x, 0) where the config says so."""
    return f"factorised_reduction({f'torch.relu({x})' if config.relu else x}, {', '.join(weights)})"


def zero_text(config: ZeroOptions, x: str, weights: Sequence[str]) -> str:
    """Zeros of the shape that a stride leaves."""
    return f"torch.zeros_like({x})" if config.stride == 1 else f"torch.zeros_like({x}[:, :, ::2, ::2])"
