"""Cells as a line of numbers, the form of the authors' codes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nasforge.errors import UsageError
from nasforge.published.cells import Cell
from nasforge.spec.nodes import printable

_NUMBER = re.compile(r"[0-9]{1,4}")


def read_numbers(name: str, text: str) -> list[int]:
    """The numbers of `text`, which white space separates.

    Raises:
        UsageError: there are none, or every word that is no number.
    """
    words = text.split()
    if not words:
        raise UsageError(f"{name}: the text is empty; it must be numbers with spaces between them")
    faults = [
        f"{name}: item {position} must be a whole number from 0 to 9999, found '{printable(word, 40)}'"
        for position, word in enumerate(words, 1)
        if not _NUMBER.fullmatch(word)
    ]
    if faults:
        raise UsageError("\n".join(faults[:10]))
    return [int(word) for word in words]


def pairs_of(
    name: str, numbers: Sequence[int], operations: Sequence[str], *, has_first: bool
) -> tuple[str, tuple[int, ...], tuple[str, ...]]:
    """Operation of node 0, then predecessors and operations of the later nodes.

    Args:
        name: of the encoding, for messages.
        numbers: as many as the encoding asks for.
        operations: what the numbers of operations stand for.
        has_first: whether the first number is the operation of node 0; otherwise node 0 is tanh.

    Raises:
        UsageError: every number that is out of range.
    """
    faults: list[str] = []
    start = 1 if has_first else 0
    for index, number in enumerate(numbers):
        node, is_operation = ((index - start) // 2 + 1, (index - start) % 2 == 1) if index >= start else (0, True)
        if is_operation and number >= len(operations):
            known = ", ".join(f"{i} {operation}" for i, operation in enumerate(operations))
            faults.append(f"number {index + 1} is {number}, the operation of node {node}; operations are {known}")
        elif not is_operation and number >= node:
            rule = f"an earlier node, 0 to {node - 1}" if node > 1 else "0, the only earlier node"
            faults.append(f"number {index + 1} is {number}, the predecessor of node {node}; it must be {rule}")
    if faults:
        raise UsageError("\n".join(f"{name}: {fault}" for fault in faults[:10]))
    first = operations[numbers[0]] if has_first else "tanh"
    return first, tuple(numbers[start::2]), tuple(operations[number] for number in numbers[start + 1 :: 2])


def write_pairs(cell: Cell, operations: Sequence[str]) -> list[str]:
    """Predecessor and operation of nodes 1, 2, ..., as text each."""
    pairs = zip(cell.predecessors, cell.operations[1:], strict=True)
    return [str(number) for source, operation in pairs for number in (source, operations.index(operation))]
