"""An architecture: the options chosen for the decisions that exist."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Architecture(Mapping[str, str]):
    """A frozen assignment of the active decisions of a space, in the space's order.

    Two architectures are equal when they make the same choices in the same order. `SearchSpace` makes and checks them;
    nothing here knows which choices are legal.
    """

    choices: tuple[tuple[str, str], ...]

    @cached_property
    def _by_name(self) -> dict[str, str]:
        return dict(self.choices)

    def __getitem__(self, decision: str) -> str:
        return self._by_name[decision]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self.choices)

    def __hash__(self) -> int:
        return hash(self.choices)

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of the canonical JSON of the choices: equal for equal assignments, on every machine."""
        return hashlib.sha256(canonical_json(self._by_name).encode()).hexdigest()


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no white space: one text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
