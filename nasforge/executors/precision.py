"""Mixed precision: products in bfloat16 while losses and proxy scores are computed, by torch's autocast.

Weights, gradients of weights, optimiser, batch norms with their statistics, and losses stay float32. So do recurrent
cells, fused or not: their state is carried from word to word, and what it is rounded by would add up. bfloat16 has the
range of float32, so that losses need no scaling.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from nasforge.components import Precision


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Products on `device` in `precision`, for as long as the context lasts; for float32 nothing is changed."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


@contextmanager
def uncast(value: Tensor) -> Iterator[Tensor]:
    """Whatever is around, what is inside is computed in the types of its inputs.

    Yields:
        `value`; as float32 where it was made in bfloat16.
    """
    device = value.device.type
    if not torch.is_autocast_enabled(device):
        yield value
        return
    with torch.autocast(device, enabled=False):
        yield value.float() if value.dtype == torch.bfloat16 else value
