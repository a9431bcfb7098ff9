"""Canonical digests: equal exactly for isomorphic cells."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import networkx as nx
import pytest
from helpers import cell, choices, everything, leaves, samples, tree

import nasforge
from nasforge.graph.builder import GraphBuilder
from nasforge.graph.canonical import canonical_digest
from nasforge.graph.plan import plan_architecture
from nasforge.graph.supergraph import OperationUse, Supergraph, Template
from nasforge.kinds.recurrent_cell import SHARE_KEYS

TWELVE = cell(12)


def isomorphic(a: dict[str, str], b: dict[str, str]) -> bool:
    return nx.is_isomorphic(tree(a), tree(b), node_match=lambda one, other: one["op"] == other["op"])


@pytest.mark.parametrize(("nodes", "assignments", "distinct"), [(2, 16, 16), (3, 128, 104), (4, 1536, 752)])
def test_distinct_cells_of_four_operations(nodes: int, assignments: int, distinct: int) -> None:
    supergraph = cell(nodes)
    listed = everything(supergraph.space)
    assert len(listed) == supergraph.space.size == assignments
    assert len({canonical_digest(supergraph, architecture) for architecture in listed}) == distinct


@pytest.mark.parametrize(("nodes", "distinct"), [(3, 14), (4, 52), (5, 214)])
def test_distinct_cells_of_two_operations(nodes: int, distinct: int) -> None:
    supergraph = cell(nodes, ops=("tanh", "relu"))
    listed = everything(supergraph.space)
    assert len({canonical_digest(supergraph, architecture) for architecture in listed}) == distinct


@pytest.mark.parametrize("of", ["leaves", "all"])
@pytest.mark.parametrize("ops", [("tanh",), ("tanh", "relu")])
def test_digests_are_equal_exactly_for_isomorphic_cells(ops: tuple[str, ...], of: str) -> None:
    supergraph = cell(5, ops=ops, output={"of": of})
    listed = samples(supergraph.space, 60, seed=2)
    digests = [canonical_digest(supergraph, architecture) for architecture in listed]
    outcomes = Counter()
    for i, a in enumerate(listed):
        for j, b in enumerate(listed[:i]):
            same = isomorphic(a, b)
            assert (digests[i] == digests[j]) == same
            outcomes[same, a == b] += 1
    assert outcomes[True, False] > 5
    assert outcomes[False, False] > 5


def test_renumbered_cells_of_twelve_nodes_have_one_digest() -> None:
    rng = random.Random(7)
    for architecture in samples(TWELVE.space, 20, seed=7):
        drawn = tree(architecture)
        order = ["node0"]
        waiting = list(drawn.successors("node0"))
        while waiting:
            order.append(waiting.pop(rng.randrange(len(waiting))))
            waiting += drawn.successors(order[-1])
        place = {node: number for number, node in enumerate(order)}
        inputs = [place[next(drawn.predecessors(node))] for node in order[1:]]
        other = TWELVE.space.architecture(choices([drawn.nodes[node]["op"] for node in order], inputs))
        assert canonical_digest(TWELVE, other) == canonical_digest(TWELVE, architecture)


@pytest.mark.parametrize(
    ("of", "ops", "one", "other"),
    [
        # a(b), a(c) and a(b, c), a
        ("all", ["tanh", "tanh", "tanh", "tanh", "relu"], [0, 0, 1, 2], [0, 0, 1, 1]),
        # a(b, c), a(b, c) and a(b, b), a(c, c)
        ("leaves", ["tanh", "tanh", "tanh", "tanh", "relu", "tanh", "relu"], [0, 0, 1, 1, 2, 2], [0, 0, 1, 2, 1, 2]),
    ],
)
def test_cells_that_differ_only_in_what_follows_a_node_have_other_digests(
    of: str, ops: list[str], one: list[int], other: list[int]
) -> None:
    supergraph = cell(len(ops), ops=("tanh", "relu"), output={"of": of})
    a, b = choices(ops, one), choices(ops, other)
    assert not isomorphic(a, b)
    assert canonical_digest(supergraph, a) != canonical_digest(supergraph, b)


def test_a_changed_operation_changes_the_digest() -> None:
    for architecture in samples(TWELVE.space, 10, seed=8):
        other = dict(architecture) | {"node5.op": "relu" if architecture["node5.op"] != "relu" else "tanh"}
        assert isomorphic(architecture, other) == (
            canonical_digest(TWELVE, other) == canonical_digest(TWELVE, architecture)
        )


AUTHORS = "0 0 0 1 1 2 1 2 0 2 0 5 1 1 0 6 1 8 1 8 1 8 1"
"""The authors' script: the operation of node 0, then (predecessor, operation) of each later node, by number."""
DARTS = "tanh 0, tanh 1, relu 1, tanh 3, tanh 3, relu 3, relu 4, relu 7, relu 8, relu 8, relu 8"
"""DARTS: (operation, predecessor) of nodes 1 to 11; node 0 is tanh."""
PYTORCH = "0 tanh, 1 relu, 1 tanh, 2 relu, 2 tanh, 2 tanh, 6 relu, 7 relu, 8 relu, 8 relu, 8 relu"
"""ENAS-pytorch: (predecessor, operation) of nodes 1 to 11; node 0 is tanh."""


def from_authors(text: str) -> dict[str, str]:
    numbers = [int(word) for word in text.split()]
    names = ("tanh", "relu", "identity", "sigmoid")
    return choices([names[n] for n in (numbers[0], *numbers[2::2])], numbers[1::2])


def from_darts(text: str) -> dict[str, str]:
    pairs = [pair.split() for pair in text.split(", ")]
    return choices(["tanh", *(op for op, _ in pairs)], [int(source) for _, source in pairs])


def from_pytorch(text: str) -> dict[str, str]:
    pairs = [pair.split() for pair in text.split(", ")]
    return choices(["tanh", *(op for _, op in pairs)], [int(source) for source, _ in pairs])


PUBLISHED = {
    "authors": (from_authors(AUTHORS), {3, 4, 7, 9, 10, 11}),
    "darts": (from_darts(DARTS), {2, 5, 6, 9, 10, 11}),
    "pytorch": (from_pytorch(PYTORCH), {3, 4, 5, 9, 10, 11}),
}


@pytest.mark.parametrize("source", PUBLISHED)
def test_published_cell_has_the_published_leaves(source: str) -> None:
    chosen, expected = PUBLISHED[source]
    plan = plan_architecture(TWELVE, TWELVE.space.architecture(chosen)).templates["cell"]
    (output,) = [step for step in plan.steps if step.name == "output"]
    assert {int(name.split(".")[0].removeprefix("node")) for name in output.inputs} == expected
    assert leaves(chosen) == expected


def test_three_encodings_of_the_published_cell_have_one_digest() -> None:
    listed = [TWELVE.space.architecture(chosen) for chosen, _ in PUBLISHED.values()]
    assert len({architecture.digest for architecture in listed}) == 3
    assert len({canonical_digest(TWELVE, architecture) for architecture in listed}) == 1


def test_published_cell_is_the_published_tree() -> None:
    def form(graph: nx.DiGraph, node: str) -> str:
        below = sorted(form(graph, child) for child in graph.successors(node))
        return graph.nodes[node]["op"] + (f"({','.join(below)})" if below else "")

    expected = "tanh(tanh(relu(relu,tanh,tanh(relu(relu(relu,relu,relu)))),tanh))"
    assert {form(tree(chosen), "node0") for chosen, _ in PUBLISHED.values()} == {expected}


def test_the_sharing_scope_does_not_enter() -> None:
    spaces = {share: cell(6, share) for share in SHARE_KEYS}
    for architecture in samples(spaces["node"].space, 20, seed=3):
        assert len({canonical_digest(supergraph, architecture) for supergraph in spaces.values()}) == 1


def renamed(supergraph: Supergraph) -> Supergraph:
    """The same graph with another name for every node that is no input, in reverse alphabetical order."""

    def rename(template: Template) -> Template:
        inner = sorted((name for name, node in template.nodes.items() if node.role != "input"), reverse=True)
        names = {name: name for name in template.nodes} | {name: f"n{i:04}" for i, name in enumerate(inner)}
        nodes = {
            names[name]: replace(
                node,
                name=names[name],
                inputs=tuple(names[source] for source in node.inputs),
                bind=tuple((key, mode, names[source]) for key, mode, source in node.bind),
                share=f"other {node.share}",
                owner=f"other {node.owner}",
            )
            for name, node in template.nodes.items()
        }
        wires = tuple(replace(w, source=names[w.source], target=names[w.target]) for w in template.wires)
        graph = nx.relabel_nodes(template.graph, names)
        return Template(template.name, graph, nodes, wires, names[template.output])

    return replace(supergraph, templates={name: rename(t) for name, t in supergraph.templates.items()})


def test_names_of_nodes_do_not_enter() -> None:
    supergraph = cell(6)
    other = renamed(supergraph)
    for architecture in samples(supergraph.space, 20, seed=4):
        assert canonical_digest(supergraph, architecture) == canonical_digest(other, architecture)


def scan_after(name: str, operation: str = "tanh") -> Supergraph:
    """A scan over a computed sequence, whose node is called `name`."""
    builder = GraphBuilder()
    step = builder.template("cell")
    step.output(step.op("next", OperationUse("add"), [step.input("x"), step.input("h")]))
    main = builder.template("main")
    x, h = main.input("x"), main.input("h")
    main.output(main.scan("s", "cell", sequence={"x": main.op(name, OperationUse(operation), [x])}, carry={"h": h}))
    return builder.finish()


def test_names_of_nodes_that_a_scan_reads_do_not_enter() -> None:
    assert canonical_digest(scan_after("one"), {}) == canonical_digest(scan_after("other"), {})
    assert canonical_digest(scan_after("one"), {}) != canonical_digest(scan_after("one", "relu"), {})


def test_what_a_scan_carries_enters() -> None:
    def supergraph(mode: str) -> Supergraph:
        builder = GraphBuilder()
        step = builder.template("cell")
        step.output(step.op("next", OperationUse("add"), [step.input("x"), step.input("h")]))
        main = builder.template("main")
        x, h = main.input("x"), main.input("h")
        bind = {"carry": {"h": h}, "constant": {}} if mode == "carry" else {"carry": {}, "constant": {"h": h}}
        main.output(main.scan("s", "cell", sequence={"x": x}, **bind))
        return builder.finish()

    assert canonical_digest(supergraph("carry"), {}) != canonical_digest(supergraph("constant"), {})


def test_parameters_of_operations_enter() -> None:
    supergraphs = [cell(2, output={"clip_norm": limit}) for limit in (None, 5.0, 25.0)]
    architecture = choices(["tanh", "relu"], [0])
    assert len({canonical_digest(supergraph, architecture) for supergraph in supergraphs}) == 3


CHILD = """
import random
import nasforge.ops.recurrent
from nasforge.graph.builder import GraphBuilder
from nasforge.graph.canonical import canonical_digest
from nasforge.kinds.recurrent_cell import RecurrentCellSpec, build
operations = {operation.name: operation for operation in nasforge.ops.recurrent.OPERATIONS}
block = {"nodes": 6, "each": {"op": {"choose": 1, "from": ["tanh", "relu", "sigmoid", "identity"]}}}
builder = GraphBuilder()
build(RecurrentCellSpec.model_validate(block, context={"operations": operations}), builder, "search", "node")
supergraph, rng = builder.finish(), random.Random(5)
print(*[canonical_digest(supergraph, supergraph.space.sample(rng)) for _ in range(10)])
"""


@pytest.mark.parametrize("hash_seed", ["0", "77"])
def test_digests_are_equal_in_every_process_and_hash_seed(hash_seed: str) -> None:
    root = str(Path(nasforge.__file__).parent.parent)
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": root}
    child = subprocess.run([sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True, check=True)
    supergraph = cell(6)
    assert child.stdout.split() == [canonical_digest(supergraph, a) for a in samples(supergraph.space, 10, seed=5)]
