"""The graph builder that space kinds fill: decisions, templates, nodes, wires."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import networkx as nx

from nasforge.errors import SpaceError
from nasforge.graph.check import check_supergraph
from nasforge.graph.supergraph import Chosen, Combine, Node, OperationUse, Supergraph, Template, Wire
from nasforge.space.decision import ALWAYS, Condition, Decision, Role
from nasforge.space.search_space import SearchSpace


class TemplateBuilder:
    """Fills one template. A node must be added after the nodes that it reads, so insertion order is topological."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: dict[str, Node] = {}
        self._wires: list[Wire] = []
        self._output: str | None = None
        self._outputs: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._nodes

    def _add(self, node: Node) -> str:
        if node.name in self._nodes:
            raise SpaceError(f"template '{self.name}' has two nodes named '{node.name}'")
        for source in node.inputs:
            if source not in self._nodes:
                raise SpaceError(
                    f"node '{node.name}' of template '{self.name}' reads '{source}', which is not before it"
                )
        self._nodes[node.name] = node
        return node.name

    def input(self, name: str) -> str:
        """A value from outside."""
        return self._add(Node(name, "input"))

    def op(
        self,
        name: str,
        operation: OperationUse,
        inputs: Sequence[str],
        *,
        share: str = "",
        owner: str = "",
        drop: float = 0.0,
    ) -> str:
        """An operation node; `share` is the key of its parameter set (its own name where empty)."""
        return self._add(Node(name, "op", tuple(inputs), operation, share=share or name, owner=owner, drop=drop))

    def merge(self, name: str, combine: Combine, wires: Iterable[tuple[str, Condition]], *, owner: str = "") -> str:
        """A gated combination of (source, condition) wires; a source may stand more than once."""
        listed = tuple(wires)
        numbers = tuple(range(len(self._wires), len(self._wires) + len(listed)))
        node = Node(name, "merge", tuple(s for s, _ in listed), combine=combine, wires=numbers, owner=owner)
        self._add(node)
        self._wires += [Wire(n, s, name, when) for n, (s, when) in zip(numbers, listed, strict=True)]
        return name

    def call(
        self, name: str, template: str, inputs: Sequence[str], *, scope: str, owner: str = "", drop: float = 1.0
    ) -> str:
        """An instance of `template`: its value is the template's output for `inputs`, in the order of its inputs.

        Parameter sets of the template are named by `scope`; two calls with one scope share them.
        """
        return self._add(Node(name, "call", tuple(inputs), template=template, scope=scope, owner=owner, drop=drop))

    def scan(
        self,
        name: str,
        template: str,
        *,
        sequence: Mapping[str, str],
        carry: Mapping[str, str],
        constant: Mapping[str, str] | None = None,
    ) -> str:
        """A loop over time: `template` is called at each step; its value is the sequence of the template's outputs.

        Args:
            name: the node's name.
            template: the template that is one step.
            sequence: template input to the node whose value is cut along its first dimension (time).
            carry: template input to the node of its initial value; its next value is the template's output.
            constant: template input to a node whose value is the same at every step.
        """
        bind = (
            *((key, "sequence", source) for key, source in sequence.items()),
            *((key, "constant", source) for key, source in (constant or {}).items()),
            *((key, "carry", source) for key, source in carry.items()),
        )
        return self._add(Node(name, "scan", tuple(source for _, _, source in bind), template=template, bind=bind))

    def output(self, name: str) -> None:
        """Declare the node whose value the template gives."""
        if self._output is not None:
            raise SpaceError(f"template '{self.name}' has two outputs: '{self._output}' and '{name}'")
        if name not in self._nodes:
            raise SpaceError(f"the output '{name}' of template '{self.name}' is no node of it")
        self._output = name

    def named_output(self, name: str, node: str) -> None:
        """Let who asks for it have the value of `node`, too (see `Template.outputs`)."""
        if name in self._outputs:
            raise SpaceError(f"template '{self.name}' has two outputs named '{name}'")
        if node not in self._nodes:
            raise SpaceError(f"the output '{name}' of template '{self.name}' is '{node}', which is no node of it")
        self._outputs[name] = node

    def finish(self) -> Template:
        """The template, with its networkx graph."""
        if self._output is None:
            raise SpaceError(f"template '{self.name}' has no output")
        graph: nx.DiGraph[str] = nx.DiGraph(name=self.name)
        for node in self._nodes.values():
            graph.add_node(node.name, node=node)
        for node in self._nodes.values():
            for source in node.inputs:
                graph.add_edge(source, node.name)
        for wire in self._wires:
            edge = graph.edges[wire.source, wire.target]
            edge["when"] = (*edge.get("when", ()), wire.when)
        return Template(self.name, graph, dict(self._nodes), tuple(self._wires), self._output, self._outputs)


class GraphBuilder:
    """Collects the decisions and templates of a space; `finish` checks them and gives the supergraph."""

    def __init__(self, stage: Literal["search", "final"] = "search") -> None:
        self._stage: Literal["search", "final"] = stage
        self._decisions: list[Decision] = []
        self._templates: dict[str, TemplateBuilder] = {}
        self._width: Chosen | None = None

    def width(self, width: Chosen) -> None:
        """Declare that the number of features of the main template's inputs is what a decision says."""
        self._width = width

    def decision(
        self, name: str, options: Sequence[str], role: Role, *, owner: str, when: Condition = ALWAYS
    ) -> Decision:
        """Add a decision; those that its condition reads must have been added before."""
        decision = Decision(name, tuple(options), role, owner, when)
        self._decisions.append(decision)
        return decision

    def template(self, name: str) -> TemplateBuilder:
        """Start a template; the entry is named ``main``."""
        if name in self._templates:
            raise SpaceError(f"two templates are named '{name}'")
        self._templates[name] = TemplateBuilder(name)
        return self._templates[name]

    def finish(self) -> Supergraph:
        """Check everything and return the supergraph.

        Raises:
            SpaceError: a rule of the mechanism is broken (see `nasforge.graph.check`).
        """
        space = SearchSpace(self._decisions)
        templates = {name: template.finish() for name, template in self._templates.items()}
        supergraph = Supergraph(space, templates, self._stage, self._width)
        check_supergraph(supergraph)
        return supergraph
