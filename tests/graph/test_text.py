"""Text listings: exact for small cases, complete for large ones."""

from __future__ import annotations

import random

import nasforge.ops.recurrent
from nasforge.components import Stage
from nasforge.graph.builder import GraphBuilder
from nasforge.graph.supergraph import OperationUse, Supergraph
from nasforge.graph.text import space_text, text
from nasforge.kinds.recurrent_cell import RecurrentCellSpec, build
from nasforge.space.decision import ALWAYS, all_of
from nasforge.space.decision import Literal as Sign


def _cell(nodes: int) -> Supergraph:
    operations = {operation.name: operation for operation in nasforge.ops.recurrent.OPERATIONS}
    block = {"nodes": nodes, "each": {"op": {"choose": 1, "from": ["tanh", "relu", "sigmoid", "identity"]}}}
    spec = RecurrentCellSpec.model_validate(block, context={"operations": operations})
    builder = GraphBuilder()
    build(spec, builder, Stage("search", "node"))
    return builder.finish()


def test_listing_of_a_small_cell() -> None:
    operations = {"node0.op": "tanh", "node1.op": "relu", "node2.op": "sigmoid", "node3.op": "identity"}
    inputs = {"node1.input": "node0", "node2.input": "node1", "node3.input": "node0"}
    assert text(_cell(4), operations | inputs) == (
        "node  input   operation\n"
        "   0  x, h    tanh\n"
        "   1  node 0  relu\n"
        "   2  node 1  sigmoid\n"
        "   3  node 0  identity\n"
        "h = mean(node 2, node 3)\n"
        "\n"
        "x, h\n"
        "└── 0 · tanh\n"
        "    ├── 1 · relu\n"
        "    │   └── 2 · sigmoid → h\n"
        "    └── 3 · identity → h\n"
    )


def test_listing_of_one_node_names_the_node() -> None:
    assert "h = node 0\n" in text(_cell(1), {"node0.op": "relu"})


def test_listing_holds_every_decision() -> None:
    supergraph, rng = _cell(12), random.Random(0)
    for _ in range(50):
        architecture = supergraph.space.sample(rng)
        lines = text(supergraph, architecture).splitlines()
        for node in range(1, 12):
            source = architecture[f"node{node}.input"].removeprefix("node")
            assert lines[node + 1].split() == [str(node), "node", source, architecture[f"node{node}.op"]]
        assert sum("── " in line for line in lines) == 12


def test_graph_that_is_no_tree_has_no_tree() -> None:
    builder = GraphBuilder()
    main = builder.template("main")
    choice = builder.decision("node1.op", ["a", "b"], "op", owner="node1")
    source = main.input("in")
    first = main.op("node0", OperationUse("c"), [source], owner="node0")
    both = [(main.op(f"node1.{o}", OperationUse(o), [first, source], owner="node1"), o) for o in choice.options]
    main.output(main.merge("node1", "sum", [(value, all_of(Sign(choice.name, o))) for value, o in both], owner="node1"))
    assert text(builder.finish(), {"node1.op": "b"}, "main") == (
        "node  input       operation\n   0  in          c\n   1  in, node 0  b\noutput = node 1\n"
    )


def test_space_listing_has_a_row_per_decision_when_few() -> None:
    assert space_text(_cell(2)) == (
        "3 decisions, 16 architectures\n"
        "\n"
        "decision     role   options\n"
        "node0.op     op     4        tanh, relu, sigmoid, identity\n"
        "node1.input  input  1        node0\n"
        "node1.op     op     4        tanh, relu, sigmoid, identity\n"
    )


def test_space_listing_collapses_when_many() -> None:
    assert space_text(_cell(12)) == (
        "23 decisions, 6.70e14 (669,692,775,628,800) architectures\n"
        "\n"
        "decision                    role   options\n"
        "node0.op … node11.op        op     4        tanh, relu, sigmoid, identity\n"
        "node1.input … node11.input  input  1 to 11  among node0 … node10\n"
    )


def test_space_listing_takes_sizes_beyond_floats() -> None:
    builder = GraphBuilder()
    main = builder.template("main")
    for number in range(1200):
        builder.decision(f"d{number}", ["a", "b"], "bit", owner="")
    main.output(main.merge("out", "sum", [(main.input("in"), ALWAYS)]))
    assert space_text(builder.finish()).startswith("1200 decisions, about 1.72e361 architectures\n")


def test_conditional_decisions_say_when() -> None:
    builder = GraphBuilder()
    main = builder.template("main")
    first = builder.decision("first", ["a", "b"], "op", owner="")
    builder.decision("second", ["a", "b"], "op", owner="", when=all_of(Sign(first.name, "a")))
    main.output(main.merge("out", "sum", [(main.input("in"), ALWAYS)]))
    assert "a, b; if first = a" in space_text(builder.finish())
