"""A sample of architectures that no search has chosen, spread over their sizes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from nasforge.graph.canonical import canonical_digest
from nasforge.graph.supergraph import Supergraph
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace

DRAWS = 20
"""Draws for each architecture of a sample, among which it is chosen."""


@dataclass(frozen=True)
class Member:
    """An architecture of a sample.

    Attributes:
        architecture: itself.
        canonical_digest: equal for isomorphic ones; different for all members of one sample.
        parameters: its size, by which the sample was spread.
    """

    architecture: Architecture
    canonical_digest: str
    parameters: int


def stratified(
    graph: Supergraph, parameters: Callable[[Architecture], int], count: int, rng: random.Random
) -> list[Member]:
    """Up to `count` architectures, from the smallest size to the largest; fewer where the draws hold fewer.

    Draws within the limits, without isomorphic copies, are sorted by size and cut into `count` strata with equally
    many; of each stratum one is drawn. Half of the draws are uniform over decisions, not over architectures: where the
    size of a network is searched, small ones are few and would hardly ever come.

    Args:
        graph: whose space is drawn from.
        parameters: the size of an architecture.
        count: how many.
        rng: draws.

    Raises:
        SpaceError: the limits leave next to nothing of the space.
    """
    drawn: dict[str, Architecture] = {}
    for number in range(DRAWS * count):
        architecture = graph.space.sample(rng) if number % 2 else _by_decision(graph.space, rng)
        # Narrow limits admit few of those that are drawn decision by decision.
        if not graph.space.admits(architecture):
            continue
        drawn.setdefault(canonical_digest(graph, architecture), architecture)
    members = [Member(architecture, digest, parameters(architecture)) for digest, architecture in drawn.items()]
    members.sort(key=lambda member: member.parameters)
    count = min(count, len(members))
    bounds = [len(members) * i // count for i in range(count + 1)]
    return [rng.choice(members[begin:end]) for begin, end in pairwise(bounds)]


def _by_decision(space: SearchSpace, rng: random.Random) -> Architecture:
    """Each option of a decision equally likely; within limits or not."""
    choices: dict[str, str] = {}
    for decision in space.decisions:
        if decision.when.holds(choices):
            choices[decision.name] = rng.choice(decision.options)
    return Architecture(tuple(choices.items()))
