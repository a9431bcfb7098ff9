"""The Pareto front of a search with two objectives, as ``result.json`` has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nasforge.controllers import pareto
from nasforge.spec.objectives import Objective


@dataclass(frozen=True)
class Scored:
    """An architecture and what it has of every objective.

    Attributes:
        facts: what else is told of it.
        values: by the names of the objectives, as measured, not negated.
    """

    facts: Mapping[str, Any]
    values: Mapping[str, float]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.facts, "values": dict(self.values)}


def metric_first(objectives: Sequence[Objective], metric: str) -> tuple[Objective, ...]:
    """The objectives with the task's metric before the others."""
    return tuple(sorted(objectives, key=lambda each: each.name != metric))


def vector(objectives: Sequence[Objective], values: Mapping[str, float]) -> tuple[float, ...]:
    """The values in the order of the objectives, negated where lower is better."""
    return tuple(each.toward_higher(values[each.name]) for each in objectives)


def front_of(objectives: Sequence[Objective], scored: Sequence[Scored]) -> list[Scored]:
    """Those that no other dominates, the best in the first objective first; equal ones in their order."""
    vectors = [vector(objectives, each.values) for each in scored]
    places = sorted(pareto.front(vectors), key=lambda place: tuple(-x for x in vectors[place]))
    return [scored[place] for place in places]


def worst_of(objectives: Sequence[Objective], values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The worst value of each objective."""
    return {
        each.name: (min if each.direction == "max" else max)(value[each.name] for value in values)
        for each in objectives
    }


def hypervolume_of(
    objectives: Sequence[Objective], values: Sequence[Mapping[str, float]], reference: Mapping[str, float]
) -> float:
    """What is dominated by one of the values and better than the reference, in the product of both units."""
    return pareto.hypervolume([vector(objectives, each) for each in values], vector(objectives, reference))


def shown(front: Sequence[Mapping[str, Any]], objectives: Sequence[str], *, most: int = 12) -> list[str]:
    """Lines of a table of a front, for the terminal.

    Args:
        front: of ``result.json``.
        objectives: as written there.
        most: how many are shown; the ends always are.
    """
    names = [each.split()[1] for each in objectives]
    chosen = list(front)
    if len(chosen) > most:
        chosen = [chosen[round(i * (len(chosen) - 1) / (most - 1))] for i in range(most)]
    lines = [f"{'':<12}" + "".join(f"{name:>16}" for name in names)]
    for each in chosen:
        numbers = "".join(f"{_number(each['values'][name]):>16}" for name in names)
        mark = "  trained" if "trained" in each else "  briefly trained" if "short" in each else ""
        lines.append(f"{each['digest'][:10]:<12}{numbers}{mark}")
    return lines


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
