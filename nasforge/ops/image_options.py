"""Parameters of the operations of networks of images. A stride is given by the network: users never write it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from nasforge.components import Options

_STRIDE = frozenset({"stride"})


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("number", "{message}", {"message": "input should be a number"})
    return value


Window = Literal[3, 5, 7, 9, 11]
"""Height and width of a filter or of a pool's window, in pixels."""
Kernel = Annotated[Literal[1, 3, 5, 7, 9, 11], BeforeValidator(_number)]
"""The same, where one pixel makes sense, too; ``true``, which equals 1, is refused."""
Stride = Literal[1, 2]


class ConvOptions(Options):
    """Parameters of ``conv``.

    Attributes:
        kernel: height and width of the filters, odd.
        stride: given by the network.
    """

    given: ClassVar[frozenset[str]] = _STRIDE

    kernel: Kernel
    stride: Stride = 1


class SepConvOptions(Options):
    """Parameters of ``sep_conv``.

    Attributes:
        kernel: height and width of the depthwise filters, odd.
        stride: given by the network; of the first repetition.
        repeat: given by the network; how often it is applied. ENAS applies each separable convolution twice.
    """

    given: ClassVar[frozenset[str]] = _STRIDE | {"repeat"}

    kernel: Kernel
    stride: Stride = 1
    repeat: Literal[1, 2] = 2


class DilConvOptions(Options):
    """Parameters of ``dil_conv``.

    Attributes:
        kernel: height and width of the depthwise filters in pixels that are read, odd.
        dilation: distance of these pixels.
        stride: given by the network.
    """

    given: ClassVar[frozenset[str]] = _STRIDE

    kernel: Window
    dilation: int = Field(default=2, ge=2, le=16)
    stride: Stride = 1


class PoolOptions(Options):
    """Parameters of ``avg_pool`` and ``max_pool``.

    Attributes:
        kernel: height and width of the window, odd.
        stride: given by the network.
    """

    given: ClassVar[frozenset[str]] = _STRIDE

    kernel: Window
    stride: Stride = 1


class ZeroOptions(Options):
    """``zero`` takes no parameters.

    Attributes:
        stride: given by the network.
    """

    given: ClassVar[frozenset[str]] = _STRIDE

    stride: Stride = 1


class SqueezeOptions(Options):
    """Parameters of ``se``.

    Attributes:
        ratio: channels per hidden unit.
        stride: given by the network.
    """

    given: ClassVar[frozenset[str]] = _STRIDE

    ratio: int = Field(default=4, ge=1)
    stride: Stride = 1

    def hidden(self, channels: int) -> int:
        """Units between the two matrices, at least one."""
        return max(1, channels // self.ratio)


class OutOptions(Options):
    """Parameters of the operations that change the number of channels.

    Attributes:
        out: channels of the output.
    """

    out: int = Field(ge=1)


class ReductionOptions(Options):
    """Parameters of ``factorised_reduction``.

    Attributes:
        out: channels of the output, at least 2; null for as many as come in.
        relu: whether ReLU comes first, as in DARTS and where ENAS makes two inputs equally large.
    """

    out: int | None = Field(default=None, ge=2)
    relu: bool = False
