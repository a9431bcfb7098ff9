"""Canonical digests: equal exactly for isomorphic children.

Two encodings of one network differ only in how its nodes are numbered. The child graph of each template is labelled by
what its nodes compute and brought to its canonical labelling (`nasforge.graph.labelling`); the digest is the hash of
the labelled graphs, so that equal digests mean isomorphic children. The inputs of operations are ordered, those of
merges a multiset: sums and means are the same in any order, and concatenated channels are, up to the order of the
weights that read them. Parameter sharing and names of nodes do not enter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

from nasforge.graph.labelling import Dag, labelled
from nasforge.graph.plan import Step, TemplatePlan, plan_architecture
from nasforge.graph.supergraph import Supergraph

_Form = tuple[tuple[str, tuple[tuple[str, tuple[int, ...]], ...]], ...]


def canonical_digest(
    supergraph: Supergraph, architecture: Mapping[str, str], templates: Collection[str] | None = None
) -> str:
    """sha256 (hex) of the child of `architecture` up to the numbering of its nodes.

    Args:
        supergraph: the compiled space.
        architecture: the choices.
        templates: names of those that are looked at; None for all that are called.
    """
    return hashlib.sha256(repr(_form(supergraph, architecture, templates)).encode()).hexdigest()


def isomorphic(supergraph: Supergraph, a: Mapping[str, str], b: Mapping[str, str]) -> bool:
    """Whether the children of two architectures differ in nothing but the numbering of their nodes."""
    return _form(supergraph, a) == _form(supergraph, b)


def _form(supergraph: Supergraph, architecture: Mapping[str, str], templates: Collection[str] | None = None) -> _Form:
    """The canonically labelled graph of every template that is called, by name; and the width where it is searched."""
    plans = plan_architecture(supergraph, dict(architecture)).templates
    names = sorted(plans if templates is None else plans.keys() & set(templates))
    graphs = tuple((name, labelled(_child(plans[name]))) for name in names)
    if supergraph.width is None:
        return graphs
    return (*graphs, (f"width {supergraph.width.value(architecture)}", ()))


def _child(plan: TemplatePlan) -> Dag:
    """The child graph of one template: its inputs, then its steps."""
    names = plan.template.inputs
    number = {name: vertex for vertex, name in enumerate(names)}
    labels = [f"input {name}" for name in names]
    inputs: list[list[int]] = [[] for _ in names]
    ordered = [True for _ in names]
    for step in plan.steps:
        number[step.name] = len(labels)
        labels.append(_label(step))
        inputs.append([number[source] for source in step.inputs])
        ordered.append(step.node.role != "merge")
    labels[number[plan.output]] = f"output {labels[number[plan.output]]}"
    return Dag(labels, inputs, ordered)


def _label(step: Step) -> str:
    """What a step computes, its inputs apart."""
    node = step.node
    if step.operation is not None:
        return f"op {step.operation.whole_label}"
    if node.role == "merge":
        return f"merge {node.combine}"
    if node.role == "call":
        return f"call {node.template}"
    # The sources of a scan are its inputs; how each is bound is part of what it computes.
    return f"{node.role} {node.template} {[(key, mode) for key, mode, _ in node.bind]}"
