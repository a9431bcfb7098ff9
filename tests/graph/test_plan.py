"""Plans: what is demanded runs, in order, and nothing else."""

from __future__ import annotations

import networkx as nx
import pytest
from helpers import all_wires, cell, choices, leaves, samples, tree
from hypothesis import given, settings
from hypothesis import strategies as st

from nasforge.errors import SpaceError
from nasforge.graph.builder import GraphBuilder
from nasforge.graph.plan import TemplatePlan, child_graph, plan_architecture, plan_support, scan_phases
from nasforge.graph.supergraph import OperationUse, Supergraph
from nasforge.kinds.recurrent_cell import SHARE_KEYS
from nasforge.space.decision import ALWAYS, Literal, all_of

FIVE = {share: cell(5, share) for share in SHARE_KEYS}
TANH = OperationUse("tanh")


def names(plan: TemplatePlan, operation: str) -> list[str]:
    return [step.name for step in plan.steps if step.node.operation and step.node.operation.name == operation]


@given(st.randoms(use_true_random=False), st.sampled_from(sorted(SHARE_KEYS)))
@settings(deadline=None, max_examples=60)
def test_only_what_the_architecture_demands_runs(rng, share: str) -> None:
    architecture = FIVE[share].space.sample(rng)
    plan = plan_architecture(FIVE[share], architecture).templates["cell"]
    cut = architecture["node0.op"]
    steps = [f"node0.{cut}"]
    for node in range(1, 5):
        source = architecture[f"node{node}.input"].removeprefix("node")
        steps.append(f"node{node}.{source}.{architecture[f'node{node}.op']}")
    assert names(plan, "highway") == steps
    assert len(names(plan, "projection")) == 2 + 4
    read = {architecture[f"node{node}.input"] for node in range(1, 5)}
    assert set(names(plan, "mask")) == {"h.masked"} | {f"{node}.masked" for node in read}


@given(st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_the_output_is_the_mean_of_the_nodes_that_nobody_chose(rng) -> None:
    architecture = FIVE["node"].space.sample(rng)
    plan = plan_architecture(FIVE["node"], architecture).templates["cell"]
    by_name = {step.name: step for step in plan.steps}
    outputs = by_name["output"].inputs if "output" in by_name else by_name["clipped"].inputs
    assert {int(name.split(".")[0].removeprefix("node")) for name in outputs} == leaves(architecture)


def test_values_are_computed_before_they_are_read() -> None:
    for architecture in samples(FIVE["edge_op"].space, 30):
        for plan in plan_architecture(FIVE["edge_op"], architecture).templates.values():
            known = set(plan.template.inputs)
            for step in plan.steps:
                assert known.issuperset(step.inputs)
                known.add(step.name)
            assert plan.output in known


def test_a_merge_of_one_open_wire_is_passed_through_in_a_child_and_kept_under_gates() -> None:
    supergraph = FIVE["node"]
    architecture = supergraph.space.architecture(choices(["tanh"] * 5, [0, 1, 2, 3]))
    child = plan_architecture(supergraph, architecture).templates["cell"]
    assert not [step for step in child.steps if step.node.role == "merge"]
    assert child.steps[-1].inputs == ("node4.3.tanh",)
    wires = {name: template.open_wires(architecture) for name, template in supergraph.templates.items()}
    soft = plan_support(supergraph, wires).templates["cell"]
    merges = [step.name for step in soft.steps if step.node.role == "merge"]
    assert merges == ["node0", "node1", "node2", "node3", "node4", "output"]
    without_merges = [step.name for step in soft.steps if step.node.role != "merge"]
    assert without_merges == [step.name for step in child.steps]


def test_a_plan_depends_on_the_open_wires_alone() -> None:
    supergraph = FIVE["node"]
    for architecture in samples(supergraph.space, 20):
        wires = {name: template.open_wires(architecture) for name, template in supergraph.templates.items()}
        plan = plan_support(supergraph, wires).templates["cell"]
        assert {wire for step in plan.steps for wire in step.wires} <= wires["cell"]
    everything = plan_support(supergraph, all_wires(supergraph)).templates["cell"]
    assert [step.name for step in everything.steps] == [
        name for name, node in supergraph.templates["cell"].nodes.items() if node.role != "input"
    ]


def test_a_merge_keeps_source_and_wire_together() -> None:
    supergraph = cell(4)
    wires = supergraph.templates["cell"].wires
    for architecture in samples(supergraph.space, 20):
        open_wires = {name: template.open_wires(architecture) for name, template in supergraph.templates.items()}
        for step in plan_support(supergraph, open_wires).templates["cell"].steps:
            assert step.inputs == tuple(wires[number].source for number in step.wires) or not step.wires


def test_a_demanded_merge_without_an_open_wire_is_an_error() -> None:
    with pytest.raises(SpaceError, match="'output' of template 'cell' is demanded, but no wire into it is open"):
        plan_support(cell(2), {"cell": frozenset()})


def test_share_keys_are_those_of_the_operations_that_run() -> None:
    supergraph = cell(3, "edge_op")
    architecture = supergraph.space.architecture(choices(["tanh", "relu", "identity"], [0, 0]))
    keys = plan_architecture(supergraph, architecture).templates["cell"].share_keys
    weights = [key for key in keys if key.startswith("cell/node") and key.count(".") == 3]
    assert weights == [
        "cell/node0.x.x.tanh",
        "cell/node0.h.h.tanh",
        "cell/node1.h.node0.relu",
        "cell/node2.h.node0.identity",
    ]


def two_templates() -> Supergraph:
    """main runs ``fast`` or ``slow`` over time; ``slow`` also holds a step on constants only."""
    builder = GraphBuilder()
    builder.decision("speed", ["fast", "slow"], "op", owner="")
    for name in ("fast", "slow"):
        step = builder.template(name)
        x, h, c = step.input("x"), step.input("h"), step.input("c")
        value = step.op("from_x", TANH, [x])
        if name == "slow":
            value = step.op("both", OperationUse("add"), [value, step.op("from_c", TANH, [c])])
        step.output(step.op("next", OperationUse("add"), [value, step.op("from_h", TANH, [h])]))
    main = builder.template("main")
    x, h, c = main.input("x"), main.input("h"), main.input("c")
    runs = [
        (
            main.scan(f"run_{name}", name, sequence={"x": x}, carry={"h": h}, constant={"c": c}),
            all_of(Literal("speed", name)),
        )
        for name in ("fast", "slow")
    ]
    main.output(main.merge("out", "sum", runs))
    return builder.finish()


def test_a_template_is_planned_only_where_it_is_called() -> None:
    supergraph = two_templates()
    assert set(plan_architecture(supergraph, {"speed": "fast"}).templates) == {"main", "fast"}
    assert set(plan_architecture(supergraph, {"speed": "slow"}).templates) == {"main", "slow"}
    assert set(plan_support(supergraph, all_wires(supergraph)).templates) == {"main", "fast", "slow"}


def test_steps_are_split_by_what_they_descend_from() -> None:
    supergraph = two_templates()
    plan = plan_architecture(supergraph, {"speed": "slow"}).templates["slow"]
    phases = scan_phases(plan, supergraph.main.nodes["run_slow"].bind)
    assert [step.name for step in phases.once] == ["from_c"]
    assert [step.name for step in phases.hoisted] == ["from_x", "both"]
    assert [step.name for step in phases.loop] == ["from_h", "next"]


def test_in_the_recurrent_cell_only_the_projection_of_x_leaves_the_loop() -> None:
    supergraph = FIVE["node"]
    for architecture in samples(supergraph.space, 10):
        plan = plan_architecture(supergraph, architecture).templates["cell"]
        phases = scan_phases(plan, supergraph.main.nodes["states"].bind)
        assert [step.name for step in phases.once] == []
        assert [step.name for step in phases.hoisted] == ["node0.x"]
        assert len(phases.loop) == len(plan.steps) - 1


def test_child_graph_holds_the_chosen_nodes_and_their_tree() -> None:
    supergraph = FIVE["node"]
    for architecture in samples(supergraph.space, 10):
        graph = child_graph(plan_architecture(supergraph, architecture).templates["cell"])
        assert nx.is_directed_acyclic_graph(graph)
        steps = {name.split(".")[0]: name for name in graph if name in graph and "highway" in str(graph.nodes[name])}
        for source, target in tree(architecture).edges:
            assert nx.has_path(graph, steps[source], steps[target])
        assert {"x", "h", "mask"} <= set(graph)


def test_unconditional_wires_need_no_decision() -> None:
    builder = GraphBuilder()
    main = builder.template("main")
    x = main.input("x")
    main.output(main.merge("m", "sum", [(x, ALWAYS), (main.op("f", TANH, [x]), ALWAYS)]))
    plan = plan_architecture(builder.finish(), {}).main
    assert [step.inputs for step in plan.steps] == [("x",), ("x", "f")]
