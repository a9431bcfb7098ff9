"""The tree that a YAML file becomes: plain values, each with the place where it was written.

A tree is immutable. `merge` makes a new one and keeps the place of every value, so that a fault in a merged spec is
still shown where the user wrote it: in the file, in a profile of it, or in an override.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from nasforge.errors import Problem

Scalar: TypeAlias = bool | int | float | str | None


@dataclass(frozen=True)
class Mark:
    """A place in what the user wrote.

    Attributes:
        where: ``file:line:col`` or ``override 'key=value'``, printable, as it stands before an error's message.
        line: the text of the line, or None where no file stands behind it.
        line_number: its number, counted from 1, or None.
        column: where the value starts in ``line``, in characters counted from 1, or None.
        length: how many characters of ``line`` the value takes.
    """

    where: str
    line: str | None
    line_number: int | None
    column: int | None
    length: int

    def problem(self, message: str, hint: str = "") -> Problem:
        """Return the fault `message` at this place.

        Args:
            message: the rule that broke, with the value found, without a final newline.
            hint: what is known here or what to do.
        """
        return Problem(self.where, message, self.line, self.line_number, self.column, self.length, hint)


@dataclass(frozen=True)
class ScalarNode:
    """One value: null, a truth value, a number or text."""

    mark: Mark
    value: Scalar


@dataclass(frozen=True)
class SequenceNode:
    """A list."""

    mark: Mark
    items: tuple[Node, ...]


@dataclass(frozen=True)
class Entry:
    """One value of a mapping, and the place of its key."""

    key_mark: Mark
    node: Node


@dataclass(frozen=True)
class MappingNode:
    """A mapping from text to nodes, in the order in which it was written; `entries` is copied and read-only."""

    mark: Mark
    entries: Mapping[str, Entry] = field(hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", MappingProxyType(dict(self.entries)))


Node: TypeAlias = ScalarNode | SequenceNode | MappingNode


def plain(node: Node) -> object:
    """Return the plain Python data: None, bool, int, float, str, list and dict, new at every call."""
    match node:
        case ScalarNode():
            return node.value
        case SequenceNode():
            return [plain(item) for item in node.items]
        case MappingNode():
            return {key: plain(entry.node) for key, entry in node.entries.items()}


def find(node: Node, path: Sequence[str | int]) -> Mark:
    """Return the place of the value at `path`.

    Args:
        node: the root.
        path: keys (str) and indices (int) from the root.

    Returns:
        The place of the value. Where the path leaves the tree (a missing key): the place of the deepest ancestor that
        exists, of its key if it has one.
    """
    steps = list(_walk(node, path))
    if len(steps) == len(path):
        return steps[-1][1].mark if steps else node.mark
    return _own_mark(node, steps)


def find_key(node: Node, path: Sequence[str | int]) -> Mark:
    """Return the place of the last key of `path`, as `find` does for values; a list's item stands for its index."""
    return _own_mark(node, list(_walk(node, path)))


def on_the_way(node: Node, path: Sequence[str | int]) -> list[Node]:
    """The nodes at and above `path`, the root first, as far as they exist."""
    return [node, *(each for _, each in _walk(node, path))]


def merge(base: Node, over: Node) -> Node:
    """Return `base` with `over` laid on top: mappings are merged key by key, anything else is replaced.

    Where both are mappings and ``kind`` in `over` names another component than ``kind`` in `base`, `over` replaces
    `base` whole: the options of one component do not fit another.

    Every value and its key keep the place of the side that supplied it; a mapping that both sides supply keeps that
    of `base`. Keys keep the order of `base`, new ones follow.
    """
    if not (isinstance(base, MappingNode) and isinstance(over, MappingNode)) or _is_other_kind(base, over):
        return over
    entries = dict(base.entries)
    for key, entry in over.entries.items():
        old = entries.get(key)
        node = merge(old.node, entry.node) if old else entry.node
        entries[key] = Entry(old.key_mark, node) if old and node is not entry.node else entry
    return MappingNode(base.mark, entries)


def printable(text: str, limit: int = 200) -> str:
    """Return `text` fit for one line of an error: characters that do not print replaced, the middle of a long one cut.

    Args:
        text: anything, lone surrogates and line breaks included.
        limit: the most characters that are kept.
    """
    if len(text) > limit:
        half = (limit - 3) // 2
        text = f"{text[: limit - 3 - half]}...{text[len(text) - half :]}"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _walk(node: Node, path: Sequence[str | int]) -> Iterator[tuple[Mark | None, Node]]:
    """Yield (place of the key or None, node) for every element of `path` that exists."""
    for step in path:
        if isinstance(node, MappingNode) and isinstance(step, str) and step in node.entries:
            entry = node.entries[step]
            node = entry.node
            yield entry.key_mark, node
        elif isinstance(node, SequenceNode) and isinstance(step, int) and 0 <= step < len(node.items):
            node = node.items[step]
            yield None, node
        else:
            return


def _own_mark(root: Node, steps: Sequence[tuple[Mark | None, Node]]) -> Mark:
    if not steps:
        return root.mark
    key_mark, node = steps[-1]
    return key_mark or node.mark


def _is_other_kind(base: MappingNode, over: MappingNode) -> bool:
    old, new = base.entries.get("kind"), over.entries.get("kind")
    if old is None or new is None or not isinstance(new.node, ScalarNode):
        return False
    return not isinstance(old.node, ScalarNode) or old.node.value != new.node.value
