"""Templates and the supergraph: plain networkx graphs whose nodes say what they compute.

``Node.inputs`` is the truth about a node's inputs, ordered and with repeats; the edges of the networkx graph are
derived from it (a DiGraph keeps neither order nor multiplicity). A wire is one input position of a merge: it is the
only place where a condition stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import networkx as nx

from nasforge.errors import SpaceError, suggest
from nasforge.space.decision import ALWAYS, Condition
from nasforge.space.search_space import SearchSpace

NodeRole = Literal["input", "op", "merge", "call", "scan"]
Combine = Literal["sum", "mean", "concat"]


@dataclass(frozen=True)
class Chosen:
    """A value that a decision says, e.g. the kernel of a convolution or the channels of a network.

    Attributes:
        decision: its name.
        values: (option, value) for each of its options.
    """

    decision: str
    values: tuple[tuple[str, Any], ...]

    def value(self, architecture: Mapping[str, str]) -> Any:
        """The value under the choices of `architecture`, in which the decision must exist."""
        return dict(self.values)[architecture[self.decision]]

    def scaled(self, factor: int) -> Chosen:
        """`factor` times the value, which must be a number."""
        return Chosen(self.decision, tuple((option, factor * value) for option, value in self.values))

    def __str__(self) -> str:
        return "|".join(str(value) for _, value in self.values)


@dataclass(frozen=True)
class Open:
    """A parameter as it stands in a space: one of several values, which the kind makes a decision at each place.

    Attributes:
        values: what can be chosen.
        name: of the decision that all uses of it share; empty where it is drawn anew at each place.
    """

    values: tuple[Any, ...]
    name: str = ""

    def __str__(self) -> str:
        return self.name or "|".join(map(str, self.values))


@dataclass(frozen=True)
class OperationUse:
    """An operation by name, with validated parameters.

    Attributes:
        name: the registered name.
        parameters: (name, value) pairs in the order of the operation's config model; values are str, int, float, bool
            or None, or what a decision says (`Chosen`; in a space `Open`).
        parts: operations that it is made of, e.g. the activation of a highway step.
        given: further (name, value) pairs that the network says and no user writes, e.g. the stride.
    """

    name: str
    parameters: tuple[tuple[str, Any], ...] = ()
    parts: tuple[OperationUse, ...] = ()
    given: tuple[tuple[str, Any], ...] = ()

    @property
    def label(self) -> str:
        """The name with its parts and parameters as users see it, e.g. ``leaky_relu(slope=0.1)``."""
        return self._described(self.parameters)

    @property
    def whole_label(self) -> str:
        """The label with what the network says: equal for equal computations."""
        return self._described((*self.parameters, *self.given))

    def _described(self, values: tuple[tuple[str, Any], ...]) -> str:
        shown = [part.label for part in self.parts] + [f"{key}={value}" for key, value in values]
        return f"{self.name}({', '.join(shown)})" if shown else self.name

    @cached_property
    def chosen(self) -> tuple[Chosen, ...]:
        """The parameters that decisions say, those of its parts included."""
        own = (value for _, value in (*self.parameters, *self.given) if isinstance(value, Chosen))
        return (*own, *(each for part in self.parts for each in part.chosen))

    def resolved(self, architecture: Mapping[str, str]) -> OperationUse:
        """The same use with the values of `architecture` for what decisions say."""
        if not self.chosen:
            return self
        parameters, given = (
            tuple((key, value.value(architecture) if isinstance(value, Chosen) else value) for key, value in pairs)
            for pairs in (self.parameters, self.given)
        )
        return OperationUse(self.name, parameters, tuple(part.resolved(architecture) for part in self.parts), given)


def operation_of(option: str) -> str:
    """The name of the operation in an option of a decision of role ``op`` (see `OperationUse.label`)."""
    return option.partition("(")[0]


@dataclass(frozen=True)
class Node:
    """One node of a template.

    Attributes:
        name: unique in its template.
        role: ``input`` (a value from outside), ``op``, ``merge`` (a gated combination), ``call`` (an instance of
            another template) or ``scan`` (a loop over time).
        inputs: names of the nodes it reads, in order, repeats allowed.
        operation: for ops, what is computed.
        share: for ops, the key of the parameter set; nodes with an equal key use one set.
        combine: for merges, ``sum``, ``mean`` (divided by the sum of the open gates) or ``concat`` (along the first
            dimension of shapes, channels; under hard gates only).
        wires: for merges, the number of the wire at each input position.
        template: for calls and scans, the template that is called; the inputs of a call are those of the template.
        scope: for calls, what the names of the template's parameter sets begin with: calls of one scope share weights.
        bind: for scans, for each input of the template: ``("sequence" | "constant" | "carry", source)``; the carry's
            source is the initial value, and the template's output is its next value.
        owner: the architectural node that it belongs to, e.g. ``node3``; empty for plumbing.
        drop: for ops, how strongly drop-path drops the value in training, from 0 (never) to 1; for calls, the factor of
            all that is dropped in them.
    """

    name: str
    role: NodeRole
    inputs: tuple[str, ...] = ()
    operation: OperationUse | None = None
    share: str = ""
    combine: Combine = "sum"
    wires: tuple[int, ...] = ()
    template: str = ""
    scope: str = ""
    bind: tuple[tuple[str, str, str], ...] = ()
    owner: str = ""
    drop: float = 0.0


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
        outputs: further nodes whose values it gives to who asks for them, by the name of the output. They are computed
            only then, and are no part of what an architecture is.
    """

    name: str
    graph: nx.DiGraph[str]
    nodes: Mapping[str, Node]
    wires: tuple[Wire, ...]
    output: str
    outputs: Mapping[str, str] = field(default_factory=dict)

    @cached_property
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
        width: the number of features of the main template's inputs, where the space searches it.
    """

    space: SearchSpace
    templates: Mapping[str, Template]
    stage: Literal["search", "final"] = "search"
    width: Chosen | None = None

    @property
    def main(self) -> Template:
        """The entry template."""
        return self.templates["main"]

    @cached_property
    def recurrent(self) -> bool:
        """Whether there is a loop over time."""
        return any(node.role == "scan" for t in self.templates.values() for node in t.nodes.values())

    @cached_property
    def drops(self) -> bool:
        """Whether drop-path finds something to drop."""
        return any(node.drop for t in self.templates.values() for node in t.nodes.values() if node.role == "op")

    @cached_property
    def searched_values(self) -> tuple[str, ...]:
        """The decisions that say values: parameters of operations, channels, the width; in the order of the space."""
        uses = [node.operation for t in self.templates.values() for node in t.nodes.values() if node.operation]
        found = {each.decision for use in uses for each in use.chosen}
        if self.width is not None:
            found.add(self.width.decision)
        return tuple(decision.name for decision in self.space.decisions if decision.name in found)

    @cached_property
    def searched(self) -> tuple[str, ...]:
        """The templates in which something is chosen, in the order of declaration; ``main`` where nothing is."""
        names = tuple(
            name
            for name, template in self.templates.items()
            if any(wire.when != ALWAYS for wire in template.wires)
            or any(node.operation and node.operation.chosen for node in template.nodes.values())
        )
        cells = tuple(name for name in names if name != "main")
        return cells or names or ("main",)

    def template(self, name: str) -> Template:
        """The template of that name; raises SpaceError with a suggestion where there is none."""
        if name not in self.templates:
            raise SpaceError(f"the graph has no template '{name}'.{suggest(name, self.templates)}")
        return self.templates[name]
