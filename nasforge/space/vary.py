"""Moving between architectures: mutation, crossover, neighbours, distance.

Every function takes valid architectures, refuses others with what is wrong (`SearchSpace.architecture`), and gives
valid ones; under a rule of the space (`SearchSpace.limited`) they are drawn again until one keeps it, 10,000 times at
most. The repair is one principle: walk the decisions in the order of the space; one that exists under the choices made
so far keeps its option where it had one, a newly existing one gets an option, one that no longer exists is dropped.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping

from nasforge.errors import SpaceError
from nasforge.space.architecture import Architecture
from nasforge.space.decision import Decision
from nasforge.space.rule import draw_within
from nasforge.space.search_space import SearchSpace

_TRIES = 20


def mutate(space: SearchSpace, architecture: Mapping[str, str], rng: random.Random, *, count: int = 1) -> Architecture:
    """Change exactly `count` decisions of `architecture` to another option, drawn at random.

    The decisions are drawn uniformly, without replacement, from those that exist and have another option; their new
    options uniformly from the others. Newly existing decisions are drawn uniformly and do not count. A draw in which
    one change removes the decision of another is drawn again, and after 20 of them the changes are found by a search,
    so that an error means that there is no such mutation. With ``count=1`` there always is one in a space of more than
    one architecture.

    Args:
        space: the space.
        architecture: what is changed.
        rng: the source of randomness; nothing else is used.
        count: how many decisions change, at least 1.

    Raises:
        SpaceError: no architecture of the space is an answer, `count` is below 1, `architecture` is not valid, or the
            rule admitted none of 10,000 mutations.
    """
    before = space.architecture(architecture)
    if count < 1:
        raise SpaceError(f"a mutation changes at least one decision, not {count}")
    free = [decision.name for decision in space.active(before) if len(decision.options) > 1]
    if len(free) < count:
        what = "the space has one architecture" if space.size == 1 else f"{len(free)} have another option"
        raise SpaceError(f"cannot change {count} of the decisions of this architecture: {what}")
    return _within(space, lambda: _mutated(space, before, free, rng, count), "mutations of this architecture")


def _within(space: SearchSpace, draw: Callable[[], Architecture], what: str) -> Architecture:
    return draw() if space.rule is None else draw_within(space.rule, draw, what)


def _mutated(space: SearchSpace, before: Architecture, free: list[str], rng: random.Random, count: int) -> Architecture:
    for _ in range(_TRIES):
        changed = frozenset(rng.sample(free, count))
        after = _walk(space, _changing(changed, before, rng))
        if changed <= after.keys():
            return after
    return _exhaustive(space, before, rng, count)


def _changing(changed: Collection[str], before: Architecture, rng: random.Random) -> Callable[[Decision], str]:
    """Another option for what is changed, the option before for what existed, any option for the rest."""

    def choose(decision: Decision) -> str:
        if decision.name not in before:
            return rng.choice(decision.options)
        old = before[decision.name]
        if decision.name not in changed:
            return old
        return rng.choice([option for option in decision.options if option != old])

    return choose


def _walk(space: SearchSpace, choose: Callable[[Decision], str]) -> Architecture:
    """The architecture whose existing decisions are decided by `choose`, in the order of the space."""
    choices: dict[str, str] = {}
    for decision in space.decisions:
        if decision.when.holds(choices):
            choices[decision.name] = choose(decision)
    return Architecture(tuple(choices.items()))


def _exhaustive(space: SearchSpace, before: Architecture, rng: random.Random, count: int) -> Architecture:
    """A mutation by depth-first search in random order; states that led nowhere are not visited twice."""
    last_read = {name: at for at, decision in enumerate(space.decisions) for name in decision.when.decisions()}
    seen: set[tuple[int, int, tuple[tuple[str, str], ...]]] = set()
    waiting: list[tuple[int, int, dict[str, str]]] = [(0, count, {})]
    while waiting:
        position, left, choices = waiting.pop()
        live = tuple(item for item in choices.items() if last_read.get(item[0], -1) >= position)
        if (position, left, live) in seen:
            continue
        seen.add((position, left, live))
        if position == len(space.decisions):
            if left == 0:
                return Architecture(tuple(choices.items()))
            continue
        decision = space.decisions[position]
        if not decision.when.holds(choices):
            waiting.append((position + 1, left, choices))
            continue
        old = before.get(decision.name)
        for option in rng.sample(decision.options, len(decision.options)):
            after = left - (old is not None and option != old)
            if after >= 0:
                waiting.append((position + 1, after, {**choices, decision.name: option}))
    raise SpaceError(
        f"cannot change {count} decisions of this architecture: every change removes decisions, so that fewer are left"
    )


def cross(space: SearchSpace, a: Mapping[str, str], b: Mapping[str, str], rng: random.Random) -> Architecture:
    """Uniform crossover: each decision from one of the parents, with equal probability.

    A decision that exists in one parent only is taken from it; one that exists in neither, but under the mixture of
    their choices, is drawn uniformly.

    Args:
        space: the space.
        a: a parent.
        b: the other parent.
        rng: the source of randomness; nothing else is used.

    Raises:
        SpaceError: a parent is not valid, or the rule admitted none of 10,000 crossovers.
    """
    parents = space.architecture(a), space.architecture(b)

    def choose(decision: Decision) -> str:
        offered = [parent[decision.name] for parent in parents if decision.name in parent]
        return rng.choice(offered or decision.options)

    return _within(space, lambda: _walk(space, choose), "crossovers of these architectures")


def neighbours(space: SearchSpace, architecture: Mapping[str, str]) -> Iterator[Architecture]:
    """Every architecture that one changed decision leads to, each once; under a rule, those that it admits.

    They come in the order of the decisions and of their options. Without a rule there is exactly one for each other
    option of each existing decision: where the change brings new decisions into existence, they take their first
    options, and those that it removes are dropped. Only a change that touches no existence can therefore always be
    undone by one step.

    Args:
        space: the space.
        architecture: where to start.

    Raises:
        SpaceError: `architecture` is not valid (on the first item).
    """
    before = space.architecture(architecture)
    for changed in space.active(before):
        for option in changed.options:
            if option != before[changed.name]:
                after = _walk(space, _keeping({**before, changed.name: option}))
                if space.admits(after):
                    yield after


def _keeping(choices: Mapping[str, str]) -> Callable[[Decision], str]:
    """The option of `choices`, the first option where there is none."""
    return lambda decision: choices.get(decision.name, decision.options[0])


def distance(space: SearchSpace, a: Mapping[str, str], b: Mapping[str, str]) -> int:
    """The number of decisions on which two architectures differ, those that exist in one only included (a metric).

    Raises:
        SpaceError: `a` or `b` is not valid.
    """
    one, other = space.architecture(a), space.architecture(b)
    return sum(one.get(decision.name) != other.get(decision.name) for decision in space.decisions)
