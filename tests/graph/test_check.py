"""Every compile check fires on what it forbids, and only then."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import pytest
from helpers import cell

from nasforge.errors import SpaceError
from nasforge.graph.builder import GraphBuilder, TemplateBuilder
from nasforge.graph.check import check_supergraph
from nasforge.graph.supergraph import Node, OperationUse, Supergraph, Template
from nasforge.kinds.recurrent_cell import SHARE_KEYS
from nasforge.space.decision import ALWAYS, NEVER, Condition, Literal, all_of
from nasforge.space.search_space import SearchSpace

TANH = OperationUse("tanh")
P, Q, R = (Literal("a", option) for option in "pqr")


def with_wire(when: Condition) -> GraphBuilder:
    """Two wires into a merge: one under `when`, one always open; decision a has the options p, q, r."""
    builder = GraphBuilder()
    builder.decision("a", ["p", "q", "r"], "op", owner="")
    builder.decision("b", ["s", "t"], "op", owner="")
    main = builder.template("main")
    x = main.input("x")
    main.output(main.merge("m", "sum", [(main.op("f", TANH, [x]), when), (x, ALWAYS)]))
    return builder


@pytest.mark.parametrize("share", SHARE_KEYS)
@pytest.mark.parametrize("of", ["leaves", "all"])
def test_recurrent_cells_pass(share: str, of: str) -> None:
    check_supergraph(cell(5, share, output={"of": of}))


def test_a_graph_without_an_entry_is_refused() -> None:
    builder = GraphBuilder()
    template = builder.template("cell")
    template.output(template.input("x"))
    with pytest.raises(SpaceError, match="the graph has no template 'main'"):
        builder.finish()


def test_a_cycle_is_refused() -> None:
    graph = nx.DiGraph([("x", "f"), ("f", "g"), ("g", "f")])
    nodes = {"x": Node("x", "input"), "f": Node("f", "op", ("x", "g"), TANH), "g": Node("g", "op", ("f",), TANH)}
    template = Template("main", graph, nodes, (), "g")
    with pytest.raises(SpaceError, match="template 'main' has a cycle"):
        check_supergraph(Supergraph(SearchSpace([]), {"main": template}))


def test_nodes_that_cannot_reach_the_output_are_refused_by_name() -> None:
    builder = GraphBuilder()
    main = builder.template("main")
    x = main.input("x")
    main.op("lost", TANH, [main.op("before_lost", TANH, [x])])
    main.output(main.op("f", TANH, [x]))
    with pytest.raises(SpaceError, match="nodes that cannot reach its output: before_lost, lost"):
        builder.finish()


def test_an_input_may_be_unused() -> None:
    builder = GraphBuilder()
    main = builder.template("main")
    main.input("unused")
    main.output(main.op("f", TANH, [main.input("x")]))
    assert builder.finish().main.inputs == ("unused", "x")


@pytest.mark.parametrize(
    "when",
    [
        NEVER,
        all_of(P, Q),
        all_of(P, replace(P, positive=False)),
        all_of(*(replace(literal, positive=False) for literal in (P, Q, R))),
    ],
)
def test_a_wire_that_can_never_be_open_is_refused(when: Condition) -> None:
    with pytest.raises(SpaceError, match="the wire f -> m of template 'main' can never be open"):
        with_wire(when).finish()


def test_a_wire_that_is_open_for_one_option_only_passes() -> None:
    not_p, not_q = (replace(literal, positive=False) for literal in (P, Q))
    assert with_wire(all_of(not_p, not_q)).finish().main.open_wires({"a": "r", "b": "s"}) == {0, 1}


@pytest.mark.parametrize(
    "terms",
    [
        ((P,), (Literal("b", "s"),)),
        ((P,), (P,)),
        ((P,), (replace(Q, positive=False),)),
        ((P,), (Q,), (Literal("b", "s"), replace(P, positive=False))),
        ((), (P,)),
    ],
)
def test_terms_that_can_hold_together_are_refused(terms: tuple[tuple[Literal, ...], ...]) -> None:
    with pytest.raises(SpaceError, match="the wire f -> m of template 'main' has terms that can hold together"):
        with_wire(Condition(terms)).finish()


def test_terms_that_exclude_one_another_pass() -> None:
    terms = ((P, Literal("b", "s")), (P, Literal("b", "t")), (replace(P, positive=False),))
    with_wire(Condition(terms)).finish()


def test_a_literal_of_an_unknown_decision_is_refused() -> None:
    with pytest.raises(SpaceError, match="the wire f -> m of template 'main' reads an unknown decision 'c'"):
        with_wire(all_of(Literal("c", "p"))).finish()


def test_a_literal_of_an_unknown_option_is_refused_with_a_suggestion() -> None:
    builder = GraphBuilder()
    builder.decision("a", ["tanh", "relu"], "op", owner="")
    main = builder.template("main")
    x = main.input("x")
    main.output(main.merge("m", "sum", [(x, all_of(Literal("a", "tahn")))]))
    with pytest.raises(SpaceError, match=r"reads 'a = tahn', which is no option\. Did you mean 'tanh'\?"):
        builder.finish()


def test_a_decision_may_not_depend_on_a_later_one() -> None:
    builder = GraphBuilder()
    builder.decision("early", ["x"], "op", owner="", when=all_of(Literal("late", "x")))
    builder.decision("late", ["x"], "op", owner="")
    main = builder.template("main")
    main.output(main.input("x"))
    with pytest.raises(SpaceError, match="'early' depends on 'late', which is not before it"):
        builder.finish()


def scanned() -> tuple[GraphBuilder, TemplateBuilder]:
    builder = GraphBuilder()
    step = builder.template("cell")
    step.output(step.op("next", OperationUse("add"), [step.input("x"), step.input("h")]))
    main = builder.template("main")
    main.input("words")
    main.input("start")
    return builder, main


def test_a_scan_that_binds_every_input_passes() -> None:
    builder, main = scanned()
    main.output(main.scan("s", "cell", sequence={"x": "words"}, carry={"h": "start"}))
    assert builder.finish().main.nodes["s"].inputs == ("words", "start")


def test_a_scan_of_an_unknown_template_is_refused_with_a_suggestion() -> None:
    builder, main = scanned()
    main.output(main.scan("s", "cel", sequence={"x": "words"}, carry={"h": "start"}))
    with pytest.raises(SpaceError, match=r"no template 'cel'\. Did you mean 'cell'\?"):
        builder.finish()


@pytest.mark.parametrize(
    ("sequence", "constant"),
    [({}, {}), ({"x": "words", "y": "words"}, {}), ({"x": "words"}, {"h": "start"}), ({"y": "words"}, {})],
)
def test_a_scan_that_binds_other_inputs_than_the_templates_is_refused(
    sequence: dict[str, str], constant: dict[str, str]
) -> None:
    builder, main = scanned()
    main.output(main.scan("s", "cell", sequence=sequence, carry={"h": "start"}, constant=constant))
    with pytest.raises(SpaceError, match=r"scan 's' binds \[.*\], but template 'cell' takes \('x', 'h'\)"):
        builder.finish()


def test_scans_without_a_sequence_with_two_carries_or_of_scans_are_refused() -> None:
    def scanned(**bind: dict[str, str]) -> GraphBuilder:
        builder = GraphBuilder()
        step = builder.template("cell")
        step.output(step.op("next", OperationUse("add"), [step.input("x"), step.input("h")]))
        main = builder.template("main")
        main.input("x"), main.input("h")
        main.output(main.scan("s", "cell", **{"sequence": {}, "carry": {}, **bind}))
        return builder

    scanned(sequence={"x": "x"}, carry={"h": "h"}).finish()
    with pytest.raises(SpaceError, match="needs a sequence"):
        scanned(constant={"x": "x"}, carry={"h": "h"}).finish()
    with pytest.raises(SpaceError, match="one carry at most"):
        scanned(carry={"x": "x", "h": "h"}).finish()
    outer = scanned(sequence={"x": "x"}, carry={"h": "h"})
    twice = outer.template("twice")
    x, h = twice.input("x"), twice.input("h")
    twice.output(twice.scan("inner", "main", sequence={"x": x}, carry={"h": h}))
    with pytest.raises(SpaceError, match="scans itself"):
        outer.finish()


def test_a_merge_without_wires_is_refused() -> None:
    builder = GraphBuilder()
    main = builder.template("main")
    main.input("x")
    main.output(main.merge("m", "sum", []))
    with pytest.raises(SpaceError, match="merges without wires: m"):
        builder.finish()
