"""The protocol of strategies, and what they report while they work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from typing import Any

from nasforge.controllers.base import Controller
from nasforge.controllers.limited import within_limits
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
        evaluations: scores asked of the shared weights, or of trainings from scratch.
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

    A runner iterates over `steps` to its end, showing and keeping what is reported, and then asks `propose` for
    candidates. Between two steps it may take `state`, with which an equal strategy goes on exactly: `load_state`, then
    `steps`, which begins after the last step that was done.

    Attributes:
        controller: proposes architectures within the limits of its space, whatever the one that was given proposes.
        executor: of a source that fits the strategy (`StrategyKind.sources`), which its subclass states: `Executor`, or
            `FromScratch`.
        smallest_group: how many finite scores the controller needs at least, to be told.
        cost: what has been spent so far.
        scores: of the whole validation split, with the weights as they are at the end: what need not be scored again.
            Where children are trained from scratch nothing can be: these are all that there are.
    """

    executor: Any

    def __init__(
        self,
        config: Any,
        *,
        space: SearchSpace,
        controller: Controller,
        executor: Any,
        task: Task,
        recipe: Recipe,
        seed: int,
        smallest_group: int = 1,
    ) -> None:
        self.config = config
        self.space = space
        self.controller = within_limits(controller)
        self.executor = executor
        self.task = task
        self.recipe = recipe
        self.seed = seed
        self.smallest_group = smallest_group
        self.cost = SearchCost()
        self.scores: dict[Architecture, Score] = {}

    @abstractmethod
    def steps(self) -> Iterator[Sequence[Report]]:
        """Do what is left of the search, yielding after every step what there is to report of it."""

    def search(self) -> Iterator[Report]:
        """The reports of all `steps`, one by one."""
        for reports in self.steps():
            yield from reports

    def state(self) -> Mapping[str, Any]:
        """Everything that `load_state` needs to go on exactly, in the types of `Controller.state` and tuples."""
        return {
            "executor": self.executor.state(),
            "controller": self.controller.state(),
            "cost": asdict(self.cost),
            "scores": [{"architecture": dict(m), "score": astuple(score)} for m, score in self.scores.items()],
            "position": self.position(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken, in a fresh strategy of equal arguments."""
        self.executor.load_state(state["executor"])
        self.controller.load_state(state["controller"])
        self.cost = SearchCost(**state["cost"])
        architecture = self.space.architecture
        self.scores = {architecture(each["architecture"]): Score(*each["score"]) for each in state["scores"]}
        self.load_position(state["position"])

    @abstractmethod
    def position(self) -> Mapping[str, Any]:
        """What this strategy has beside executor, controller, cost and scores: how far it is, what it works with."""

    @abstractmethod
    def load_position(self, position: Mapping[str, Any]) -> None:
        """Go on from `position`; executor, controller, cost and scores are as they were."""

    @abstractmethod
    def propose(self, count: int) -> list[Architecture]:
        """Give `count` architectures that the finished search holds to be good; others at the next call, or repeats.

        Where children are trained from scratch it gives only what has a score, and fewer when there are no more.
        """
