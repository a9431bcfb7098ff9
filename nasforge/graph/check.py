"""Compile checks: what must hold before a supergraph may be used."""

from __future__ import annotations

import networkx as nx

from nasforge.errors import SpaceError, suggest
from nasforge.graph.supergraph import Supergraph, Template
from nasforge.space.decision import Term, exclude_one_another


def check_supergraph(supergraph: Supergraph) -> None:
    """Raise SpaceError unless the supergraph keeps the rules of the mechanism.

    The rules: there is a ``main`` template; every template is acyclic; every node can reach the output; literals name
    real options, and values that decisions say have one for each option; the terms of a wire exclude one another; no
    wire is closed for every architecture; templates call no template that calls them; calls give exactly the inputs of
    their template; scans name a template that scans nothing and bind exactly its inputs, with a sequence and one carry
    at most; no merge is without wires.
    """
    if "main" not in supergraph.templates:
        raise SpaceError("the graph has no template 'main'")
    options = {decision.name: decision.options for decision in supergraph.space.decisions}
    _check_nesting(supergraph)
    for template in supergraph.templates.values():
        _check_structure(template)
        _check_values(template, supergraph, options)
        _check_scans(template, supergraph)
        for wire in template.wires:
            place = f"the wire {wire.source} -> {wire.target} of template '{template.name}'"
            for term in wire.when.terms:
                _check_literals(term, options, place)
            terms = wire.when.terms
            possible = [term for term in terms if not exclude_one_another(term, (), options)]
            if not possible:
                raise SpaceError(f"{place} can never be open")
            for index, term in enumerate(terms):
                for other in terms[index + 1 :]:
                    if not exclude_one_another(term, other, options):
                        raise SpaceError(f"{place} has terms that can hold together: {wire.when}")


def _check_structure(template: Template) -> None:
    if not nx.is_directed_acyclic_graph(template.graph):
        raise SpaceError(f"template '{template.name}' has a cycle")
    useful = nx.ancestors(template.graph, template.output) | {template.output}
    empty = [name for name, node in template.nodes.items() if node.role == "merge" and not node.inputs]
    if empty:
        raise SpaceError(f"template '{template.name}' has merges without wires: {', '.join(empty)}")
    lost = [name for name, node in template.nodes.items() if name not in useful and node.role != "input"]
    if lost:
        raise SpaceError(f"template '{template.name}' has nodes that cannot reach its output: {', '.join(lost)}")


def _check_nesting(supergraph: Supergraph) -> None:
    calls: nx.DiGraph[str] = nx.DiGraph()
    for template in supergraph.templates.values():
        for node in template.nodes.values():
            if node.role in ("call", "scan"):
                calls.add_edge(template.name, supergraph.template(node.template).name)
            if node.role == "call" and len(node.inputs) != len(supergraph.template(node.template).inputs):
                called = supergraph.template(node.template)
                raise SpaceError(
                    f"call '{node.name}' gives {len(node.inputs)} inputs, but template '{called.name}' takes "
                    f"{len(called.inputs)}: {', '.join(called.inputs)}"
                )
    if not nx.is_directed_acyclic_graph(calls):
        raise SpaceError("templates call one another in a circle")


def _check_values(template: Template, supergraph: Supergraph, options: dict[str, tuple[str, ...]]) -> None:
    """Check what decisions say about operations."""
    found = [(f"node '{n.name}' of template '{template.name}'", n.operation) for n in template.nodes.values()]
    values = [(place, each) for place, use in found if use for each in use.chosen]
    if supergraph.width is not None:
        values.append(("the width of the network", supergraph.width))
    for place, each in values:
        if each.decision not in options:
            raise SpaceError(f"{place} reads an unknown decision '{each.decision}'")
        if tuple(option for option, _ in each.values) != options[each.decision]:
            raise SpaceError(f"{place} has no value for each option of '{each.decision}'")


def _check_scans(template: Template, supergraph: Supergraph) -> None:
    for node in template.nodes.values():
        if node.role != "scan":
            continue
        called = supergraph.template(node.template)
        bound = [key for key, _, _ in node.bind]
        if sorted(bound) != sorted(called.inputs):
            raise SpaceError(f"scan '{node.name}' binds {bound}, but template '{called.name}' takes {called.inputs}")
        modes = [mode for _, mode, _ in node.bind]
        if modes.count("carry") > 1 or "sequence" not in modes:
            raise SpaceError(f"scan '{node.name}' needs a sequence and takes one carry at most, but binds {modes}")
        if any(inner.role == "scan" for inner in called.nodes.values()):
            raise SpaceError(f"scan '{node.name}' calls the template '{called.name}', which scans itself")


def _check_literals(term: Term, options: dict[str, tuple[str, ...]], place: str) -> None:
    for literal in term:
        if literal.decision not in options:
            raise SpaceError(f"{place} reads an unknown decision '{literal.decision}'")
        if literal.option not in options[literal.decision]:
            known = options[literal.decision]
            raise SpaceError(f"{place} reads '{literal}', which is no option.{suggest(literal.option, known)}")
