"""What is drawn on the CPU, so that devices agree, is sent to where it is used."""

from __future__ import annotations

from torch import Tensor


def sent(drawn: Tensor, like: Tensor) -> Tensor:
    """`drawn`, made on the CPU, on the device and with the type of `like`; a bool or integer keeps its type.

    A plain copy to CUDA would wait until everything that was asked of the device before is done.
    """
    dtype = like.dtype if drawn.is_floating_point() else drawn.dtype
    if like.device.type != "cuda":
        return drawn.to(like.device, dtype)
    return drawn.to(dtype).pin_memory().to(like.device, non_blocking=True)
