"""The closed formula for distinct recurrent cells: published numbers, and brute force by canonical digests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from helpers import OPS, cell_spec, compiled, everything
from typer.testing import CliRunner

import nasforge.cli.check
from nasforge.cli.main import app
from nasforge.components import NoOptions, SpaceKind
from nasforge.graph.canonical import canonical_digest
from nasforge.kinds.recurrent_cell import KIND, RecurrentCellSpec
from nasforge.space.distinct import rooted_trees
from nasforge.space.search_space import SearchSpace


def count(spec: RecurrentCellSpec) -> int | None:
    return KIND.distinct(spec, compiled(spec).space)


def first(*ops: str) -> dict[str, Any]:
    """The option of node 0: searched over some activations, or fixed to one."""
    return {"first": {"op": ops[0] if len(ops) == 1 else {"choose": 1, "from": list(ops)}}}


@pytest.mark.parametrize(
    ("colours", "numbers"),
    [
        (1, {1: 1, 2: 1, 3: 2, 4: 4, 5: 9, 6: 20, 8: 115, 9: 286, 12: 4_766}),
        (2, {1: 2, 2: 4, 3: 14, 4: 52, 5: 214, 6: 916, 8: 18_996, 9: 89_894, 12: 10_503_612}),
        (4, {1: 4, 2: 16, 3: 104, 4: 752, 5: 5_996, 6: 50_512, 8: 4_027_360, 9: 37_383_044, 12: 32_976_302_800}),
    ],
)
def test_rooted_trees_are_as_many_as_is_known(colours: int, numbers: dict[int, int]) -> None:
    assert {n: rooted_trees(n, colours, colours) for n in numbers} == numbers


def test_trees_of_one_colour_are_those_that_networkx_lists() -> None:
    for n in range(2, 9):
        assert rooted_trees(n, 1, 1) == sum(_rootings(free) for free in nx.nonisomorphic_trees(n))


def _rootings(free: nx.Graph) -> int:
    """In how many ways a free tree has a root, up to isomorphism."""
    return len({_nested(free, node, None) for node in free})


def _nested(free: nx.Graph, node: int, parent: int | None) -> str:
    return f"({''.join(sorted(_nested(free, each, node) for each in free[node] if each != parent))})"


def test_distinct_cells_of_the_paper() -> None:
    assert count(cell_spec(12)) == 32_976_302_800
    assert count(cell_spec(12, **first("tanh"))) == 32_976_302_800 // 4


@pytest.mark.parametrize("of", ["leaves", "all"])
@pytest.mark.parametrize("root", [None, ("tanh",), ("identity",), ("sigmoid", "identity", "relu")])
@pytest.mark.parametrize(("nodes", "most"), [(1, 4), (2, 4), (3, 4), (4, 4), (5, 2)])
def test_the_formula_counts_the_canonical_digests(nodes: int, most: int, root: Sequence[str] | None, of: str) -> None:
    for n_ops in range(1, most + 1):
        options = {"output": {"of": of}, **(first(*root) if root else {})}
        if nodes == 4 and n_ops == 4 and of == "all" and root != ("tanh",):
            continue  # 1,536 architectures each; once is enough
        spec = cell_spec(nodes, ops=OPS[:n_ops], **options)
        supergraph = compiled(spec)
        digests = {canonical_digest(supergraph, architecture) for architecture in everything(supergraph.space)}
        assert count(spec) == len(digests)


@pytest.mark.parametrize("share", KIND.share)
def test_the_sharing_scope_and_the_clip_do_not_enter(share: str) -> None:
    spec = cell_spec(4, ops=OPS[:2], output={"clip_norm": None}, input_bias=False)
    supergraph = compiled(spec, share)
    digests = {canonical_digest(supergraph, architecture) for architecture in everything(supergraph.space)}
    assert count(spec) == len(digests) == 52


def test_a_kind_that_says_nothing_has_no_number() -> None:
    kind = SpaceKind("mine", "a kind", NoOptions, lambda config, builder, stage: None)
    assert kind.distinct(NoOptions(), SearchSpace([])) is None


PTB = str(Path(__file__).parents[2] / "spaces" / "ptb_rnn.yaml")


def check(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["check", PTB, *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_check_prints_how_many_are_distinct() -> None:
    said = "of 669,692,775,628,800 architectures (10^14.8), 32,976,302,800 of them distinct, 23 decisions"
    assert said in " ".join(check().split())
    assert json.loads(check("--json"))[0]["distinct"] == 32_976_302_800


def test_check_says_that_nothing_was_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    load = nasforge.cli.check.load_space_spec

    def without_formula(*arguments: Any, **options: Any) -> Any:
        spec = load(*arguments, **options)
        return replace(spec, space_kind=replace(spec.space_kind, distinct=lambda config, space: None))

    monkeypatch.setattr(nasforge.cli.check, "load_space_spec", without_formula)
    assert "(10^14.8), distinct: not computed, 23 decisions" in " ".join(check().split())
    assert json.loads(check("--json"))[0]["distinct"] is None
