"""Successive halving (Jamieson and Talwalkar 2016), with the rungs of Hyperband (Li et al. 2018, algorithm 1).

A bracket: n proposals are trained for a few epochs, the first rung; of those the best n / factor go on to the next,
which has factor times as many epochs, and so on to the last one, which has all of them. Brackets follow until the
budget is spent (`nasforge.strategies.rungs`).

A child goes on with its own weights and optimiser, and its schedule is planned for the whole training: what ends the
last rung is, to the last digit, what a plain training with the same number would be. Scores of lower rungs are thus
taken at high learning rates, as in both papers; ``executor.recipe.schedule: constant`` avoids it.

Deviations: proposals come from any controller (Falkner et al. 2018 do so with a model), which is told the scores of
first rungs only, since scores of different rungs are not comparable. Hyperband's brackets with other first rungs are
left out; all brackets are alike.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nasforge.errors import RunFailedError
from nasforge.executors.base import FromScratch
from nasforge.executors.standalone import Training
from nasforge.space.architecture import Architecture
from nasforge.strategies.base import Event, Report, Strategy
from nasforge.strategies.black_box import BlackBox, default_batch, update_facts
from nasforge.strategies.children import Children, Found, Trained, best_first
from nasforge.strategies.rungs import brackets, rungs


@dataclass
class _Child:
    """One that is still in a bracket.

    Attributes:
        number: of its training.
        architecture: of it.
        steps: done and paid for.
        reward: of its last score; not finite where it failed.
        training: what goes on; None after `SuccessiveHalving.load_state`, until it is repeated.
    """

    number: int
    architecture: Architecture
    steps: int = 0
    reward: float = math.nan
    training: Training | None = None


class SuccessiveHalving(Strategy):
    """See the module."""

    executor: FromScratch

    # Where the search is: the bracket, its rung, and how many children of that rung were trained.
    _bracket = 0
    _rung = 0
    _position = 0
    _best = -math.inf
    _cause = ""
    _proposed = 0

    @cached_property
    def _plan(self) -> list[tuple[int, ...]]:
        return brackets(self.config, self.executor.epochs)

    @cached_property
    def _levels(self) -> tuple[int, ...]:
        return rungs(self.config, self.executor.epochs)

    @cached_property
    def _steps(self) -> tuple[int, ...]:
        """The steps that a child has made at the end of each rung."""
        return tuple(level * self.task.steps_per_epoch(self.recipe) for level in self._levels)

    @cached_property
    def _search(self) -> BlackBox:
        """Who proposes, and learns from first rungs."""
        return BlackBox(
            self.controller,
            budget=sum(sizes[0] for sizes in self._plan),
            batch=self.config.batch or default_batch(self.smallest_group),
            smallest_group=self.smallest_group,
        )

    @cached_property
    def _children(self) -> list[_Child]:
        """Of the rung: those that were trained in the first one so far, or those that entered a later one."""
        return []

    @cached_property
    def _found(self) -> tuple[Found, ...]:
        """By rung."""
        return tuple(Found() for _ in self._levels)

    def steps(self) -> Iterator[Sequence[Report]]:
        """See `Strategy`."""
        budget = Children(self, self.config.queries * self._steps[-1])
        self._advance()
        while self._bracket < len(self._plan):
            rung = self._rung
            child = self._child()
            trained = yield from self._trained(budget, child)
            score = trained.score
            child.steps = self._steps[rung]
            child.reward = math.nan if score is None else self.task.reward(score)
            if score is None or rung + 1 == len(self._levels):
                child.training = None  # it makes no further step: weights and moments are let go
            told = self._enter(child) if rung == 0 else []
            if score is not None:
                self._found[rung].add(child.architecture, score)
            self._cause = self._cause or trained.cause
            event = {
                "bracket": self._bracket,
                "rung": rung,
                "epochs": self._levels[rung],
                "number": child.number,
                "digest": child.architecture.digest,
                "proxy": None if score is None else score.value,
                "reward": None if score is None else child.reward,
                **({"failed": trained.cause} if trained.cause else {}),
            }
            self._position += 1
            self._advance()
            yield [Event("rung", event), *told]
        # The highest rung with a score; only where all of the last one failed is it another.
        highest = [found for found in self._found if len(found)]
        if not highest:
            raise RunFailedError(
                f"none of {self.cost.evaluations:,} trainings gave a finite score; nothing can be said of any "
                f"architecture. The first training failed: {self._cause}"
            )
        self.scores = highest[-1].means()

    def _child(self) -> _Child:
        """The next to be trained in this rung."""
        if self._rung:
            return self._children[self._position]
        question = self._search.ask()
        return _Child(question.number, question.architecture)

    def _trained(self, budget: Children, child: _Child) -> Generator[Sequence[Report], None, Trained]:
        def begin() -> Training:
            if child.training is None:
                child.training = self.executor.begin(child.architecture, child.number)
            return child.training

        bracket, n = self._bracket + 1, len(self._plan)
        members = self._members()
        phase = f"bracket {bracket}/{n}, {self._levels[self._rung]} epochs, child {self._position + 1}/{members}"
        return budget.train(begin, self._steps[self._rung], phase, done=child.steps)

    def _enter(self, child: _Child) -> list[Event]:
        """Tell the score of the first rung to who proposed the child; what that did."""
        search = self._search
        search.tell(child.reward)
        self._children.append(child)
        if math.isfinite(child.reward):
            self._best = max(self._best, child.reward)
        if search.updates == self.cost.controller_steps or search.report is None:
            return []
        self.cost.controller_steps = search.updates
        return [Event("controller_step", {"epoch": 0, **update_facts(search.report, search.updates, self._best)})]

    def _members(self) -> int:
        """How many children the rung has."""
        return len(self._children) if self._rung else self._plan[self._bracket][0]

    def _advance(self) -> None:
        """Where all children of a rung were trained: on to the next one with the best, or to the next bracket."""
        while self._bracket < len(self._plan) and self._position >= self._members():
            sizes = self._plan[self._bracket]
            finite = [child for child in self._children if math.isfinite(child.reward)]
            self._rung, self._position = self._rung + 1, 0
            if self._rung == len(sizes) or not finite:
                self._bracket, self._rung = self._bracket + 1, 0
                self._children.clear()
            else:
                # Of equal ones, who was proposed first.
                self._children[:] = sorted(finite, key=lambda child: -child.reward)[: sizes[self._rung]]

    def propose(self, count: int) -> list[Architecture]:
        """Those of the last rung with the best scores, at the next call those after them."""
        begin, self._proposed = self._proposed, self._proposed + count
        return best_first(self)[begin : begin + count]

    def position(self) -> Mapping[str, Any]:
        """See `Strategy`; a training that is under way begins again.

        Weights are no part of it. A child that is promoted afterwards is trained again from its number to where it was,
        which costs time, but no budget.
        """
        return {
            "search": self._search.state(),
            "at": [self._bracket, self._rung, self._position],
            "children": [
                {
                    "number": child.number,
                    "architecture": dict(child.architecture),
                    "steps": child.steps,
                    "reward": child.reward,
                }
                for child in self._children
            ],
            "found": [found.state() for found in self._found],
            "best": self._best,
            "cause": self._cause,
        }

    def load_position(self, position: Mapping[str, Any]) -> None:
        """See `Strategy`."""
        self._search.load_state(position["search"])
        self._bracket, self._rung, self._position = position["at"]
        self._children[:] = [
            _Child(each["number"], self.space.architecture(each["architecture"]), each["steps"], each["reward"])
            for each in position["children"]
        ]
        for found, each in zip(self._found, position["found"], strict=True):
            found.load_state(self, each)
        self._best, self._cause = position["best"], position["cause"]
