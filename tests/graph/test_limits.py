"""Limits: depth and counts against brute force, parameters and FLOPs against the meter, sentences by hand."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import cache
from typing import Any

import networkx as nx
import pytest
from helpers import OPERATIONS, cell, choices, everything, samples, shapes, tree

from nasforge.graph.count import Meter
from nasforge.graph.limits import Bound, Bounds, LimitRule, count_of, depth
from nasforge.graph.supergraph import OperationUse, Supergraph, operation_of
from nasforge.plugins import Plugins, build_plugins
from nasforge.run.compile import compile_space
from nasforge.spec.run_spec import load_space_spec
from nasforge.spec.yaml_reader import read_yaml_text

W = 4
PLUGINS: Plugins = build_plugins()
IMAGES = PLUGINS.catalogue.operations


def rule(supergraph: Supergraph, **bounds: Any) -> LimitRule:
    return LimitRule(Bounds(**bounds), supergraph, OPERATIONS, lambda architecture: shapes(W))


@cache
def network(space: str, stage: Any = "final", rest: str = "") -> Supergraph:
    """The supergraph of a space of images."""
    spec = load_space_spec(read_yaml_text(f"nasforge: 1\nname: s\nspace: {space}\n{rest}", "x"), PLUGINS)
    return compile_space(spec, stage, IMAGES)


CHOICE = "{choose: 1, from: [identity, sep_conv: {kernel: 3}, conv: {kernel: 3}, max_pool: {kernel: 3}]}"
CELLS = (
    "{kind: conv_cell, image: [1, 8, 8], nodes: 3, each: {branches: 2, op: "
    + CHOICE
    + "}, stack: {normal: 1, reductions: 1, channels: 4}}"
)
MACRO = (
    "{kind: macro_network, image: [1, 8, 8], layers: {choose: 1, from: [2, 4]}, each: {op: "
    + CHOICE
    + "}, channels: 4, reduce_after: [1]}"
)

# Depth ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", ["node", "edge_op"])
def test_the_depth_of_a_recurrent_cell_is_that_of_its_tree(share: str) -> None:
    supergraph = cell(6, share)
    for architecture in samples(supergraph.space, 100):
        longest = nx.dag_longest_path_length(tree(architecture)) + 1
        assert depth(supergraph, architecture, OPERATIONS) == longest


def test_a_fixed_first_node_counts_as_one_that_is_chosen_does() -> None:
    fixed = cell(4, first={"op": "tanh"})
    for inputs, expected in (([0, 0, 0], 2), ([0, 1, 2], 4), ([0, 0, 1], 3)):
        chosen = fixed.space.architecture(choices(["tanh"] * 4, inputs, first_is_fixed=True))
        assert depth(fixed, chosen, OPERATIONS) == expected
        assert depth(cell(4), choices(["relu"] * 4, inputs), OPERATIONS) == expected


def test_a_cell_whose_size_is_searched_is_as_deep_as_the_nodes_that_it_has() -> None:
    supergraph = cell({"choose": 1, "from": [1, 3]})
    for architecture in samples(supergraph.space, 40):
        expected = 1 if architecture["nodes"] == "1" else None
        found = depth(supergraph, architecture, OPERATIONS)
        assert found == expected if expected else found in (2, 3)


def longest(architecture: Mapping[str, str], cell_name: str) -> int:
    """The longest path of operations in a conv cell, from its choices alone."""
    below = {f"{cell_name}.in0": 0, f"{cell_name}.in1": 0}
    for node in range(2, 5):
        name = f"{cell_name}.node{node}"
        below[name] = 1 + max(below[architecture[f"{name}.input{branch}"]] for branch in (1, 2))
    return max(below.values())


@pytest.mark.parametrize("stage", ["search", "final"])
def test_the_depth_of_conv_cells_is_that_of_the_deepest_cell_identities_with_a_stride_included(stage: str) -> None:
    supergraph = network(CELLS, stage)
    found = set()
    for architecture in samples(supergraph.space, 150):
        expected = max(longest(architecture, name) for name in ("normal", "reduction"))
        assert depth(supergraph, architecture, IMAGES) == expected
        found.add(expected)
    assert found == {1, 2, 3} or found == {2, 3}
    identities = {d.name: "identity" if d.role == "op" else d.options[0] for d in supergraph.space.decisions}
    assert depth(supergraph, identities, IMAGES) == 1


@pytest.mark.parametrize("stage", ["search", "final"])
@pytest.mark.parametrize("rest", ["", "train: {stack: {combine: sum}}"])
def test_the_depth_of_a_macro_network_is_its_number_of_layers(stage: str, rest: str) -> None:
    supergraph = network(MACRO, stage, rest)
    for architecture in samples(supergraph.space, 60):
        assert depth(supergraph, architecture, IMAGES) == int(architecture["layers"])
    fixed = network(MACRO.replace(CHOICE, "{conv: {kernel: 3}}"), stage)
    for architecture in samples(fixed.space, 10):
        assert depth(fixed, architecture, IMAGES) == int(architecture["layers"])


# Counts and costs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        OperationUse("tanh"),
        OperationUse("sep_conv", (("kernel", 3), ("repeat", 2))),
        OperationUse("highway", parts=(OperationUse("leaky", (("slope", 0.1),)),)),
    ],
)
def test_the_operation_of_an_option_is_the_name_of_its_use(use: OperationUse) -> None:
    assert operation_of(use.label) == use.name


def test_operations_are_counted_by_name_and_by_option() -> None:
    chosen = ["conv(kernel=3)", "conv(kernel=5)", "identity", "conv(kernel=3)", "convolve"]
    assert [count_of(name, chosen) for name in ("conv", "conv(kernel=3)", "identity", "pool")] == [3, 2, 1, 0]


def test_violations_are_those_of_numbers_counted_otherwise() -> None:
    supergraph = cell(4, ops=("tanh", "identity"))
    meter = Meter(supergraph, OPERATIONS, lambda architecture: shapes(W))
    counts = [meter.count(each) for each in everything(supergraph.space)]
    middle = sorted(count.flops for count in counts)[len(counts) // 2]
    limits = rule(
        supergraph, flops=Bound(most=middle), depth=Bound(2, 3), count={"tanh": Bound(most=1), "identity": Bound(2)}
    )
    admitted = 0
    for architecture, count in zip(everything(supergraph.space), counts, strict=True):
        long = nx.dag_longest_path_length(tree(architecture)) + 1
        tanhs = list(architecture.values()).count("tanh")
        expected = []
        if count.flops > middle:
            expected.append(f"flops: {count.flops:,} are more than {middle:,}")
        if long > 3:
            expected.append(f"depth: {long} are more than 3")
        if tanhs > 1:
            expected.append(f"count of tanh: {tanhs} are more than 1")
        if 4 - tanhs < 2:
            verb = "is" if tanhs == 3 else "are"
            expected.append(f"count of identity: {4 - tanhs} {verb} less than 2")
        assert limits.violations(architecture) == tuple(expected)
        assert limits.admits(architecture) == (not expected)
        admitted += not expected
    assert 0 < admitted < len(counts)


@pytest.mark.parametrize(
    ("bound", "number", "said"),
    [
        (Bound(most=5_000_000), 6_112_000, "6,112,000 are more than 5,000,000"),
        (Bound(most=0), 1, "1 is more than 0"),
        (Bound(least=2), 1, "1 is less than 2"),
        (Bound(2, 3), 2, ""),
        (Bound(2, 3), 3, ""),
    ],
)
def test_a_bound_says_what_is_wrong(bound: Bound, number: int, said: str) -> None:
    assert bound.broken(number) == said


def test_parameters_are_those_of_the_final_network() -> None:
    rest = "train: {stack: {channels: 8}}\nlimits: {parameters: N}"
    architecture = samples(network(CELLS).space, 1)[0]
    sizes = {}
    for stage in ("search", "final"):
        supergraph = network(CELLS, stage, "train: {stack: {channels: 8}}")
        sizes[stage] = Meter(supergraph, IMAGES, lambda a: {"image": (1, 8, 8)}).count(architecture).parameters
    assert sizes["search"] != sizes["final"]
    for stage in ("search", "final"):
        exact = network(CELLS, stage, rest.replace("N", str(sizes["final"])))
        assert exact.space.admits(architecture)
        below = network(CELLS, stage, rest.replace("N", str(sizes["final"] - 1)))
        said = f"parameters: {sizes['final']:,} are more than {sizes['final'] - 1:,}"
        assert below.space.violations(architecture) == (said,)


def test_counts_need_no_shapes_and_parameters_do() -> None:
    supergraph = cell(3)
    alone = LimitRule(Bounds(depth=Bound(most=2), count={"tanh": Bound(most=0)}), supergraph, OPERATIONS, None)
    assert alone.violations(choices(["tanh"] * 3, [0, 1])) == (
        "depth: 3 are more than 2",
        "count of tanh: 3 are more than 0",
    )
    with pytest.raises(ValueError, match="limits on parameters and flops need shapes"):
        LimitRule(Bounds(Bound(1), Bound(1)), supergraph, OPERATIONS, None)


def test_an_architecture_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    supergraph = cell(3)
    limits = rule(supergraph, parameters=Bound(most=1))
    asked: list[object] = []
    count = Meter.count
    monkeypatch.setattr(Meter, "count", lambda self, architecture: (asked.append(1), count(self, architecture))[1])
    architecture = supergraph.space.sample(random.Random(0))
    assert limits.violations(architecture) == limits.violations(architecture) == limits.violations(dict(architecture))
    assert len(asked) == 1


def test_a_decision_that_several_places_share_counts_once() -> None:
    space = (
        "{kind: macro_network, image: [1, 8, 8], layers: 3, channels: 4, let: {o: "
        + CHOICE
        + "}, each: {op: {use: o}, skips: null}}"
    )
    supergraph = network(space, "final", "limits: {count: {identity: 0, conv: 1}}")
    assert len(supergraph.space) == 1
    assert [a["o"] for a in supergraph.space.everything()] == [
        o for o in supergraph.space.decisions[0].options if o != "identity"
    ]
