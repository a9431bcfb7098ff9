"""Random ``space`` blocks of every kind, as hypothesis strategies, and what is done to their architectures."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

import networkx as nx
from hypothesis import strategies as st

from nasforge.components import SpaceKind, Stage
from nasforge.graph.compile import compile_kind
from nasforge.graph.plan import TemplatePlan, plan_architecture
from nasforge.graph.supergraph import Supergraph
from nasforge.plugins import build_plugins
from nasforge.spec.lets import with_names_put_in
from nasforge.spec.nodes import plain
from nasforge.spec.yaml_reader import read_value

CATALOGUE = build_plugins().catalogue
KINDS = CATALOGUE.kinds

_ACTIVATIONS = ("tanh", "relu", "sigmoid", "identity")
_IMAGES: tuple[Any, ...] = (
    "identity",
    {"conv": {"kernel": 3}},
    {"sep_conv": {"kernel": 3}},
    {"sep_conv": {"kernel": 5}},
    {"avg_pool": {"kernel": 3}},
    {"max_pool": {"kernel": 3}},
    "zero",
    {"se": {"ratio": 2}},
    {"dil_conv": {"kernel": 3}},
)
_SEARCHED: tuple[Any, ...] = (
    {"conv": {"kernel": {"choose": 1, "from": [1, 3]}}},
    {"sep_conv": {"kernel": {"use": "k"}}},
    {"se": {"ratio": {"choose": 1, "from": [1, 4]}}},
)


def _several(options: tuple[Any, ...], most: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(options), min_size=1, max_size=most, unique_by=str)


def _sizes(most: int) -> st.SearchStrategy[Any]:
    one = st.integers(1, most)
    return one | st.lists(one, min_size=1, max_size=3, unique=True).map(lambda found: {"choose": 1, "from": found})


def _widths(of: tuple[int, ...]) -> st.SearchStrategy[Any]:
    several = st.lists(st.sampled_from(of), min_size=1, max_size=2, unique=True)
    return st.sampled_from(of) | several.map(lambda found: {"choose": 1, "from": found})


@st.composite
def _named(draw: st.DrawFn, block: dict[str, Any]) -> dict[str, Any]:
    """The block, perhaps with its operation choice shared by name; with ``k`` named where it is used."""
    let: dict[str, Any] = {}
    if "'use': 'k'" in str(block):
        let["k"] = {"choose": 1, "from": [3, 5]}
    if draw(st.booleans()):
        let["shared"] = block["each"]["op"]
        block = {**block, "each": {**block["each"], "op": {"use": "shared"}}}
    return {**block, "let": let} if let else block


@st.composite
def recurrent_cells(draw: st.DrawFn, nodes: int = 5) -> dict[str, Any]:
    """Blocks of recurrent cells."""
    block: dict[str, Any] = {
        "kind": "recurrent_cell",
        "nodes": draw(_sizes(nodes)),
        "each": {"op": {"choose": 1, "from": draw(_several(_ACTIVATIONS, 3))}},
        "output": {"of": draw(st.sampled_from(["leaves", "all", "all_but_first"]))},
    }
    if draw(st.booleans()):
        block["first"] = {"op": draw(st.sampled_from(_ACTIVATIONS))}
    if draw(st.booleans()):
        block["hidden"] = {"choose": 1, "from": [4, 8]}
    return draw(_named(block))


@st.composite
def conv_cells(draw: st.DrawFn, nodes: int = 3, most: int = 3) -> dict[str, Any]:
    """Blocks of convolutional cells."""
    cells = draw(st.sampled_from([["normal"], ["normal", "reduction"], ["reduction", "normal"]]))
    block: dict[str, Any] = {
        "kind": "conv_cell",
        "image": draw(st.sampled_from([[3, 8, 8], [1, 7, 5]])),
        "cells": cells,
        "nodes": draw(_sizes(nodes)),
        "each": {
            "branches": draw(st.integers(1, 3)),
            "op": {"choose": 1, "from": draw(_several(_IMAGES + _SEARCHED, most))},
        },
        "output": {"of": draw(st.sampled_from(["leaves", "all"]))},
        "stack": {
            "normal": draw(st.integers(1, 2)),
            "reductions": draw(st.integers(int("reduction" in cells), 2)),
            "channels": draw(_widths((4, 8))),
        },
    }
    return draw(_named(block))


@st.composite
def macro_networks(draw: st.DrawFn, layers: int = 5, most: int = 3) -> dict[str, Any]:
    """Blocks of macro networks."""
    sizes = draw(_sizes(layers))
    largest = sizes if isinstance(sizes, int) else max(sizes["from"])
    inner = range(1, largest)
    block: dict[str, Any] = {
        "kind": "macro_network",
        "image": draw(st.sampled_from([[1, 8, 8], [2, 5, 7]])),
        "layers": sizes,
        "each": {
            "op": {"choose": 1, "from": draw(_several(_IMAGES + _SEARCHED, most))},
            "skips": draw(st.sampled_from([None, {"choose": "any", "from": "previous"}])),
        },
        "channels": draw(_widths((2, 5))),
        "reduce_after": sorted(draw(st.sets(st.sampled_from(inner), max_size=2))) if inner else [],
    }
    return draw(_named(block))


BLOCKS: Mapping[str, Any] = {
    "recurrent_cell": recurrent_cells,
    "conv_cell": conv_cells,
    "macro_network": macro_networks,
}


def declared(block: Mapping[str, Any]) -> tuple[SpaceKind, Any]:
    """The kind of a block and its validated form."""
    kind = KINDS[block["kind"]]
    node, _, problems = with_names_put_in(read_value(_flow(dict(block)), "block"))
    assert not problems, problems
    context = {"operations": CATALOGUE.operations}
    return kind, kind.config.model_validate(plain(node), context=context, by_alias=True, by_name=False)


def supergraph_of(block: Mapping[str, Any], stage: str = "search", share: str = "") -> Supergraph:
    """The supergraph of a block."""
    kind, config = declared(block)
    return compile_kind(kind, config, Stage(stage, share or kind.share[0]))  # type: ignore[arg-type]


def _flow(value: Any) -> str:
    """A value in YAML's flow style."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_flow, value)) + "]"
        case None:
            return "null"
    return str(value)


def isomorphic_to_networkx(supergraph: Supergraph, a: Mapping[str, str], b: Mapping[str, str]) -> bool:
    """Whether the children of two architectures are isomorphic, template by template, as networkx sees it."""
    one, other = plan_architecture(supergraph, a).templates, plan_architecture(supergraph, b).templates
    width = supergraph.width
    return (
        one.keys() == other.keys()
        and (width is None or width.value(a) == width.value(b))
        and all(
            nx.is_isomorphic(
                _attributed(one[name]),
                _attributed(other[name]),
                node_match=lambda x, y: x["what"] == y["what"],
                edge_match=lambda x, y: x["at"] == y["at"],
            )
            for name in one
        )
    )


def _attributed(plan: TemplatePlan) -> nx.DiGraph:
    graph = nx.DiGraph()
    for name in plan.template.inputs:
        graph.add_node(name, what=name)
    for step in plan.steps:
        node, use = step.node, step.operation
        graph.add_node(
            step.name, what=(node.role, node.combine, node.template, use and use.whole_label, node.bind != ())
        )
        positions: dict[str, list[int]] = {}
        for position, source in enumerate(step.inputs):
            positions.setdefault(source, []).append(0 if node.role == "merge" else position)
        graph.add_edges_from((source, step.name, {"at": tuple(at)}) for source, at in positions.items())
    graph.nodes[plan.output]["what"] = ("output", graph.nodes[plan.output]["what"])
    return graph


def relabelled(architecture: Mapping[str, str], rng: random.Random) -> dict[str, str]:
    """An architecture of the same cells with their nodes in another order, and branches swapped; chains stay.

    Nodes with decisions that name other places (searched parameters) are left where they are.
    """
    prefixes = sorted({name.rpartition("node")[0] for name in architecture if ".input" in name})
    renamed = dict(architecture)
    for prefix in prefixes:
        renamed = _cell_relabelled(renamed, prefix, rng)
    return renamed


def _cell_relabelled(architecture: Mapping[str, str], prefix: str, rng: random.Random) -> dict[str, str]:
    own = {name: option for name, option in architecture.items() if re.match(rf"{prefix}node\d", name)}
    nodes = sorted({name[len(prefix) :].split(".")[0] for name in own}, key=lambda node: int(node[4:]))
    reads = {
        node: {option[len(prefix) :] for name, option in own.items() if name.startswith(f"{prefix}{node}.input")}
        for node in nodes
    }
    fixed = [node for node in nodes if not reads[node]]
    order: list[str] = []
    while len(order) < len(nodes):
        ready = [node for node in nodes if node not in order and all(r in order or r not in nodes for r in reads[node])]
        order.append(ready[0] if ready[0] in fixed else rng.choice(ready))
    to = dict(zip(order, nodes, strict=True))
    swapped = {node: rng.random() < 0.5 for node in nodes}
    made: dict[str, str] = {name: option for name, option in architecture.items() if name not in own}
    for name, option in own.items():
        node, _, rest = name[len(prefix) :].partition(".")
        if swapped[node] and f"{prefix}{node}.input2" in own:
            rest = rest.translate(str.maketrans("12", "21")) if rest[-1] in "12" and "." not in rest else rest
            head, dot, tail = rest.partition(".")
            if dot:
                rest = head.translate(str.maketrans("12", "21")) + dot + tail
        read = option[len(prefix) :] if option.startswith(prefix) else option
        made[f"{prefix}{to[node]}.{rest}"] = f"{prefix}{to[read]}" if ".input" in name and read in to else option
    return made
