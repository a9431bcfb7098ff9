"""Canonical digests: equal exactly for isomorphic children.

Two encodings of one network differ only in how its nodes are numbered. The child graph of each template is labelled by
what its nodes compute and brought to its canonical labelling (`nasforge.graph.labelling`); the digest is the hash of
the labelled graphs, so that equal digests mean isomorphic children. The inputs of operations are ordered, those of
merges a multiset. Parameter sharing and names of nodes do not enter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from nasforge.graph.labelling import Dag, labelled
from nasforge.graph.plan import TemplatePlan, plan_architecture
from nasforge.graph.supergraph import Node, Supergraph

_Form = tuple[tuple[str, tuple[tuple[str, tuple[int, ...]], ...]], ...]


def canonical_digest(supergraph: Supergraph, architecture: Mapping[str, str]) -> str:
    """sha256 (hex) of the child of `architecture` up to the numbering of its nodes."""
    return hashlib.sha256(repr(_form(supergraph, architecture)).encode()).hexdigest()


def isomorphic(supergraph: Supergraph, a: Mapping[str, str], b: Mapping[str, str]) -> bool:
    """Whether the children of two architectures differ in nothing but the numbering of their nodes."""
    return _form(supergraph, a) == _form(supergraph, b)


def _form(supergraph: Supergraph, architecture: Mapping[str, str]) -> _Form:
    """The canonically labelled graph of every template that is called, by name."""
    plans = plan_architecture(supergraph, dict(architecture)).templates
    return tuple((name, labelled(_child(plans[name]))) for name in sorted(plans))


def _child(plan: TemplatePlan) -> Dag:
    """The child graph of one template: its inputs, then its steps."""
    names = plan.template.inputs
    number = {name: vertex for vertex, name in enumerate(names)}
    labels = [f"input {name}" for name in names]
    inputs: list[list[int]] = [[] for _ in names]
    ordered = [True for _ in names]
    for step in plan.steps:
        number[step.name] = len(labels)
        labels.append(_label(step.node))
        inputs.append([number[source] for source in step.inputs])
        ordered.append(step.node.role != "merge")
    labels[number[plan.output]] = f"output {labels[number[plan.output]]}"
    return Dag(labels, inputs, ordered)


def _label(node: Node) -> str:
    """What a node computes, its inputs apart."""
    if node.operation is not None:
        return f"op {node.operation.label}"
    if node.role == "merge":
        return f"merge {node.combine}"
    # The sources of a scan are its inputs; how each is bound is part of what it computes.
    return f"{node.role} {node.template} {[(key, mode) for key, mode, _ in node.bind]}"
