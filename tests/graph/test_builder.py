"""The graph builder: what it derives, and what it refuses at once."""

from __future__ import annotations

import networkx as nx
import pytest
from helpers import cell

from nasforge.errors import SpaceError
from nasforge.graph.builder import GraphBuilder, TemplateBuilder
from nasforge.graph.supergraph import OperationUse
from nasforge.space.decision import ALWAYS, Literal, all_of

TANH = OperationUse("tanh")


def small() -> TemplateBuilder:
    template = GraphBuilder().template("main")
    template.input("x")
    template.op("f", TANH, ["x"])
    return template


def test_a_node_cannot_read_a_later_node_so_a_cycle_cannot_be_built() -> None:
    template = GraphBuilder().template("main")
    template.input("x")
    with pytest.raises(SpaceError, match="node 'a' of template 'main' reads 'b', which is not before it"):
        template.op("a", TANH, ["b"])
    with pytest.raises(SpaceError, match="reads 'm', which is not before it"):
        template.merge("m", "sum", [("x", ALWAYS), ("m", ALWAYS)])
    with pytest.raises(SpaceError, match="reads 'late', which is not before it"):
        template.scan("s", "cell", sequence={"x": "x"}, carry={"h": "late"})


def test_two_nodes_of_one_name_are_refused() -> None:
    with pytest.raises(SpaceError, match="template 'main' has two nodes named 'f'"):
        small().op("f", TANH, ["x"])


def test_two_templates_of_one_name_are_refused() -> None:
    builder = GraphBuilder()
    builder.template("main")
    with pytest.raises(SpaceError, match="two templates are named 'main'"):
        builder.template("main")


def test_the_output_must_be_there_once_and_be_a_node() -> None:
    template = small()
    with pytest.raises(SpaceError, match="template 'main' has no output"):
        template.finish()
    with pytest.raises(SpaceError, match="the output 'g' of template 'main' is no node of it"):
        template.output("g")
    template.output("f")
    with pytest.raises(SpaceError, match="template 'main' has two outputs: 'f' and 'x'"):
        template.output("x")


def test_edges_are_derived_from_inputs() -> None:
    for template in cell(4).templates.values():
        edges = {(source, name) for name, node in template.nodes.items() for source in node.inputs}
        assert set(template.graph.edges) == edges
        assert list(template.graph.nodes) == list(template.nodes)
        assert all(template.graph.nodes[name]["node"] is node for name, node in template.nodes.items())


def test_nodes_stand_in_topological_order() -> None:
    for template in cell(5, "edge_op").templates.values():
        place = {name: number for number, name in enumerate(template.nodes)}
        assert nx.is_directed_acyclic_graph(template.graph)
        assert all(place[source] < place[target] for source, target in template.graph.edges)


def test_a_source_may_stand_twice_in_a_merge_and_keeps_its_conditions_in_order() -> None:
    builder = GraphBuilder()
    main = builder.template("main")
    builder.decision("a", ["p", "q"], "op", owner="")
    x, p, q = main.input("x"), all_of(Literal("a", "p")), all_of(Literal("a", "q"))
    main.output(main.merge("m", "sum", [(x, p), (main.op("f", TANH, [x]), ALWAYS), (x, q)]))
    template = builder.finish().main
    assert template.nodes["m"].inputs == ("x", "f", "x")
    assert template.graph.edges["x", "m"]["when"] == (p, q)
    assert template.graph.edges["f", "m"]["when"] == (ALWAYS,)
    assert template.open_wires({"a": "p"}) == {0, 1}
    assert template.open_wires({"a": "q"}) == {1, 2}


def test_the_order_of_operands_is_kept() -> None:
    template = small()
    template.output(template.op("g", OperationUse("highway", parts=(TANH,)), ["f", "x", "f"]))
    assert template.finish().nodes["g"].inputs == ("f", "x", "f")


def test_wires_are_numbered_through_the_template() -> None:
    template = small()
    template.merge("m", "sum", [("x", ALWAYS), ("f", ALWAYS)])
    template.output(template.merge("n", "mean", [("m", ALWAYS)]))
    finished = template.finish()
    assert finished.nodes["m"].wires == (0, 1)
    assert finished.nodes["n"].wires == (2,)
    assert [(w.number, w.source, w.target) for w in finished.wires] == [(0, "x", "m"), (1, "f", "m"), (2, "m", "n")]


def test_a_node_without_a_share_key_shares_with_nobody() -> None:
    template = small()
    template.output(template.op("g", TANH, ["f"], share="common"))
    nodes = template.finish().nodes
    assert (nodes["f"].share, nodes["g"].share) == ("f", "common")


def test_labels_hold_parts_and_parameters() -> None:
    clip = OperationUse("clip_norm", (("max_norm", 5.0),))
    assert clip.label == "clip_norm(max_norm=5.0)"
    assert OperationUse("highway", parts=(clip,)).label == "highway(clip_norm(max_norm=5.0))"


def test_unknown_template_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SpaceError, match=r"the graph has no template 'cel'\. Did you mean 'cell'\?"):
        cell(2).template("cel")
