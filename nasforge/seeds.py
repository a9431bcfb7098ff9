"""Independent random streams from one seed.

Every stream is named by its purpose and an index, so that drawing more from one never shifts another, and a resumed
or parallel part of a run draws exactly what it would have drawn alone.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from typing import Any


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for the stream `purpose` of `seed`.

    Args:
        seed: the run's seed.
        purpose: words and indices that name the stream, e.g. ``("weights", "cell/node3")``.
    """
    text = "\x1f".join([str(seed), *(f"{type(part).__name__}:{part}" for part in purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *purpose: str | int) -> random.Random:
    """A `random.Random` for the stream `purpose` of `seed`."""
    return random.Random(derive(seed, *purpose))


def position(rng: random.Random) -> Mapping[str, Any]:
    """Where a stream stands, as plain data."""
    version, numbers, gauss = rng.getstate()
    return {"version": version, "numbers": list(numbers), "gauss": gauss}


def set_position(rng: random.Random, position: Mapping[str, Any]) -> None:
    """Put a stream where `position` was taken."""
    gauss = position["gauss"]
    numbers = tuple(int(number) for number in position["numbers"])
    rng.setstate((int(position["version"]), numbers, None if gauss is None else float(gauss)))
