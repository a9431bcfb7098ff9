"""Values that the children of one group have in common are computed once.

All children of a controller step are scored on one minibatch. Where two of them compute the same from the same (equal
operations on equal weights, and so on back to the image), that is one value here, as in the value numbering of
compilers. It is kept from its first reader to its last, in whichever child that is, and no longer.

For scoring only: nothing has a gradient, and no statistics move.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from nasforge.executors.code import Code, Instruction

_INPUT = 0
"""The number of the value that all children read."""


class _Numbered(NamedTuple):
    """An instruction, and the numbers of its value and of those that it reads."""

    number: int
    ins: tuple[int, ...]
    instruction: Instruction


@dataclass
class _State:
    """What is there of one input.

    Attributes:
        runs: how often each code, by identity, is still to run.
        readers: how many readers are still to come, by number of the value.
        values: those that are computed and have readers to come, by number.
    """

    runs: Counter[int]
    readers: Counter[int]
    values: dict[int, Tensor] = field(default_factory=dict)


class Group:
    """The codes of children that read the same input, each listed as often as it is to run.

    A code that runs more often does so on its own.

    Args:
        codes: of one bank, with one input each, the slot 1.
    """

    def __init__(self, codes: Sequence[Code]) -> None:
        self._codes = tuple(codes)
        numbers: dict[tuple[int, ...], int] = {}
        self._traces: dict[int, tuple[list[_Numbered], int]] = {}
        self._readers: Counter[int] = Counter()
        for code in codes:
            if id(code) not in self._traces:
                self._traces[id(code)] = self._trace(code, numbers)
            self._readers[self._traces[id(code)][1]] += 1
        # Weak keys: a minibatch that is gone takes with it what was computed of it.
        self._states: MutableMapping[Tensor, dict[str, _State]] = WeakIdKeyDictionary()

    def _trace(self, code: Code, numbers: dict[tuple[int, ...], int]) -> tuple[list[_Numbered], int]:
        number_of = {1: _INPUT}
        trace: dict[int, _Numbered] = {}
        for instruction in code.instructions:
            ins = tuple([number_of[slot] for slot in instruction.ins])
            # By identity: the bank has one object for all that are equal, and this group keeps them alive.
            key = (id(instruction.function), *map(id, instruction.weights), -1, *ins)
            if key not in numbers:
                numbers[key] = len(numbers) + 1
                self._readers.update(set(ins))
            number = number_of[instruction.out] = numbers[key]
            # Once, even where a child does the same twice; the first time is before all readers.
            trace.setdefault(number, _Numbered(number, ins, instruction))
        return list(trace.values()), number_of[code.output]

    def holds(self, code: Code) -> bool:
        """Whether `code` is one of the group."""
        return id(code) in self._traces

    def run(self, code: Code, image: Tensor, mode: str) -> Tensor:
        """The output of `code`.

        Args:
            code: one of the group.
            image: the input; another tensor shares nothing, be it equal.
            mode: of the batch norms; so does another mode.
        """
        states = self._states.setdefault(image, {})
        if mode not in states:
            states[mode] = _State(Counter(map(id, self._codes)), Counter(self._readers))
        state = states[mode]
        if not state.runs[id(code)]:
            return _alone(code, image)
        state.runs[id(code)] -= 1
        trace, output = self._traces[id(code)]
        values = state.values
        demanded, todo = {output}, []
        for step in reversed(trace):
            if step.number in demanded and step.number not in values:
                todo.append(step)
                demanded.update(step.ins)
        for number, ins, instruction in reversed(todo):
            given = [image if i == _INPUT else values[i] for i in ins]
            values[number] = instruction.function(*given, *instruction.weights)
            for i in set(ins):
                _read(state, i)
        result = image if output == _INPUT else values[output]
        _read(state, output)
        return result


def _read(state: _State, number: int) -> None:
    state.readers[number] -= 1
    if not state.readers[number]:
        state.values.pop(number, None)


def _alone(code: Code, image: Tensor) -> Tensor:
    slots: list[Any] = [None] * code.n_slots
    slots[1] = image
    code.run(slots)
    output: Tensor = slots[code.output]
    return output


@dataclass
class ReuseMode:
    """Whether the networks on one bank are scored as a group.

    Attributes:
        group: the group; None where each is on its own.
    """

    group: Group | None = None

    @contextmanager
    def set(self, codes: Sequence[Code]) -> Iterator[Group]:
        """The group of `codes`, for a while."""
        before = self.group
        self.group = Group(codes)
        try:
            yield self.group
        finally:
            self.group = before
