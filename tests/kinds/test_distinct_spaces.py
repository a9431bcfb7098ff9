"""Distinct architectures of every kind: known figures, brute force by canonical digests over random spaces."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nasforge.components import Operation
from nasforge.graph.canonical import canonical_digest
from nasforge.graph.compile import compile_kind
from nasforge.graph.distinct import Listing
from nasforge.graph.labelling import Dag, labelled
from nasforge.graph.supergraph import Supergraph
from nasforge.kinds import conv_cell, macro_network, recurrent_cell
from nasforge.plugins import build_plugins
from nasforge.space.distinct import acyclic_cells

KINDS = {kind.name: kind for kind in (conv_cell.KIND, macro_network.KIND, recurrent_cell.KIND)}
PAPER = ["identity", "avg_pool: 3", "max_pool: 3", "sep_conv: 3", "sep_conv: 5", "conv: 3"]


@cache
def operations() -> Mapping[str, Operation]:
    return build_plugins([]).catalogue.operations


def form(options: Sequence[Any], use: str = "") -> dict[str, Any]:
    return {"choose": 1, "from": list(options), **({"use": use} if use else {})}


def images(*texts: str) -> dict[str, Any]:
    """A choice of operations, each written as a name, or as a name and a kernel."""
    split = [text.split(": ") for text in texts]
    return form([{each[0]: {"kernel": int(each[1])}} if each[1:] else each[0] for each in split])


def counted(block: dict[str, Any]) -> tuple[int | None, Supergraph]:
    """What the formula of its kind says of a block, and the graph."""
    kind = KINDS[block["kind"]]
    config = kind.config.model_validate(block, context={"operations": operations()})
    supergraph = compile_kind(kind, config)
    return kind.distinct(config, supergraph.space), supergraph


def brute_force(supergraph: Supergraph) -> int:
    return len({canonical_digest(supergraph, each) for each in supergraph.space.everything()})


def conv(nodes: Any, op: Any, *, branches: int = 2, cells: Sequence[str] = ("normal",), **options: Any) -> Any:
    reductions = int("reduction" in cells)
    return {
        "kind": "conv_cell",
        "image": [1, 8, 8],
        "cells": list(cells),
        "nodes": nodes,
        "each": {"branches": branches, "op": op},
        "stack": {"normal": 1, "reductions": reductions, "channels": options.pop("channels", 4)},
        **options,
    }


def macro(layers: Any, op: Any, **options: Any) -> dict[str, Any]:
    each = {"op": op, "skips": options.pop("skips", {"choose": "any"})}
    return {"kind": "macro_network", "image": [1, 8, 8], "layers": layers, "each": each, **options}


def recurrent(nodes: Any, op: Any, **options: Any) -> dict[str, Any]:
    return {"kind": "recurrent_cell", "nodes": nodes, "each": {"op": op}, **options}


# Figures -------------------------------------------------------------------------------------------------------------

CELLS = (55, 5_115, 703_560, 131_377_895, 31_355_379_836)
SKELETONS = (3, 15, 97, 807, 8_328)


def test_cells_of_enas_are_as_many_as_is_known() -> None:
    assert acyclic_cells(5, 2, 2, 5)[1:] == CELLS
    assert acyclic_cells(5, 2, 2, 1)[1:] == SKELETONS


@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 5])
def test_the_conv_kind_says_these_figures(nodes: int) -> None:
    one, both = ("normal",), ("normal", "reduction")
    assert counted(conv(nodes, images(*PAPER[:5]), cells=one))[0] == CELLS[nodes - 1]
    assert counted(conv(nodes, images(*PAPER[:5]), cells=both))[0] == CELLS[nodes - 1] ** 2
    assert counted(conv(nodes, images("identity"), cells=one))[0] == SKELETONS[nodes - 1]


def test_all_cells_of_two_nodes_and_five_operations() -> None:
    """22,500 assignments, 6,600 where the order of branches is ignored, 5,115 digests."""
    number, supergraph = counted(conv(2, images(*PAPER[:5])))
    listed = supergraph.space.everything()
    unordered = {
        tuple(
            tuple(sorted((each[f"normal.node{node}.input{b}"], each[f"normal.node{node}.op{b}"]) for b in (1, 2)))
            for node in (2, 3)
        )
        for each in listed
    }
    digests = {canonical_digest(supergraph, each) for each in listed}
    assert (len(listed), len(unordered), len(digests)) == (22_500, 6_600, 5_115)
    assert number == 5_115


def test_unordered_assignments_of_five_nodes() -> None:
    """What the figures are below: pairs of (input, operation) of which the order is ignored, nodes numbered."""
    assert math.prod(m * (m + 1) // 2 for m in range(10, 35, 5)) == 209_459_250_000 > CELLS[4]


def test_macro_networks_of_the_paper_are_all_distinct() -> None:
    number, supergraph = counted(macro(12, images(*PAPER), reduce_after=[4, 8]))
    assert number == supergraph.space.size == 160_618_186_625_454_535_808_756_219_904


@pytest.mark.parametrize(
    ("most", "n_inputs", "n_branches", "n_colours"),
    [(4, 2, 2, 1), (3, 2, 2, 2), (3, 1, 2, 2), (3, 2, 1, 3), (4, 1, 1, 2), (3, 2, 3, 1), (2, 3, 3, 2)],
)
def test_acyclic_cells_are_those_that_labelling_tells_apart(
    most: int, n_inputs: int, n_branches: int, n_colours: int
) -> None:
    """Classes are made node by node: a cell of n nodes is one of n - 1 nodes with a leaf."""
    classes: dict[Any, list[tuple[tuple[int, int], ...]]] = {(): []}
    numbers = [1]
    for n in range(most):
        branches = list(itertools.product(range(n_inputs + n), range(n_colours)))
        found = {}
        for cell in classes.values():
            for node in itertools.combinations_with_replacement(branches, n_branches):
                made = [*cell, node]
                found[_canonical(made, n_inputs)] = made
        classes = found
        numbers.append(len(classes))
    assert acyclic_cells(most, n_inputs, n_branches, n_colours) == tuple(numbers)


def _canonical(cell: Sequence[Sequence[tuple[int, int]]], n_inputs: int) -> Any:
    """A vertex for each input, for each node, and for each branch before its node."""
    labels = [f"input {index}" for index in range(n_inputs)]
    inputs: list[list[int]] = [[] for _ in labels]
    values = list(range(n_inputs))
    for node in cell:
        first = len(labels)
        for source, colour in node:
            labels.append(f"branch {colour}")
            inputs.append([values[source]])
        inputs.append(list(range(first, len(labels))))
        values.append(len(labels))
        labels.append("node")
    return labelled(Dag(labels, inputs, [False] * len(labels)))


# Random spaces -------------------------------------------------------------------------------------------------------

IMAGES = [
    "identity",
    {"avg_pool": {"kernel": 3}},
    {"conv": {"kernel": 3}},
    {"conv": {"kernel": form([5, 3])}},
    {"conv": {"kernel": form([3, 5], "kernel")}},
    {"sep_conv": {"kernel": form([3, 7])}},
    {"dil_conv": {"kernel": form([3, 5]), "dilation": form([2, 4], "dilation")}},
]
ACTIVATIONS = ["tanh", "relu", "identity"]


@st.composite
def blocks(draw: st.DrawFn) -> dict[str, Any]:
    """A block of one of the kinds, with numbers and operations that are searched, shared by name, or neither."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    known: Sequence[Any] = ACTIVATIONS if kind == "recurrent_cell" else IMAGES
    chosen = draw(st.lists(st.integers(0, len(known) - 1), min_size=1, max_size=3, unique=True))
    op = form([known[index] for index in chosen], draw(st.sampled_from(["", "", "", "op"])))
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=2, unique=True))
    named = draw(st.sampled_from(["", "", "size"]))
    nodes = sizes[0] if draw(st.booleans()) else form(sizes, named)
    # A width may be the same decision as the size.
    width = draw(st.sampled_from([4, form([4, 6]), form([6, 4], "width"), *([nodes] if named else [])]))
    if kind == "recurrent_cell":
        first = {"op": draw(st.sampled_from(["tanh", form(["relu", "tanh"]), form(["tanh", "relu"], "first")]))}
        return recurrent(
            nodes,
            op,
            output={"of": draw(st.sampled_from(["leaves", "all", "all_but_first"]))},
            **({"first": first} if draw(st.booleans()) else {}),
            **({"hidden": width} if isinstance(width, dict) else {}),
        )
    if kind == "macro_network":
        deep = max(sizes if isinstance(nodes, dict) else [nodes]) > 1
        wide = 1 not in (width["from"] if isinstance(width, dict) else [width])
        reduced = [1] if deep and wide and draw(st.booleans()) else []
        skips = draw(st.sampled_from([{"choose": "any"}, None]))
        return macro(nodes, op, channels=width, skips=skips, reduce_after=reduced)
    return conv(
        nodes,
        op,
        branches=draw(st.integers(1, 2)),
        cells=draw(st.sampled_from([["normal"], ["normal", "reduction"], ["reduction", "normal"]])),
        output={"of": draw(st.sampled_from(["leaves", "all"]))},
        channels=width,
    )


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(blocks())
def test_a_number_that_is_said_is_that_of_the_digests(block: dict[str, Any]) -> None:
    number, supergraph = counted(block)
    listing = Listing(supergraph)
    assume(listing.largest <= 3_000)
    listed = listing.count_distinct()
    assert number in (None, listed)
    assert number is not None or "'use'" in str(block["each"]) or "'use'" in str(block.get("first"))
    if supergraph.space.size <= 3_000:
        assert listed == brute_force(supergraph)


@pytest.mark.parametrize(
    ("block", "number"),
    [
        # A kernel by name comes to nothing where no convolution is chosen: one network for both kernels.
        (macro(1, form(["identity", {"conv": {"kernel": form([3, 5], "k")}}])), 3),
        (conv(1, form(["identity", {"conv": {"kernel": form([3, 5], "k")}}]), branches=1), 6),
        # Two options that come to one operation: 3 different ones in 4 ways.
        (macro(2, form([{"conv": {"kernel": 3}}, {"conv": {"kernel": form([3, 5])}}, "identity"])), 18),
        (conv(1, form([{"conv": {"kernel": 3}}, {"conv": {"kernel": form([3, 5])}}, "identity"])), 21),
        # One number of nodes for both cells, and the channels with it.
        (conv(form([1, 2], "n"), images("identity"), cells=["normal", "reduction"]), 3**2 + 15**2),
        (conv(form([1, 2], "n"), images("identity"), cells=["normal", "reduction"], channels=form([4, 6])), 2 * 234),
        (conv(form([1, 2], "n"), images("identity"), cells=["normal", "reduction"], channels=form([1, 2], "n")), 234),
        (conv(form([1, 2]), images("identity"), cells=["normal", "reduction"]), 18**2),
        # A name may be that of a decision of the kind.
        (recurrent(2, form(["tanh", "relu"], "nodes")), 2),
        (recurrent(form([1, 3]), form(["tanh", "relu"]), hidden=form([4, 8])), 2 * (2 + 14)),
    ],
)
def test_cases_by_hand(block: dict[str, Any], number: int) -> None:
    said, supergraph = counted(block)
    assert said in (None, number)
    assert Listing(supergraph).count_distinct() == brute_force(supergraph) == number


def test_large_cells_are_not_computed_rather_than_late() -> None:
    assert counted(conv(conv_cell.MOST_COUNTED, images("identity", "conv: 3"), branches=1))[0] is not None
    assert counted(conv(conv_cell.MOST_COUNTED + 1, images("identity"), branches=1))[0] is None
