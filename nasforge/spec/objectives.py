"""The ``objectives`` of a run spec: what a search is after, the task's metric and beside it what networks cost."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from nasforge.errors import suggest
from nasforge.spec.expectation import shown
from nasforge.spec.nodes import printable

Direction = Literal["max", "min"]

COSTS = ("parameters", "flops", "latency_ms")
"""What of networks can be an objective beside the metric; of tables it is their columns."""

MOST = 2
"""Objectives of one search."""


@dataclass(frozen=True)
class Objective:
    """One thing that a search is after.

    Attributes:
        direction: whether higher (``max``) or lower (``min``) is better.
        name: of the task's metric, or of a cost.
    """

    direction: Direction
    name: str

    def __str__(self) -> str:
        return f"{self.direction} {self.name}"

    def toward_higher(self, value: float) -> float:
        """The value, or its negative where lower is better: of the result, higher is always better."""
        return value if self.direction == "max" else -value


def _objective(value: Any) -> Objective:
    if isinstance(value, Objective):
        return value
    words = value.split() if isinstance(value, str) else []
    if len(words) == 2 and words[0] in ("max", "min"):
        return Objective("max" if words[0] == "max" else "min", words[1])
    message = f"an objective is written 'max NAME' or 'min NAME', such as min parameters; found {shown(value)}"
    raise PydanticCustomError("objective", "{message}", {"message": message})


Objectives = Annotated[
    tuple[
        Annotated[
            Objective,
            BeforeValidator(_objective),
            WithJsonSchema({"type": "string", "pattern": r"^\s*(max|min)\s+\S+\s*$"}),
        ],
        ...,
    ],
    Field(strict=False, max_length=MOST),
]
"""Up to two; none stands for the metric alone."""


def faults_of(
    objectives: Sequence[Objective], metric: str, direction: Direction, others: Collection[str]
) -> list[tuple[int, str, str]]:
    """What is wrong with objectives: for each fault the place, a sentence and a hint.

    Args:
        objectives: as written.
        metric: what the task measures.
        direction: whether higher or lower is better of it.
        others: what else can be an objective.
    """
    found: list[tuple[int, str, str]] = []
    names = [each.name for each in objectives]
    known = [metric, *sorted(others)]
    for place, objective in enumerate(objectives):
        name = printable(objective.name, 60)
        if objective.name not in known:
            better = suggest(objective.name, known)
            found.append((place, f"'{name}' can be no objective here.{better}", f"known here: {', '.join(known)}"))
        elif objective.name in names[:place]:
            found.append((place, f"the objective '{name}' stands there twice", ""))
        elif objective.name == metric and objective.direction != direction:
            higher = "higher" if direction == "max" else "lower"
            message = f"{higher} {metric} is better: the objective is '{direction} {metric}', not '{objective}'"
            found.append((place, message, ""))
    if objectives and not found and metric not in names:
        message = f"the task's metric is missing among the objectives: add '{direction} {metric}'"
        found.append((0, message, "what networks cost can be limited, but not be all that is searched for"))
    return found
