"""Who draws the architectures of weight steps: the policy is one answer of several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from nasforge.controllers.base import Controller
from nasforge.controllers.random import RandomController
from nasforge.errors import RunFailedError
from nasforge.executors.training import StepReport
from nasforge.seeds import derive, position, set_position, stream
from nasforge.space.architecture import Architecture
from nasforge.space.rule import TRIES, Refusals
from nasforge.space.search_space import SearchSpace


class Sampler(Protocol):
    """Draws architectures within the limits of a space; every controller is one."""

    def propose(self, count: int) -> list[Architecture]:
        """Draw `count` architectures."""

    def state(self) -> Mapping[str, Any]:
        """Everything that `load_state` needs to draw the same, in the types of `Controller.state`."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""


class EpsilonSampler:
    """With probability `epsilon` uniform, else as the policy proposes.

    Args:
        policy: proposes within the limits.
        epsilon: 0 to 1.
        seed: derives every random stream.
    """

    def __init__(self, policy: Controller, epsilon: float, *, seed: int) -> None:
        self._policy, self._epsilon = policy, epsilon
        self._uniform = RandomController(policy.space, None, seed=derive(seed, "uniform"))
        self._coin = stream(seed, "coin")

    def propose(self, count: int) -> list[Architecture]:
        """See `Sampler`."""
        uniform = [self._coin.random() < self._epsilon for _ in range(count)]
        return [(self._uniform if one else self._policy).propose(1)[0] for one in uniform]

    def state(self) -> Mapping[str, Any]:
        """See `Sampler`; the policy has a state of its own."""
        return {"uniform": self._uniform.state(), "coin": position(self._coin)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See `Sampler`."""
        self._uniform.load_state(state["uniform"])
        set_position(self._coin, state["coin"])


class FairSampler:
    """Every option of a decision once before any of them comes again (FairNAS: Chu et al. 2021, "strict fairness").

    Each decision has a shuffled deck of its options, from which an architecture takes one if the decision exists in it,
    and which is dealt anew when it is empty. FairNAS takes one step for the sum of the gradients of a deck; here every
    architecture has a step, and the equality holds after each deck. Under limits an architecture that is outside puts
    back what it took, and another is dealt; what is left of the decks may admit none, and then all are dealt anew.

    Args:
        space: the decisions.
        seed: derives the shuffles.
    """

    def __init__(self, space: SearchSpace, *, seed: int) -> None:
        self._space = space
        self._random = stream(seed, "fair")
        self._decks: dict[str, list[str]] = {}

    def propose(self, count: int) -> list[Architecture]:
        """See `Sampler`.

        Raises:
            RunFailedError: none of 10,000 architectures in a row was within the limits.
        """
        return [self._one() for _ in range(count)]

    def _one(self) -> Architecture:
        refusals = Refusals()
        while refusals.tried < TRIES:
            dealt = self._dealt()
            violations = self._space.violations(dealt)
            if not violations:
                return dealt
            refusals.add(violations)
            self._take_back(dealt)
            if refusals.tried % _PATIENCE == 0:
                self._decks.clear()
        raise RunFailedError(str(refusals.error("architectures that were dealt")))

    def _dealt(self) -> Architecture:
        choices: dict[str, str] = {}
        for decision in self._space.decisions:
            if decision.when.holds(choices):
                deck = self._decks.setdefault(decision.name, [])
                if not deck:
                    deck.extend(decision.options)
                    self._random.shuffle(deck)
                choices[decision.name] = deck.pop()
        return Architecture(tuple(choices.items()))

    def _take_back(self, dealt: Architecture) -> None:
        for name, option in dealt.items():
            deck = self._decks[name]
            deck.append(option)
            self._random.shuffle(deck)

    def state(self) -> Mapping[str, Any]:
        """See `Sampler`."""
        return {"decks": {name: list(deck) for name, deck in self._decks.items()}, "random": position(self._random)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See `Sampler`."""
        self._decks = {name: list(deck) for name, deck in state["decks"].items()}
        set_position(self._random, state["random"])


_PATIENCE = 100
"""Refusals in a row after which the rests of the decks are given up."""


class UpdateCounts:
    """How often each option took part in a weight step: what was hardly trained is hardly ranked."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._steps: list[tuple[StepReport, Sequence[Architecture]]] = []
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, report: StepReport, architectures: Sequence[Architecture]) -> None:
        """Take a step, and what was trained in it."""
        self._steps.append((report, architectures))

    def take(self) -> dict[str, list[int]]:
        """The counts since the last call, by decision, in the order of its options; skipped steps do not count."""
        counts = self._so_far()
        self._counts.clear()
        return counts

    def _so_far(self) -> dict[str, list[int]]:
        for report, architectures in self._steps:
            if not report.skipped:
                for architecture in architectures:
                    self._counts.update(architecture.items())
        self._steps.clear()
        return {d.name: [self._counts[d.name, option] for option in d.options] for d in self._space.decisions}

    def state(self) -> Mapping[str, Any]:
        """The counts since the last `take`."""
        return self._so_far()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._steps.clear()
        self._counts = Counter(
            {
                (d.name, option): int(count)
                for d in self._space.decisions
                for option, count in zip(d.options, state[d.name], strict=True)
            }
        )
