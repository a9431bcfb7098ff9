"""Pictures equal the decisions they show, and layouts keep boxes and arrows apart."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path

import pytest

import nasforge.ops.recurrent
from nasforge.components import Stage
from nasforge.errors import SpaceError
from nasforge.graph.builder import GraphBuilder
from nasforge.graph.layout import Layout, PlacedBox, Point, layout
from nasforge.graph.picture import Arrow, Box, Picture, architecture_picture, space_picture
from nasforge.graph.supergraph import OperationUse, Supergraph
from nasforge.graph.text import space_text, text
from nasforge.kinds.recurrent_cell import RecurrentCellSpec, build
from nasforge.plugins import build_plugins
from nasforge.run.compile import compile_space
from nasforge.space.decision import ALWAYS, all_of
from nasforge.space.decision import Literal as Sign
from nasforge.spec.run_spec import load_space_spec

_AVG = "merge:output"
_END = "output:h"


ROOT = Path(__file__).parents[2]


def _cell(nodes: int, share: str = "node", of: str = "leaves") -> Supergraph:
    operations = {operation.name: operation for operation in nasforge.ops.recurrent.OPERATIONS}
    each = {"op": {"choose": 1, "from": ["tanh", "relu", "sigmoid", "identity"]}}
    block = {"nodes": nodes, "each": each, "output": {"of": of}}
    spec = RecurrentCellSpec.model_validate(block, context={"operations": operations})
    builder = GraphBuilder()
    build(spec, builder, Stage("search", share))
    return builder.finish()


def _two_branches() -> Supergraph:
    """A cell of two nodes that add two branches each, one branch with a choice."""
    builder = GraphBuilder()
    main = builder.template("main")
    a, b = main.input("a"), main.input("b")
    values = [a, b]
    for number in range(2):
        name = f"node{number}"
        choice = builder.decision(f"{name}.op", ["pool", "conv"], "op", owner=name)
        branches = [
            (main.op(f"{name}.{label}", OperationUse(label, (("kernel", 3),)), [values[-1]], owner=name), label)
            for label in choice.options
        ]
        fixed = main.op(f"{name}.skip", OperationUse("skip"), [values[-2]], owner=name)
        wires = [(value, all_of(Sign(choice.name, label))) for value, label in branches]
        values.append(main.merge(name, "sum", [*wires, (fixed, ALWAYS)], owner=name))
    main.output(main.merge("out", "mean", [(values[-1], ALWAYS), (values[-2], ALWAYS)]))
    return builder.finish()


def _expected_edges(architecture: dict[str, str], nodes: int) -> set[tuple[str, str]]:
    chosen = {(architecture[f"node{n}.input"], f"node{n}") for n in range(1, nodes)}
    leaves = {f"node{n}" for n in range(nodes)} - {source for source, _ in chosen}
    inputs = {("input:x", "node0"), ("input:h", "node0")}
    if len(leaves) == 1:
        return chosen | inputs | {(leaf, _END) for leaf in leaves}
    return chosen | inputs | {(leaf, _AVG) for leaf in leaves} | {(_AVG, _END)}


@pytest.mark.parametrize("share", ["node", "edge", "edge_op"])
def test_edges_and_operations_of_a_picture_equal_the_decisions(share: str) -> None:
    supergraph, rng = _cell(12, share), random.Random(0)
    for _ in range(50):
        architecture = supergraph.space.sample(rng)
        picture = architecture_picture(supergraph, architecture)
        edges = [(arrow.source, arrow.target) for arrow in picture.arrows]
        assert len(edges) == len(set(edges))
        assert set(edges) == _expected_edges(dict(architecture), 12)
        labels = {box.id: box.lines for box in picture.boxes if box.style == "op"}
        assert labels == {f"node{n}": (f"{n} · {architecture[f'node{n}.op']}",) for n in range(12)}


def test_picture_of_one_node_has_no_merge() -> None:
    supergraph = _cell(1)
    picture = architecture_picture(supergraph, {"node0.op": "relu"}, title="one")
    assert [(box.lines, box.style) for box in picture.boxes] == [
        (("x[t]",), "input"),
        (("h[t-1]",), "input"),
        (("0 · relu",), "op"),
        (("h[t]",), "output"),
    ]
    assert picture.title == "one"


def test_single_leaf_goes_straight_to_the_output() -> None:
    supergraph = _cell(3)
    chain = {"node0.op": "tanh", "node1.op": "relu", "node2.op": "relu", "node1.input": "node0", "node2.input": "node1"}
    assert Arrow("node2", _END) in architecture_picture(supergraph, chain).arrows
    overlaid = space_picture(supergraph, architecture=chain)
    assert {(a.source, a.target) for a in overlaid.arrows if a.emphasised} >= {("node2", _AVG), (_AVG, _END)}


def test_space_has_every_possible_edge_and_every_operation() -> None:
    picture = space_picture(_cell(12))
    edges = {(arrow.source, arrow.target) for arrow in picture.arrows}
    between = {(f"node{a}", f"node{b}") for a, b in combinations(range(12), 2)}
    into_mean = {(f"node{n}", _AVG) for n in range(1, 12)}
    assert edges == between | into_mean | {("input:x", "node0"), ("input:h", "node0"), (_AVG, _END)}
    assert not any(arrow.emphasised for arrow in picture.arrows)
    assert {box.options for box in picture.boxes if box.style == "op"} == {("tanh", "relu", "sigmoid", "identity")}


def test_overlay_emphasises_exactly_the_architecture() -> None:
    supergraph, rng = _cell(12), random.Random(1)
    for _ in range(20):
        architecture = supergraph.space.sample(rng)
        picture = space_picture(supergraph, architecture=architecture)
        strong = {(arrow.source, arrow.target) for arrow in picture.arrows if arrow.emphasised}
        single = {(a, _AVG if b == _END and a != _AVG else b) for a, b in _expected_edges(dict(architecture), 12)}
        assert strong == single | {(_AVG, _END)}
        chosen = {box.id: box.chosen for box in picture.boxes if box.style == "op"}
        assert chosen == {f"node{n}": (architecture[f"node{n}.op"],) for n in range(12)}


def test_node_of_two_branches_lists_both_operations() -> None:
    supergraph = _two_branches()
    architecture = {"node0.op": "conv", "node1.op": "pool"}
    picture = architecture_picture(supergraph, architecture, "main")
    labels = {box.id: box.lines for box in picture.boxes if box.style == "op"}
    assert labels == {"node0": ("0", "conv(kernel=3)", "skip"), "node1": ("1", "pool(kernel=3)", "skip")}
    assert ("input:b", "node1") in {(arrow.source, arrow.target) for arrow in picture.arrows}
    overlaid = {box.id: box.chosen for box in space_picture(supergraph, "main", architecture).boxes}
    assert overlaid["node0"] == ("conv(kernel=3)", "skip")
    _check_geometry(layout(picture))


def test_scan_is_a_box_of_the_main_template() -> None:
    supergraph = _cell(2)
    picture = space_picture(supergraph, "main")
    assert [box.lines for box in picture.boxes] == [("inputs",), ("state",), ("states · cell",), ("output",)]


def test_unknown_template_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SpaceError, match="cell"):
        space_picture(_cell(2), "cel")


def test_picture_refuses_arrows_that_lead_back() -> None:
    boxes = (Box("a", ("a",), "op"), Box("b", ("b",), "op"))
    with pytest.raises(ValueError, match="later"):
        Picture(boxes, (Arrow("b", "a"),))


def _flatten(points: tuple[Point, ...], pieces: int = 16) -> list[Point]:
    course = [points[0]]
    for at in range(1, len(points), 3):
        start, one, two, end = course[-1], *points[at : at + 3]
        for step in range(1, pieces + 1):
            t = step / pieces
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            quadruple = (start, one, two, end)
            x = sum(w * p[0] for w, p in zip(weights, quadruple, strict=True))
            y = sum(w * p[1] for w, p in zip(weights, quadruple, strict=True))
            course.append((x, y))
    return course


def _inside(point: Point, box: PlacedBox, slack: float) -> bool:
    x, y = point
    return box.x - slack < x < box.x + box.width + slack and box.y - slack < y < box.y + box.height + slack


def _check_geometry(placed: Layout) -> None:
    for one, other in combinations(placed.boxes, 2):
        apart = 6.0
        assert (
            one.x + one.width + apart <= other.x
            or other.x + other.width + apart <= one.x
            or one.y + one.height + apart <= other.y
            or other.y + other.height + apart <= one.y
        ), (one.box.id, other.box.id)
    by_id = {box.box.id: box for box in placed.boxes}
    for route in placed.routes:
        course = _flatten(route.points)
        for point in course:
            assert 0 <= point[0] <= placed.width
            assert 0 <= point[1] <= placed.height
            for box in placed.boxes:
                ends = box.box.id in (route.arrow.source, route.arrow.target)
                assert not _inside(point, box, -0.01 if ends else 3.0), (route.arrow, box.box.id)
        for point, name in ((course[0], route.arrow.source), (course[-1], route.arrow.target)):
            assert _inside(point, by_id[name], 0.02)
    for box in placed.boxes:
        assert box.x >= 0
        assert all(box.y >= y for _, (x, y) in placed.captions if box.x <= x <= box.x + box.width)
        assert max(box.x + box.width - placed.width, box.y + box.height - placed.height) <= 0
        assert all(word.x - word.width / 2 >= 0 for word in box.content.words)
        assert box.content.width <= box.width + 0.01


@pytest.mark.parametrize("of", ["leaves", "all"])
def test_no_boxes_overlap_and_no_arrow_crosses_a_foreign_box(of: str) -> None:
    supergraph, rng = _cell(12, of=of), random.Random(2)
    for _ in range(50):
        _check_geometry(layout(architecture_picture(supergraph, supergraph.space.sample(rng), title="a")))


@pytest.mark.parametrize("nodes", range(1, 21))
def test_geometry_holds_from_1_to_20_nodes(nodes: int) -> None:
    supergraph = _cell(nodes)
    architecture = supergraph.space.sample(random.Random(nodes))
    _check_geometry(layout(architecture_picture(supergraph, architecture)))
    _check_geometry(layout(space_picture(supergraph, architecture=architecture, title="a title " * 20)))


def test_arrows_of_a_tree_do_not_cross() -> None:
    """With leaves that all meet in one box, a tree has a drawing without crossings."""
    supergraph, rng = _cell(12), random.Random(3)
    for _ in range(10):
        placed = layout(architecture_picture(supergraph, supergraph.space.sample(rng)))
        courses = [_flatten(route.points, 6)[:-1] for route in placed.routes]
        for one, other in combinations(courses, 2):
            if one[0] == other[0]:
                continue
            pairs = ((a, b) for a in pairwise(one) for b in pairwise(other))
            assert not any(_cross(a, b) for a, b in pairs)


def _cross(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    def turn(a: Point, b: Point, c: Point) -> float:
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    (a, b), (c, d) = one, other
    return turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0


_SCRIPT = """
import hashlib, random, sys
sys.path.insert(0, {folder!r})
from test_picture import _cell
from nasforge.graph.picture import architecture_picture, space_picture
from nasforge.graph.svg import svg
from nasforge.graph.text import space_text, text
supergraph = _cell(12)
architecture = supergraph.space.sample(random.Random(0))
parts = [svg(architecture_picture(supergraph, architecture)), svg(space_picture(supergraph, architecture=architecture)),
         text(supergraph, architecture), space_text(supergraph)]
assert not {{"torch", "matplotlib"}} & set(sys.modules)
print(hashlib.sha256("".join(parts).encode()).hexdigest())
"""


def test_output_is_the_same_under_two_hash_seeds_and_needs_neither_torch_nor_matplotlib() -> None:
    script = _SCRIPT.format(folder=os.path.dirname(__file__))
    digests = set()
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1


# Conv cells and macro networks ----------------------------------------------------------------------------------------


def _shipped(name: str) -> Supergraph:
    plugins = build_plugins()
    spec = load_space_spec(ROOT / "spaces" / f"{name}.yaml", plugins)
    return compile_space(spec, "search", plugins.catalogue.operations)


@pytest.mark.parametrize("name", ["cifar10_micro", "cifar10_macro", "digits_cell", "digits_macro"])
def test_geometry_holds_for_networks_of_images(name: str) -> None:
    supergraph, rng = _shipped(name), random.Random(4)
    for _ in range(8):
        architecture = supergraph.space.sample(rng)
        _check_geometry(layout(architecture_picture(supergraph, architecture, title=name)))
    _check_geometry(layout(space_picture(supergraph, architecture=architecture, title=name)))


def test_a_pair_of_cells_stands_side_by_side_with_a_caption_each() -> None:
    supergraph = _shipped("cifar10_micro")
    placed = layout(architecture_picture(supergraph, supergraph.space.sample(random.Random(0)), title="a pair"))
    assert [text for text, _ in placed.captions] == ["a pair", "normal", "reduction"]
    left = [box for box in placed.boxes if box.box.id.startswith("normal/")]
    right = [box for box in placed.boxes if box.box.id.startswith("reduction/")]
    assert len(left) + len(right) == len(placed.boxes)
    assert max(box.x + box.width for box in left) < min(box.x for box in right)


def test_a_conv_cell_has_a_box_for_each_branch_and_one_that_adds_them() -> None:
    supergraph = _shipped("digits_cell")
    architecture = dict(supergraph.space.sample(random.Random(0)))
    for number, (source, operation) in enumerate([("in0", "identity"), ("in1", "conv(kernel=3)")], 1):
        architecture[f"normal.node2.input{number}"] = f"normal.{source}"
        architecture[f"normal.node2.op{number}"] = operation
    picture = architecture_picture(supergraph, architecture, "normal")
    boxes = {box.id: box.lines for box in picture.boxes}
    assert boxes["normal.node2.1"] == ("identity",) and boxes["normal.node2.2"] == ("conv(kernel=3)",)
    assert boxes["normal.node2"] == ("2",)
    arrows = {(arrow.source, arrow.target) for arrow in picture.arrows}
    assert {("input:in0", "normal.node2.1"), ("input:in1", "normal.node2.2")} <= arrows
    assert {("normal.node2.1", "normal.node2"), ("normal.node2.2", "normal.node2")} <= arrows
    whole = {box.id: box.lines for box in space_picture(supergraph, "normal").boxes}
    assert whole["merge:output"] == ("concat",)


def test_a_macro_network_shows_the_chain_and_the_chosen_skips_only() -> None:
    supergraph = _shipped("cifar10_macro")
    architecture = supergraph.space.sample(random.Random(1))
    arrows = {(a.source, a.target) for a in architecture_picture(supergraph, architecture).arrows}
    chain = ["stem", *(f"layer{number}" for number in range(1, 13))]
    skips = {
        (earlier, f"layer{number}")
        for number in range(1, 13)
        for earlier in chain[: number - 1]
        if architecture[f"layer{number}.skip.{earlier}"] == "yes"
    }
    expected = {*pairwise(chain), *skips, ("input:image", "stem"), ("layer12", "output:output")}
    assert arrows == expected


def test_boxes_after_a_reduction_name_the_size_of_the_images() -> None:
    supergraph = _shipped("cifar10_macro")
    architecture = supergraph.space.sample(random.Random(1))
    child = {box.id: box.lines[0] for box in architecture_picture(supergraph, architecture).boxes}
    whole = {box.id: box.lines[0] for box in space_picture(supergraph).boxes}
    assert child["layer4"].endswith(")") and child["layer5"].endswith(") · 1/2")
    assert child["layer9"].endswith(") · 1/4") and child["output:output"] == "output"
    assert [whole[f"layer{layer}"] for layer in (4, 5, 8, 9)] == ["4", "5 · 1/2", "8 · 1/2", "9 · 1/4"]
    lines = text(supergraph, architecture).splitlines()
    assert [line.split()[1] for line in lines[1:14]] == ["1"] * 5 + ["1/2"] * 4 + ["1/4"] * 4
    assert "\nsize of images: 1/2 from layer5 on, 1/4 from layer9 on\n" in space_text(supergraph)


def test_halvings_inside_a_cell_are_not_marked() -> None:
    supergraph = _shipped("cifar10_micro")
    architecture = supergraph.space.sample(random.Random(1))
    assert "1/2" not in text(supergraph, architecture) + space_text(supergraph)


def test_chosen_sizes_that_belong_to_no_node_are_said() -> None:
    supergraph = _shipped("digits_macro")
    chosen = supergraph.space.sample(random.Random(1))
    said = f"layers = {chosen['layers']}"
    assert text(supergraph, chosen).startswith(f"{said}\n\nnode ")
    assert architecture_picture(supergraph, chosen, title="best").title == f"best · {said}"
    assert space_picture(supergraph, architecture=chosen).title == said
    assert space_picture(supergraph, title="all").title == "all"


def test_what_is_one_of_several_is_no_sum() -> None:
    """The output of a network whose number of layers is searched is that of one layer."""
    labels = {box.lines for box in space_picture(_shipped("digits_macro")).boxes if box.style == "merge"}
    assert labels == {("one of",)}
