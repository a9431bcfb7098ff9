"""The protocol of strategies, and what they report while they work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nasforge.controllers.base import Controller
from nasforge.controllers.limited import within_limits
from nasforge.executors.base import Executor
from nasforge.recipe import Recipe
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.tasks.base import Score, Task


@dataclass(frozen=True)
class Event:
    """Something that happened and is kept in the journal: facts only, no clock readings.

    Attributes:
        kind: e.g. ``epoch``, ``controller_step``, ``candidate``.
        facts: names to numbers, strings, lists or dicts of them.
    """

    kind: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Tick:
    """How far a phase is; shown, never kept.

    Attributes:
        phase: what is being done, in a few words.
        done: steps done.
        total: steps of the phase.
        facts: a few current numbers worth showing.
        fraction: how much of the whole job is done, 0 to 1, where that is known.
    """

    phase: str
    done: int
    total: int
    facts: Mapping[str, float] = field(default_factory=dict)
    fraction: float | None = None


Report = Event | Tick


@dataclass
class SearchCost:
    """What a search has spent.

    Attributes:
        evaluations: scores asked of the shared weights.
        evaluated_items: items (tokens, images) that these scores read.
        child_steps: weight steps, times the architectures in each.
        controller_steps: updates of the controller.
        items: items that weight steps read.
    """

    evaluations: int = 0
    evaluated_items: int = 0
    child_steps: int = 0
    controller_steps: int = 0
    items: int = 0


class Strategy(ABC):
    """Base class; subclasses are final.

    A runner iterates over `search` to its end, showing and keeping what it yields, and then asks `propose` for
    candidates. Nothing else is called in between.

    Attributes:
        controller: proposes architectures within the limits of its space, whatever the one that was given proposes.
        cost: what has been spent so far.
        scores: of the whole validation split, with the weights as they are at the end: what need not be scored again.
    """

    def __init__(
        self,
        config: Any,
        *,
        space: SearchSpace,
        controller: Controller,
        executor: Executor,
        task: Task,
        recipe: Recipe,
        seed: int,
    ) -> None:
        self.config = config
        self.space = space
        self.controller = within_limits(controller)
        self.executor = executor
        self.task = task
        self.recipe = recipe
        self.seed = seed
        self.cost = SearchCost()
        self.scores: dict[Architecture, Score] = {}

    @abstractmethod
    def search(self) -> Iterator[Report]:
        """Do the search, yielding after every step."""

    @abstractmethod
    def propose(self, count: int) -> list[Architecture]:
        """Give `count` architectures that the finished search holds to be good; others at the next call, or repeats."""
