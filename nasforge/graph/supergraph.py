"""Templates and the supergraph: plain networkx graphs whose nodes say what they compute.

``Node.inputs`` is the truth about a node's inputs, ordered and with repeats; the edges of the networkx graph are
derived from it (a DiGraph keeps neither order nor multiplicity). A wire is one input position of a merge: it is the
only place where a condition stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import networkx as nx

from nasforge.errors import SpaceError, suggest
from nasforge.space.decision import Condition
from nasforge.space.search_space import SearchSpace

NodeRole = Literal["input", "op", "merge", "scan"]
Combine = Literal["sum", "mean"]


@dataclass(frozen=True)
class OperationUse:
    """An operation by name, with validated parameters.

    Attributes:
        name: the registered name.
        parameters: (name, value) pairs in the order of the operation's config model; values are str, int, float, bool
            or None.
        parts: operations that it is made of, e.g. the activation of a highway step.
    """

    name: str
    parameters: tuple[tuple[str, Any], ...] = ()
    parts: tuple[OperationUse, ...] = ()

    @property
    def label(self) -> str:
        """The name with its parts and parameters, e.g. ``leaky_relu(slope=0.1)``: unique per use, shown to users."""
        shown = [part.label for part in self.parts] + [f"{key}={value}" for key, value in self.parameters]
        return f"{self.name}({', '.join(shown)})" if shown else self.name


@dataclass(frozen=True)
class Node:
    """One node of a template.

    Attributes:
        name: unique in its template.
        role: ``input`` (a value from outside), ``op``, ``merge`` (a gated combination) or ``scan`` (a loop over time).
        inputs: names of the nodes it reads, in order, repeats allowed.
        operation: for ops, what is computed.
        share: for ops, the key of the parameter set; nodes with an equal key use one set.
        combine: for merges, ``sum`` or ``mean``. The mean divides by the sum of its open gates.
        wires: for merges, the number of the wire at each input position.
        template: for scans, the template that is called at each step.
        bind: for scans, for each input of the template: ``("sequence" | "constant" | "carry", source)``; the carry's
            source is the initial value, and the template's output is its next value.
        owner: the architectural node that it belongs to, e.g. ``node3``; empty for plumbing.
    """

    name: str
    role: NodeRole
    inputs: tuple[str, ...] = ()
    operation: OperationUse | None = None
    share: str = ""
    combine: Combine = "sum"
    wires: tuple[int, ...] = ()
    template: str = ""
    bind: tuple[tuple[str, str, str], ...] = ()
    owner: str = ""


@dataclass(frozen=True)
class Wire:
    """One input position of a merge and when it is open.

    Attributes:
        number: index in the template's wires.
        source: the node that it comes from.
        target: the merge.
        when: the condition under which it is open.
    """

    number: int
    source: str
    target: str
    when: Condition


@dataclass(frozen=True)
class Template:
    """A graph with named inputs and one output, called by other templates.

    Attributes:
        name: unique in the supergraph; the entry is ``main``.
        graph: a networkx DiGraph whose nodes carry a `Node` under the key ``node``; edges into merges carry ``when``,
            a tuple with one condition per position at which the source stands.
        nodes: name to `Node` in topological order.
        wires: all wires, by number.
        output: the node whose value the template gives.
    """

    name: str
    graph: nx.DiGraph[str]
    nodes: Mapping[str, Node]
    wires: tuple[Wire, ...]
    output: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of its input nodes, in order of declaration."""
        return tuple(name for name, node in self.nodes.items() if node.role == "input")

    def open_wires(self, architecture: Mapping[str, str]) -> frozenset[int]:
        """The wires whose condition holds under the choices of `architecture`.

        In time proportional to the choices, not to the alternatives: of a cell of 64 nodes one wire in 25 is looked at.
        """
        asking, unasked = self._wires_by_choice
        candidates = [wire for choice in architecture.items() for wire in asking.get(choice, ())]
        return frozenset([wire.number for wire in (*candidates, *unasked) if wire.when.holds(architecture)])

    @cached_property
    def _wires_by_choice(self) -> tuple[Mapping[tuple[str, str], Sequence[Wire]], Sequence[Wire]]:
        """The wires that cannot be open without a certain choice, by that choice; and those that ask for none."""
        asking: dict[tuple[str, str], list[Wire]] = {}
        unasked: list[Wire] = []
        for wire in self.wires:
            asked = [next((l for l in term if l.positive), None) for term in wire.when.terms]
            if None in asked:
                unasked.append(wire)
            else:
                for choice in dict.fromkeys((l.decision, l.option) for l in asked if l is not None):
                    asking.setdefault(choice, []).append(wire)
        return asking, unasked

    @cached_property
    def rank(self) -> Mapping[str, int]:
        """The position of every node in the topological order."""
        return {name: position for position, name in enumerate(self.nodes)}


@dataclass(frozen=True)
class Supergraph:
    """The compiled space: its decisions and its templates.

    Attributes:
        space: the decisions.
        templates: by name; ``main`` is the entry.
        stage: ``search`` or ``final``.
    """

    space: SearchSpace
    templates: Mapping[str, Template]
    stage: Literal["search", "final"] = "search"

    @property
    def main(self) -> Template:
        """The entry template."""
        return self.templates["main"]

    def template(self, name: str) -> Template:
        """The template of that name; raises SpaceError with a suggestion where there is none."""
        if name not in self.templates:
            raise SpaceError(f"the graph has no template '{name}'.{suggest(name, self.templates)}")
        return self.templates[name]
