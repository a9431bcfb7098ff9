"""The number of architectures up to isomorphism, by listing them: for any kind, where the space is small.

Decisions that no condition and no template joins, such as those of two cells, make independent parts of a space: what
one part decides says nothing about the children of another. Each part is listed by itself, and the numbers multiply.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import networkx as nx

from nasforge.errors import SpaceError
from nasforge.graph.canonical import canonical_digest
from nasforge.graph.plan import plan_architecture
from nasforge.graph.supergraph import Supergraph, Template
from nasforge.space.decision import ALWAYS
from nasforge.space.search_space import SearchSpace

MOST_LISTED = 10**7
"""Architectures of one part that are listed at most."""


@dataclass(frozen=True)
class Part:
    """Decisions that can be made without regard to the others.

    Attributes:
        space: the decisions.
        templates: the templates whose children depend on them.
    """

    space: SearchSpace
    templates: frozenset[str]


def independent_parts(supergraph: Supergraph) -> tuple[Part, ...]:
    """The parts of a space, each as small as can be, in the order of their first decisions."""
    joined: nx.Graph[tuple[str, str]] = nx.Graph()
    for decision in supergraph.space.decisions:
        joined.add_node(("decision", decision.name))
        joined.add_edges_from((("decision", decision.name), ("decision", read)) for read in decision.when.decisions())
    certain = _certainly_called(supergraph)
    for name, template in supergraph.templates.items():
        joined.add_node(("template", name))
        joined.add_edges_from((("template", name), ("decision", read)) for read in _reads(template))
        # Where a choice says whether a template is called, it says whether the choices in it matter.
        joined.add_edges_from(
            (("template", name), ("template", called)) for _, called in _calls(template) if called not in certain
        )
    parts = []
    for component in nx.connected_components(joined):
        decisions = [d for d in supergraph.space.decisions if ("decision", d.name) in component]
        if decisions:
            templates = frozenset(name for what, name in component if what == "template")
            parts.append(Part(SearchSpace(decisions), templates))
    place = {decision.name: index for index, decision in enumerate(supergraph.space.decisions)}
    return tuple(sorted(parts, key=lambda part: place[part.space.decisions[0].name]))


def _reads(template: Template) -> Iterator[str]:
    """The decisions that the children of a template depend on; the calls in it apart."""
    for wire in template.wires:
        yield from wire.when.decisions()
    for node in template.nodes.values():
        if node.operation:
            yield from (chosen.decision for chosen in node.operation.chosen)


def _calls(template: Template) -> Iterator[tuple[str, str]]:
    """The nodes that call a template, and which."""
    for node in template.nodes.values():
        if node.template:
            yield node.name, node.template


def _certainly_called(supergraph: Supergraph) -> frozenset[str]:
    """Templates that every architecture calls: found from ``main`` without a wire that may be closed."""
    certain: set[str] = set()
    waiting = ["main"]
    while waiting:
        name = waiting.pop()
        if name not in certain:
            certain.add(name)
            template = supergraph.template(name)
            demanded = _certainly_demanded(template)
            waiting += [called for node, called in _calls(template) if node in demanded]
    return frozenset(certain)


def _certainly_demanded(template: Template) -> set[str]:
    demanded: set[str] = set()
    waiting = [template.output]
    while waiting:
        name = waiting.pop()
        if name not in demanded:
            demanded.add(name)
            node = template.nodes[name]
            wires = [template.wires[number] for number in node.wires]
            waiting += [wire.source for wire in wires if wire.when == ALWAYS] if wires else node.inputs
    return demanded


class Listing:
    """The architectures of a space, to be listed part by part.

    Args:
        supergraph: the compiled space.
    """

    def __init__(self, supergraph: Supergraph) -> None:
        self._supergraph = supergraph
        self._parts = independent_parts(supergraph)
        self._some = next(supergraph.space.each())

    @property
    def largest(self) -> int:
        """Architectures of the largest part."""
        return max((part.space.size for part in self._parts), default=1)

    @property
    def steps(self) -> int:
        """About how many steps of plans `count_distinct` looks at: 100,000 to 500,000 in a second."""
        plans = plan_architecture(self._supergraph, self._some).templates.values()
        return sum(part.space.size for part in self._parts) * sum(len(plan.steps) for plan in plans)

    def count_distinct(self) -> int:
        """How many architectures there are, those of one canonical digest counted once.

        Raises:
            SpaceError: a part of the space has more than `MOST_LISTED` architectures.
        """
        if self.largest > MOST_LISTED:
            raise SpaceError(
                f"not computed: {self.largest:,} architectures are too many to list (at most {MOST_LISTED:,})"
            )
        total = 1
        for part in self._parts:
            others = {name: option for name, option in self._some.items() if name not in part.space}
            digests = (
                canonical_digest(self._supergraph, {**others, **chosen}, part.templates) for chosen in part.space.each()
            )
            # As bytes, since there may be millions of them.
            total *= len({bytes.fromhex(digest) for digest in digests})
        return total
