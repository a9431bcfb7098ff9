"""The outline of a template: its architectural nodes and what flows between them, with the plumbing contracted.

Pictures and text listings are made from outlines. An outline is read off the graph alone: nodes with one `owner` are
one architectural node; masks, clips, projections and adds are contracted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import networkx as nx

from nasforge.errors import SpaceError
from nasforge.graph.plan import plan_architecture
from nasforge.graph.supergraph import Node, Supergraph, Template
from nasforge.space.decision import exclude_one_another

PLUMBING = frozenset(
    {"mask", "clip_norm", "projection", "add"}
    | {"pointwise", "calibrate", "factorised_reduction", "project", "batch_norm", "rectify"}
)
"""Names of operations that no architecture chooses: they are never shown."""

_HALVES = "factorised_reduction"
"""What halves images between nodes."""

HIDDEN_INPUTS = frozenset({"mask"})
"""Names of template inputs that carry no data of the architecture."""

_MERGE_LABELS: Mapping[str, str] = {"mean": "avg", "sum": "add", "concat": "concat"}

_TERM = "project"
"""One term of a sum that stands for a concatenation."""

OutlineKind = Literal["input", "op", "merge", "output"]
_Entries = Mapping[str, tuple[Node, tuple[str, ...]]]


@dataclass(frozen=True)
class OutlineNode:
    """One architectural node.

    Attributes:
        id: unique in the outline: the owner, ``input:NAME``, ``merge:NAME`` or ``output:LABEL``.
        kind: ``input``, ``op``, ``merge`` (the final one) or ``output``.
        name: the name in the graph (``x``, ``node3``); for a merge how it combines; for the output what it is (``h``).
        label: short form for a picture, e.g. ``x[t]``, ``3``, ``avg``, ``h[t]``.
        operations: labels of the operations that give its value: of the open ones in an architecture, of all
            alternatives in a space; each once, in graph order.
        values: in an architecture, the same labels with the values that it chose for searched parameters.
        halvings: how often the network has halved its images before this node; halvings inside a node do not count.
    """

    id: str
    kind: OutlineKind
    name: str
    label: str
    operations: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    halvings: int = 0

    @property
    def scale(self) -> str:
        """The size of the images that it reads, as a part of the first, e.g. ``1/4``; empty where it is the whole."""
        return f"1/{2**self.halvings}" if self.halvings else ""


@dataclass(frozen=True)
class Outline:
    """Architectural nodes in topological order, and edges as (source id, target id), each once."""

    nodes: tuple[OutlineNode, ...]
    edges: tuple[tuple[str, str], ...]

    def sources(self, target: str) -> tuple[str, ...]:
        """The ids of the nodes that `target` reads."""
        return tuple(source for source, reader in self.edges if reader == target)


def architecture_outline(supergraph: Supergraph, architecture: Mapping[str, str], template: str) -> Outline:
    """The outline of the child of `architecture` in one template.

    Raises:
        SpaceError: there is no such template, the child does not call it, or its owners form a cycle.
    """
    known = supergraph.template(template)
    plan = plan_architecture(supergraph, architecture).templates.get(template)
    if plan is None:
        raise SpaceError(f"the architecture does not call the template '{template}'")
    entries = {name: (known.nodes[name], ()) for name in known.inputs} | {
        step.name: (step.node, step.inputs) for step in plan.steps
    }
    outline = _outline(supergraph, template, entries, plan.output)
    chosen = {
        step.name: (replace(step.node, operation=step.operation), step.inputs)
        for step in plan.steps
        if step.operation is not step.node.operation
    }
    values = _operations({**entries, **chosen}, plan.output) if chosen else {}
    return replace(
        outline, nodes=tuple(replace(node, values=values.get(node.id, node.operations)) for node in outline.nodes)
    )


def space_outline(supergraph: Supergraph, template: str) -> Outline:
    """The outline of every alternative of one template.

    Raises:
        SpaceError: there is no such template, or its owners form a cycle.
    """
    known = supergraph.template(template)
    entries = {name: (node, node.inputs) for name, node in known.nodes.items()}
    return _outline(supergraph, template, entries, known.output)


def _outline(supergraph: Supergraph, template: str, entries: _Entries, output: str) -> Outline:
    known = supergraph.template(template)
    times, result = _times(supergraph, template)
    final = _final_merge(entries, output)
    origins: dict[str, tuple[str, ...]] = {}
    nodes: dict[str, OutlineNode] = {}
    edges: dict[tuple[str, str], None] = {}
    for name, (node, inputs) in entries.items():
        read = tuple(dict.fromkeys(origin for source in inputs for origin in origins[source]))
        shown: OutlineNode | None = None
        if node.role == "input":
            if name not in HIDDEN_INPUTS:
                shown = OutlineNode(f"input:{name}", "input", name, name + times.get(name, ""))
        elif node.owner:
            shown = OutlineNode(node.owner, "op", node.owner, _short(node.owner))
        elif name == final and len(read) > 1:
            combine = "concat" if _are_terms(entries, inputs) else str(node.combine)
            if _exclude_one_another(supergraph, known, node):
                combine = "one of"
            shown = OutlineNode(f"merge:{name}", "merge", combine, _MERGE_LABELS.get(combine, combine))
        elif node.template or (node.operation and node.operation.name not in PLUMBING):
            what = node.operation.label if node.operation else node.template
            shown = OutlineNode(name, "op", name, name, () if what == name else (what,))
        if shown is None:
            origins[name] = read
            continue
        nodes.setdefault(shown.id, shown)
        edges.update(dict.fromkeys((origin, shown.id) for origin in read if origin != shown.id))
        origins[name] = (shown.id,)
    end = OutlineNode(f"output:{result}", "output", result, f"{result}[t]" if times else result)
    nodes[end.id] = end
    edges.update(dict.fromkeys((origin, end.id) for origin in origins[output]))
    operations = _operations(entries, output)
    halvings = _halvings(entries)
    read_or_reading = {name for edge in edges for name in edge}
    completed = [
        replace(n, operations=operations.get(n.id, n.operations), halvings=halvings.get(n.id, 0))
        for n in nodes.values()
        if n.id in read_or_reading
    ]
    return _sorted(template, completed, edges)


def _sorted(template: str, nodes: Iterable[OutlineNode], edges: Iterable[tuple[str, str]]) -> Outline:
    by_id = {node.id: node for node in nodes}
    rank = {name: position for position, name in enumerate(by_id)}
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(by_id)
    graph.add_edges_from(edges)
    if not nx.is_directed_acyclic_graph(graph):
        raise SpaceError(f"the owners of template '{template}' form a cycle: it has no outline")
    names = list(nx.lexicographical_topological_sort(graph, key=rank.__getitem__))
    rank = {name: position for position, name in enumerate(names)}
    ordered = sorted(edges, key=lambda edge: (rank[edge[1]], rank[edge[0]]))
    return Outline(tuple(by_id[name] for name in names), tuple(ordered))


def _times(supergraph: Supergraph, template: str) -> tuple[dict[str, str], str]:
    """For a template that is scanned over time: each input's time, and the name of what the output becomes."""
    suffix = {"sequence": "[t]", "carry": "[t-1]"}
    for caller in supergraph.templates.values():
        for node in caller.nodes.values():
            if node.role == "scan" and node.template == template:
                carried = [key for key, mode, _ in node.bind if mode == "carry"]
                times = {key: suffix[mode] for key, mode, _ in node.bind if mode in suffix}
                return times, carried[0] if len(carried) == 1 else "output"
    return {}, "output"


def _final_merge(entries: _Entries, output: str) -> str:
    """The merge whose value is the output but for plumbing; empty where there is none."""
    node, inputs = entries[output]
    while node.role == "op" and not node.owner and node.operation and node.operation.name in PLUMBING:
        data = [source for source in inputs if source not in HIDDEN_INPUTS]
        if len(data) != 1:
            return ""
        output = data[0]
        node, inputs = entries[output]
    return output if node.role == "merge" and not node.owner else ""


def _operations(entries: _Entries, output: str) -> dict[str, tuple[str, ...]]:
    """For every owner the labels of the operations behind the values that leave it."""
    leaving = {output}
    for node, inputs in entries.values():
        leaving.update(source for source in inputs if entries[source][0].owner != node.owner)
    found: dict[str, dict[str, None]] = {}
    seen: set[str] = set()
    for exit_name in entries:
        owner = entries[exit_name][0].owner
        if not owner or exit_name not in leaving:
            continue
        labels = found.setdefault(owner, {})
        waiting = [exit_name]
        while waiting:
            name = waiting.pop()
            node, inputs = entries[name]
            if name in seen or node.owner != owner:
                continue
            seen.add(name)
            if node.operation is not None and node.operation.name not in PLUMBING:
                use = node.operation
                labels[use.parts[0].label if use.parts else use.label] = None
            else:
                waiting += reversed(inputs)
    return {owner: tuple(labels) for owner, labels in found.items()}


def _halvings(entries: _Entries) -> dict[str, int]:
    """For every owner how often the values that it reads were halved by plumbing."""
    before: dict[str, int] = {}
    found: dict[str, int] = {}
    for name, (node, inputs) in entries.items():
        halves = not node.owner and node.operation is not None and node.operation.name == _HALVES
        before[name] = max((before[source] for source in inputs), default=0) + halves
        if node.owner:
            found[node.owner] = max(found.get(node.owner, 0), before[name])
    return found


def _exclude_one_another(supergraph: Supergraph, template: Template, merge: Node) -> bool:
    """Whether at most one wire into a merge can be open: it selects, and combines nothing."""
    options = {decision.name: decision.options for decision in supergraph.space.decisions}
    terms = [template.wires[wire].when.terms for wire in merge.wires]
    return len(terms) > 1 and all(
        exclude_one_another(a, b, options) for one, other in combinations(terms, 2) for a in one for b in other
    )


def _are_terms(entries: _Entries, inputs: tuple[str, ...]) -> bool:
    operations = [entries[source][0].operation for source in inputs]
    return all(use is not None and use.name == _TERM for use in operations)


def chosen_sizes(supergraph: Supergraph, architecture: Mapping[str, str]) -> tuple[str, ...]:
    """What an architecture chose that is no node's own: sizes, widths, shared numbers; e.g. ``layers = 4``."""
    owners = {node.owner for template in supergraph.templates.values() for node in template.nodes.values()}
    return tuple(
        f"{decision.name} = {architecture[decision.name]}"
        for decision in supergraph.space.decisions
        if decision.role in ("number", "size") and decision.owner not in owners and decision.name in architecture
    )


def _short(owner: str) -> str:
    """``node3`` and ``normal.node3`` are shown as ``3``; a branch ``node3.1`` not at all; other names as they are."""
    if re.search(r"\d\.\d+$", owner):
        return ""
    number = re.search(r"(?<=[^\W\d])\d+$", owner)
    return number.group() if number else owner
