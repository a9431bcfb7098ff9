"""The search space as a set of architectures: its size, uniform sampling, validity and encoding.

Decisions stand in an order in which every condition reads earlier decisions only. All counting runs over this order
with one table: for the decisions that later conditions still read, the chosen options; everything else is forgotten,
so that a space of 10^80 architectures is counted in milliseconds.

A space may have a rule (limits on parameters, for example), which leaves only some of its architectures. Rules are not
counted: drawing under one rejects, and whatever is asked for one architecture refuses those outside.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from nasforge.errors import SpaceError, suggest
from nasforge.space.architecture import Architecture
from nasforge.space.decision import ALWAYS, Decision
from nasforge.space.rule import Rule, draw_within

_Live = tuple[tuple[str, str], ...]


class SearchSpace:
    """An immutable, ordered set of decisions.

    Args:
        decisions: in an order in which each condition reads earlier decisions only.
        rule: what its architectures must keep besides; None for nothing.

    Raises:
        SpaceError: names that repeat, no options, repeated options, or a condition that reads a later or unknown
            decision or option.
    """

    def __init__(self, decisions: Iterable[Decision], rule: Rule | None = None) -> None:
        self.decisions: tuple[Decision, ...] = tuple(decisions)
        self.rule = rule
        self._by_name: dict[str, Decision] = {}
        for decision in self.decisions:
            self._enter(decision)
            self._by_name[decision.name] = decision
        self._live_after = _live_decisions(self.decisions)

    def _enter(self, decision: Decision) -> None:
        if decision.name in self._by_name:
            raise SpaceError(f"two decisions are named '{decision.name}'")
        if not decision.options or len(set(decision.options)) != len(decision.options):
            raise SpaceError(f"decision '{decision.name}' needs distinct options, at least one: {decision.options}")
        for term in decision.when.terms:
            for literal in term:
                read = self._by_name.get(literal.decision)
                if read is None:
                    raise SpaceError(
                        f"decision '{decision.name}' depends on '{literal.decision}', which is not before it"
                    )
                if literal.option not in read.options:
                    raise SpaceError(f"decision '{decision.name}' depends on '{literal}', which is no option of it")

    def __len__(self) -> int:
        return len(self.decisions)

    def __contains__(self, name: str) -> bool:
        """Whether there is a decision of that name."""
        return name in self._by_name

    def decision(self, name: str) -> Decision:
        """The decision of that name; raises SpaceError with a suggestion where there is none."""
        try:
            return self._by_name[name]
        except KeyError:
            raise SpaceError(f"the space has no decision '{name}'.{suggest(name, self._by_name)}") from None

    # Rules -----------------------------------------------------------------------------------------------------------

    def limited(self, rule: Rule | None) -> SearchSpace:
        """The space of the same decisions whose architectures keep `rule`, and no other rule."""
        return SearchSpace(self.decisions, rule)

    @cached_property
    def unlimited(self) -> SearchSpace:
        """The space of the same decisions without a rule; itself where it has none."""
        return self if self.rule is None else self.limited(None)

    def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
        """What of the rule an architecture of the same decisions breaks, in sentences; nothing without a rule."""
        return () if self.rule is None else self.rule.violations(architecture)

    def admits(self, architecture: Mapping[str, str]) -> bool:
        """Whether an architecture of the same decisions keeps the rule."""
        return not self.violations(architecture)

    # Counting and sampling -------------------------------------------------------------------------------------------

    @cached_property
    def size(self) -> int:
        """The exact number of architectures (assignments, not isomorphism classes), limits aside."""
        return self._count(0, (), {})

    @cached_property
    def _counts(self) -> dict[tuple[int, _Live], int]:
        counts: dict[tuple[int, _Live], int] = {}
        self._count(0, (), counts)
        return counts

    def _count(self, start: int, live: _Live, counts: dict[tuple[int, _Live], int]) -> int:
        """Number of ways to decide `decisions[start:]`, for every live state on the way; iterative, deepest last."""
        layers: list[set[_Live]] = [{live}]
        for position in range(start, len(self.decisions)):
            layers.append({after for state in layers[-1] for after, _ in self._branches(position, state)})
        end = len(self.decisions)
        counts.update({(end, state): 1 for state in layers[-1]})
        for position in range(end - 1, start - 1, -1):
            for state in layers[position - start]:
                ways = 0
                for after, times in self._branches(position, state):
                    ways += times * counts[position + 1, after]
                counts[position, state] = ways
        return counts[start, live]

    def _branches(self, position: int, live: _Live) -> list[tuple[_Live, int]]:
        """The live states after deciding at `position`, each with how many options lead there."""
        decision, keep = self.decisions[position], self._live_after[position]
        kept = tuple((name, option) for name, option in live if name in keep)
        if not decision.when.holds(dict(live)):
            return [(kept, 1)]
        if decision.name in keep:
            return [((*kept, (decision.name, option)), 1) for option in decision.options]
        return [(kept, len(decision.options))]

    def sample(self, rng: random.Random) -> Architecture:
        """Draw one architecture uniformly over all assignments; under a rule, over those that it admits.

        Args:
            rng: the source of randomness; nothing else is used.

        Raises:
            SpaceError: the rule admitted none of 10,000 draws.
        """
        if self.rule is None:
            return self._assignment(rng)
        return draw_within(self.rule, lambda: self._assignment(rng), "architectures drawn uniformly")

    def _assignment(self, rng: random.Random) -> Architecture:
        """One assignment, uniform over all."""
        counts = self._counts
        live: _Live = ()
        choices: list[tuple[str, str]] = []
        for position, decision in enumerate(self.decisions):
            keep = self._live_after[position]
            kept = tuple((name, option) for name, option in live if name in keep)
            if not decision.when.holds(dict(live)):
                live = kept
                continue
            if decision.name not in keep:
                option = decision.options[rng.randrange(len(decision.options))]
                live = kept
            else:
                states = [(*kept, (decision.name, each)) for each in decision.options]
                ways = [counts[position + 1, state] for state in states]
                index = _pick(ways, rng)
                option, live = decision.options[index], states[index]
            choices.append((decision.name, option))
        return Architecture(tuple(choices))

    def everything(self) -> tuple[Architecture, ...]:
        """Every architecture (under a rule, every admitted one), in the order of the options.

        For spaces whose `size` fits into memory.
        """
        return tuple(self.each())

    def each(self) -> Iterator[Architecture]:
        """One architecture after the other (under a rule, the admitted ones), in the order of the options."""
        begun: list[tuple[int, tuple[tuple[str, str], ...]]] = [(0, ())]
        while begun:
            position, choices = begun.pop()
            if position == len(self.decisions):
                made = Architecture(choices)
                if self.admits(made):
                    yield made
                continue
            decision = self.decisions[position]
            if decision.when == ALWAYS or decision.when.holds(dict(choices)):
                more = [(*choices, (decision.name, option)) for option in reversed(decision.options)]
            else:
                more = [choices]
            begun += [(position + 1, each) for each in more]

    # Validity and encoding -------------------------------------------------------------------------------------------

    def architecture(self, choices: Mapping[str, str]) -> Architecture:
        """Check `choices` and put them in the space's order.

        Raises:
            SpaceError: every fault at once: unknown decisions, unknown options, missing decisions, and decisions that
                do not exist under the other choices; where there is none, what breaks the rule.
        """
        faults: list[str] = []
        for name in choices:
            if name not in self._by_name:
                faults.append(f"there is no decision '{name}'.{suggest(name, self._by_name)}")
        ordered: dict[str, str] = {}
        for decision in self.decisions:
            exists, chosen = decision.when.holds(ordered), choices.get(decision.name)
            if not exists:
                if chosen is not None:
                    faults.append(f"'{decision.name}' is given, but exists only when {decision.when}")
            elif chosen is None:
                faults.append(f"'{decision.name}' is missing; one of {', '.join(decision.options)}")
            elif chosen not in decision.options:
                faults.append(
                    f"'{decision.name}' cannot be '{chosen}'; one of {', '.join(decision.options)}."
                    f"{suggest(chosen, decision.options)}"
                )
            else:
                ordered[decision.name] = chosen
        if faults:
            raise SpaceError("not an architecture of this space: " + "; ".join(faults))
        made = Architecture(tuple(ordered.items()))
        if violations := self.violations(made):
            raise SpaceError("an architecture outside the limits of this space: " + "; ".join(violations))
        return made

    def active(self, architecture: Mapping[str, str]) -> tuple[Decision, ...]:
        """The decisions that exist in `architecture`."""
        return tuple(decision for decision in self.decisions if decision.name in architecture)

    def encode(self, architecture: Mapping[str, str]) -> tuple[int, ...]:
        """The option index of every decision of the space, -1 where the decision does not exist."""
        return tuple(
            decision.options.index(architecture[decision.name]) if decision.name in architecture else -1
            for decision in self.decisions
        )

    def decode(self, indices: Sequence[int]) -> Architecture:
        """The architecture of an index vector; the inverse of `encode`.

        Raises:
            SpaceError: a wrong length, an index out of range, an index that is (not) -1 where the decision does (not)
                exist, or an architecture that breaks the rule.
        """
        if len(indices) != len(self.decisions):
            raise SpaceError(f"an encoding of this space has {len(self.decisions)} numbers, not {len(indices)}")
        choices: dict[str, str] = {}
        for decision, index in zip(self.decisions, indices, strict=True):
            if index == -1:
                continue
            if not 0 <= index < len(decision.options):
                raise SpaceError(f"'{decision.name}' has {len(decision.options)} options, not number {index}")
            choices[decision.name] = decision.options[index]
        return self.architecture(choices)


def _pick(ways: Sequence[int], rng: random.Random) -> int:
    """An index with probability proportional to `ways`, exact for integers of any magnitude."""
    draw = rng.randrange(sum(ways))
    for index, count in enumerate(ways):
        if draw < count:
            return index
        draw -= count
    raise AssertionError("unreachable: the draw is below the sum")


def _live_decisions(decisions: Sequence[Decision]) -> tuple[frozenset[str], ...]:
    """For each position, the decisions up to it that a later condition still reads."""
    live: set[str] = set()
    after: list[frozenset[str]] = []
    for decision in reversed(decisions):
        after.append(frozenset(live))
        live.discard(decision.name)
        live.update(decision.when.decisions())
    return tuple(reversed(after))
