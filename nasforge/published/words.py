"""Numbers of things in the words of messages."""

from __future__ import annotations

from collections.abc import Sequence


def counted(count: int, what: str) -> str:
    """A number of things, e.g. ``1 node``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def sizes_of(count: int, offered: Sequence[int], what: str) -> str:
    """The number of nodes or layers of a text, and then those that a space has."""
    *others, last = (counted(size, what) for size in sorted(offered))
    return f"{counted(count, what)}, the space has {', '.join(others)}{' or ' if others else ''}{last}"
