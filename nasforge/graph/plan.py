"""Plans: what runs, in which order, when a given set of wires is open.

An operation runs if and only if it is demanded: the walk goes back from the output through open wires. Pruning, unused
nodes and loose ends therefore need no code of their own. A plan is a function of the set of open wires alone, the same
for hard and for soft gates; nothing here knows about torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import networkx as nx

from nasforge.errors import SpaceError
from nasforge.graph.supergraph import Node, OperationUse, Supergraph, Template


class Step(NamedTuple):
    """One node to compute; a tuple, since a thousand plans have a hundred thousand of them.

    Attributes:
        node: the node.
        inputs: the values that it reads: names of inputs or of earlier steps. For a merge, those of its open wires.
        wires: for a merge, the number of the wire at each input.
        operation: for an operation, the node's with the values that the architecture says.
    """

    node: Node
    inputs: tuple[str, ...]
    wires: tuple[int, ...] = ()
    operation: OperationUse | None = None

    @property
    def name(self) -> str:
        """The name of the value that it gives."""
        return self.node.name


@dataclass(frozen=True)
class TemplatePlan:
    """The steps of one template in order, and the values that it gives: its output, and those that were asked for."""

    template: Template
    steps: tuple[Step, ...]
    output: str
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def share_keys(self) -> tuple[str, ...]:
        """The keys of the parameter sets that the operations of the plan may own, each once, in order."""
        return tuple(dict.fromkeys(weight_key(self.template, step.node) for step in self.steps if step.node.operation))


@dataclass(frozen=True)
class Plan:
    """Plans of the entry template and of every template that it calls."""

    templates: Mapping[str, TemplatePlan]

    @property
    def main(self) -> TemplatePlan:
        """The plan of the entry template."""
        return self.templates["main"]


@dataclass(frozen=True)
class ScanPhases:
    """The steps of a scanned template by how often they must run.

    Attributes:
        once: those that depend on constants only.
        hoisted: those that depend on the sequence but not on the carry: they run once, on the whole sequence.
        loop: those that must run at every time step.
    """

    once: tuple[Step, ...]
    hoisted: tuple[Step, ...]
    loop: tuple[Step, ...]


def weight_key(template: Template, node: Node, scope: str = "") -> str:
    """The key of a node's parameter set in the bank, in a call of its template with `scope` (see `call_scope`)."""
    return f"{scope}{template.name}/{node.share}"


def call_scope(node: Node, scope: str = "") -> str:
    """What the keys of a called template begin with; `scope` is that of the caller."""
    return f"{scope}{node.scope}/" if node.scope else scope


def plan_architecture(supergraph: Supergraph, architecture: Mapping[str, str], outputs: Sequence[str] = ()) -> Plan:
    """The plan of one architecture: hard gates, merges with one open wire are passed through.

    Args:
        supergraph: the compiled space.
        architecture: the chosen option of every decision.
        outputs: names of outputs of the main template that are computed beside its own.

    Raises:
        SpaceError: the main template has no output of such a name.
    """
    choices = dict(architecture)
    open_wires = {name: template.open_wires(choices) for name, template in supergraph.templates.items()}
    return _plan(supergraph, open_wires, choices, pass_single=True, outputs=outputs)


def plan_support(
    supergraph: Supergraph, open_wires: Mapping[str, frozenset[int]], values: Mapping[str, str] | None = None
) -> Plan:
    """The plan of a set of open wires per template, for gates of any value: every merge is kept.

    Args:
        supergraph: the compiled space.
        open_wires: numbers of wires by template.
        values: options of the decisions that say values (`Chosen`).
    """
    return _plan(supergraph, open_wires, values or {}, pass_single=False)


def _plan(
    supergraph: Supergraph,
    open_wires: Mapping[str, frozenset[int]],
    choices: Mapping[str, str],
    *,
    pass_single: bool,
    outputs: Sequence[str] = (),
) -> Plan:
    plans: dict[str, TemplatePlan] = {}
    waiting = ["main"]
    while waiting:
        name = waiting.pop()
        if name in plans:
            continue
        template = supergraph.template(name)
        asked = {output: template.outputs.get(output, "") for output in (outputs if name == "main" else ())}
        for output, node in asked.items():
            if not node:
                raise SpaceError(f"the network has no output '{output}'")
        wires = open_wires.get(name, frozenset())
        plans[name] = _plan_template(template, wires, choices, pass_single=pass_single, outputs=asked)
        waiting += [step.node.template for step in plans[name].steps if step.node.template]
    return Plan(plans)


def _plan_template(
    template: Template,
    open_wires: frozenset[int],
    choices: Mapping[str, str],
    *,
    pass_single: bool,
    outputs: Mapping[str, str],
) -> TemplatePlan:
    into: dict[str, list[int]] = {}
    for number in sorted(open_wires):
        into.setdefault(template.wires[number].target, []).append(number)
    demanded: set[str] = set()
    waiting = [template.output, *outputs.values()]
    reads: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {}
    while waiting:
        name = waiting.pop()
        if name in demanded:
            continue
        demanded.add(name)
        node = template.nodes[name]
        inputs, wires = node.inputs, node.wires
        if node.role == "merge":
            wires = tuple(into.get(name, ()))
            if not wires:
                raise SpaceError(f"'{name}' of template '{template.name}' is demanded, but no wire into it is open")
            inputs = tuple([template.wires[wire].source for wire in wires])
        reads[name] = inputs, wires
        waiting += inputs
    alias: dict[str, str] = {}
    steps: list[Step] = []
    for name in sorted(demanded, key=template.rank.__getitem__):
        node = template.nodes[name]
        if node.role == "input":
            continue
        inputs, wires = reads[name]
        resolved = tuple([alias.get(source, source) for source in inputs])
        if pass_single and node.role == "merge" and len(resolved) == 1:
            alias[name] = resolved[0]
            continue
        use = node.operation
        steps.append(Step(node, resolved, wires, use.resolved(choices) if use is not None and use.chosen else use))
    given = {name: alias.get(node, node) for name, node in outputs.items()}
    return TemplatePlan(template, tuple(steps), alias.get(template.output, template.output), given)


def scan_phases(plan: TemplatePlan, bind: tuple[tuple[str, str, str], ...]) -> ScanPhases:
    """Split the steps of a scanned template by what they descend from (see `ScanPhases`)."""
    rank = {"constant": 0, "sequence": 1, "carry": 2}
    depends = {key: rank[mode] for key, mode, _ in bind}
    phases: tuple[list[Step], list[Step], list[Step]] = ([], [], [])
    for step in plan.steps:
        depends[step.name] = max((depends[source] for source in step.inputs), default=0)
        phases[depends[step.name]].append(step)
    return ScanPhases(*(tuple(phase) for phase in phases))


def child_graph(plan: TemplatePlan) -> nx.DiGraph[str]:
    """The chosen nodes and wires of one template as a networkx graph (nodes carry their `Step` under ``step``)."""
    graph: nx.DiGraph[str] = nx.DiGraph(name=plan.template.name, output=plan.output)
    used = {source for step in plan.steps for source in step.inputs} | {plan.output}
    for name in plan.template.inputs:
        if name in used:
            graph.add_node(name)
    for step in plan.steps:
        graph.add_node(step.name, step=step)
        graph.add_edges_from((source, step.name) for source in step.inputs)
    return graph
