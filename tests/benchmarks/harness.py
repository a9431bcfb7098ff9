"""Interleaved timing of several designs, their peaks of memory, and the table of their ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.peak_memory import peak_bytes

Size = Literal["full", "quick", "tiny"]
"""How large a benchmark is: as the marks have it, smaller, or only so large that everything runs once."""


@dataclass(frozen=True)
class Row:
    """One design of one comparison.

    Attributes:
        group: what is compared; rows of one group were measured in turns.
        design: which way of doing it.
        value: median of one call, divided by what a call holds (steps, architectures), in `unit`.
        spread: interquartile range over median.
        ratio: median over the rounds of this design's value over that of the base; 1 for the base itself.
        mark: what is aimed at: the largest `ratio`, or `value` where `absolute`; None for no mark.
        absolute: see `mark`.
        unit: ``ms`` of process CPU time, or ``MB`` of memory; the same in a group.
    """

    group: str
    design: str
    value: float
    spread: float
    ratio: float
    mark: float | None = None
    absolute: bool = False
    unit: str = "ms"

    @property
    def met(self) -> bool | None:
        """Whether the mark is met; None where there is none."""
        return None if self.mark is None else (self.value if self.absolute else self.ratio) <= self.mark


@dataclass(frozen=True)
class Design:
    """A way of doing something.

    Attributes:
        call: does it.
        per: how many steps or architectures a call holds; may be below 1 where a call is a part of a step.
        mark: as in `Row`.
        absolute: as in `Row`.
    """

    call: Callable[[], object]
    per: float = 1
    mark: float | None = None
    absolute: bool = False


def timed(designs: Mapping[str, Design], *, rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Call the designs in turns: milliseconds of process CPU time of every round, by name.

    In turns, and a ratio for every round: what else the machine does, and its clock, drift by more than what is sought.
    """
    times: dict[str, list[float]] = {name: [] for name in designs}
    for number in range(warm_up + rounds):
        for name, design in designs.items():
            begin = time.process_time()
            design.call()
            if number >= warm_up:
                times[name].append(1000 * (time.process_time() - begin) / design.per)
    return times


def rows_of(
    group: str, designs: Mapping[str, Design], measured: Mapping[str, Sequence[float]], unit: str = "ms"
) -> list[Row]:
    """A row for each of `designs`, the first of which is the base of the ratios; `measured` may hold more of them."""
    base = measured[next(iter(designs))]
    return [
        Row(
            group,
            name,
            statistics.median(measured[name]),
            _spread(measured[name]),
            statistics.median(own / max(of_base, 1e-9) for own, of_base in zip(measured[name], base, strict=True)),
            design.mark,
            design.absolute,
            unit,
        )
        for name, design in designs.items()
    ]


def compare(group: str, designs: Mapping[str, Design], *, rounds: int, warm_up: int = 1) -> list[Row]:
    """The times of the designs; the first is the base of the ratios."""
    return rows_of(group, designs, timed(designs, rounds=rounds, warm_up=warm_up))


def compare_memory(group: str, designs: Mapping[str, Design]) -> list[Row]:
    """The peaks of one call of each design, above what is there before it; the first is the base of the ratios."""
    peaks = {name: [peak_bytes(design.call) / 1e6 / design.per] for name, design in designs.items()}
    return rows_of(group, designs, peaks, "MB")


def _spread(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    lower, middle, upper = statistics.quantiles(values, n=4)
    return (upper - lower) / middle if middle else 0.0


def table(rows: Sequence[Row]) -> str:
    """The rows as text, one block per group."""
    lines: list[str] = []
    for group in dict.fromkeys(row.group for row in rows):
        own = [row for row in rows if row.group == group]
        lines += ["", group, f"  {'design':<44}{own[0].unit:>10}{'spread':>9}{'ratio':>8}  mark"]
        for row in own:
            mark = "" if row.mark is None else f"<= {row.mark:g}{f' {row.unit}' if row.absolute else ''}"
            met = {None: "", True: " met", False: " MISSED"}[row.met]
            number = f"{row.value:>10.3f}{row.spread:>8.0%} {row.ratio:>8.3f}"
            lines.append(f"  {row.design:<44}{number}  {mark}{met}")
    return "\n".join(lines)
