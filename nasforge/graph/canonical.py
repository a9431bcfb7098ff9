"""Canonical digests: equal for isomorphic children.

Two encodings of one cell differ only in how their nodes are numbered. The digest colours the nodes of the child graph
by what they compute and refines the colours by those of predecessors (ordered where the operation is not symmetric)
and successors until nothing changes (1-dimensional Weisfeiler-Leman). On trees, which recurrent cells are (every node
has one predecessor), equal colour multisets mean isomorphic graphs (Babai, Erdős and Selkow 1980; Immerman and
Lander 1990). Parameter sharing and node names do not enter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from nasforge.graph.plan import TemplatePlan, plan_architecture
from nasforge.graph.supergraph import Supergraph


def canonical_digest(supergraph: Supergraph, architecture: Mapping[str, str]) -> str:
    """sha256 (hex) of the child of `architecture` up to the numbering of its nodes."""
    plan = plan_architecture(supergraph, architecture)
    return _hash("child", *(f"{name}:{_template_form(plan.templates[name])}" for name in sorted(plan.templates)))


def _template_form(plan: TemplatePlan) -> str:
    colour = {name: _hash("input", name) for name in plan.template.inputs}
    symmetric: dict[str, bool] = {}
    inputs: dict[str, tuple[str, ...]] = dict.fromkeys(colour, ())
    for step in plan.steps:
        node = step.node
        # The sources of a scan are its inputs; how each is bound is part of what it computes.
        bound = [(key, mode) for key, mode, _ in node.bind]
        what = node.operation.label if node.operation else f"{node.combine}{node.template}{bound}"
        symmetric[step.name] = node.role == "merge"
        inputs[step.name] = step.inputs
        colour[step.name] = _hash(node.role, what)
    readers: dict[str, list[tuple[str, int]]] = {name: [] for name in colour}
    for name, sources in inputs.items():
        for position, source in enumerate(sources):
            readers[source].append((name, 0 if symmetric[name] else position))
    colour[plan.output] = _hash("output", colour[plan.output])
    classes = len(set(colour.values()))
    while True:
        refined: dict[str, str] = {}
        for name, old in colour.items():
            before = [colour[source] for source in inputs[name]]
            if symmetric.get(name, False):
                before.sort()
            after = sorted(f"{colour[reader]}@{position}" for reader, position in readers[name])
            refined[name] = _hash(old, *before, "|", *after)
        colour = refined
        refined_classes = len(set(colour.values()))
        if refined_classes == classes:
            return _hash(*sorted(colour.values()))
        classes = refined_classes


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
