"""What the interpreter runs: a list of calls that read and write numbered slots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Instruction:
    """One call of a function.

    Attributes:
        out: the slot of its value.
        function: what is called, without state; the bank has one for equal operations on equal weights.
        ins: the slots of what it reads.
        weights: the parameters of an operation, then its batch norms.
    """

    out: int
    function: Callable[..., Any]
    ins: tuple[int, ...]
    weights: tuple[Any, ...]


class Code:
    """Instructions in order; a value is forgotten after its last reader.

    Args:
        instructions: each writes a slot of its own, and reads inputs or earlier slots.
        n_slots: how many slots there are.
        kept: slots that the caller reads afterwards; the first is that of the output.
    """

    def __init__(self, instructions: Sequence[Instruction], n_slots: int, kept: Sequence[int]) -> None:
        self.instructions = tuple(instructions)
        self.n_slots = n_slots
        self.output = kept[0]
        self._steps = _with_dead(self.instructions, kept)

    def run(self, values: list[Any]) -> None:
        """Fill the slots; `values` holds the inputs."""
        for instruction, dead in self._steps:
            values[instruction.out] = instruction.function(*[values[i] for i in instruction.ins], *instruction.weights)
            for slot in dead:
                values[slot] = None


def _with_dead(code: Sequence[Instruction], kept: Iterable[int]) -> list[tuple[Instruction, tuple[int, ...]]]:
    """Each instruction, and the slots that nobody reads after it."""
    read = set(kept)
    steps = []
    for instruction in reversed(code):
        dead = tuple(dict.fromkeys(slot for slot in instruction.ins if slot not in read))
        read.update(dead)
        steps.append((instruction, dead))
    return steps[::-1]
