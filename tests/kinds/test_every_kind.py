"""What holds for spaces of every kind, over randomly generated blocks."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers import everything
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_specs import BLOCKS, CATALOGUE, KINDS, declared, isomorphic_to_networkx, relabelled, supergraph_of
from scipy.stats import chisquare

from nasforge.graph.canonical import canonical_digest
from nasforge.graph.count import Meter
from nasforge.graph.mermaid import mermaid
from nasforge.graph.picture import architecture_picture, space_picture
from nasforge.graph.svg import svg
from nasforge.graph.text import space_text, text
from nasforge.space.encoding import from_one_hot, one_hot
from nasforge.space.vary import cross, distance, mutate, neighbours

BLOCK = st.one_of([blocks() for blocks in BLOCKS.values()])
SMALL = st.one_of([BLOCKS["recurrent_cell"](3), BLOCKS["conv_cell"](1, 2), BLOCKS["macro_network"](2, 2)])
SEED = st.integers(0, 2**32)
often = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
rarely = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])

ROOT = Path(__file__).parents[2]


@often
@given(BLOCK, SEED)
def test_samples_are_valid_and_come_back_from_their_encodings(block: dict[str, Any], seed: int) -> None:
    space, rng = supergraph_of(block).space, random.Random(seed)
    for _ in range(5):
        architecture = space.sample(rng)
        assert space.architecture(architecture) == architecture
        assert space.decode(space.encode(architecture)) == architecture
        assert from_one_hot(space, one_hot(space, architecture)) == architecture


@often
@given(BLOCK, SEED)
def test_mutations_crossovers_and_neighbours_are_valid(block: dict[str, Any], seed: int) -> None:
    space, rng = supergraph_of(block).space, random.Random(seed)
    assume(space.size > 1)
    a, b = space.sample(rng), space.sample(rng)
    for made in (mutate(space, a, rng), cross(space, a, b, rng), *itertools.islice(neighbours(space, a), 40)):
        assert space.architecture(made) == made
    assert distance(space, a, a) == 0 < distance(space, a, mutate(space, a, rng))


@rarely
@given(SMALL)
def test_the_size_is_that_of_a_list_of_everything(block: dict[str, Any]) -> None:
    space = supergraph_of(block).space
    combinations = 1
    for decision in space.decisions:
        combinations *= 1 + len(decision.options)
    assume(combinations <= 20_000)
    listed = everything(space)
    assert space.size == len(listed) == len(space.everything())
    assert {tuple(each.items()) for each in listed} == {each.choices for each in space.everything()}


@rarely
@given(SMALL, SEED)
def test_draws_are_uniform(block: dict[str, Any], seed: int) -> None:
    space, rng = supergraph_of(block).space, random.Random(seed)
    assume(1 < space.size <= 60)
    drawn = Counter(space.sample(rng) for _ in range(40 * space.size))
    assert set(drawn) == set(space.everything())
    assert chisquare(list(drawn.values())).pvalue > 1e-7


@often
@given(BLOCK, SEED)
def test_digests_of_relabelled_architectures_are_equal(block: dict[str, Any], seed: int) -> None:
    supergraph, rng = supergraph_of(block), random.Random(seed)
    for _ in range(5):
        architecture = supergraph.space.sample(rng)
        other = supergraph.space.architecture(relabelled(architecture, rng))
        assert canonical_digest(supergraph, architecture) == canonical_digest(supergraph, other)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(BLOCK, SEED)
def test_digests_are_equal_where_networkx_finds_an_isomorphism_and_only_there(block: dict[str, Any], seed: int) -> None:
    supergraph, rng = supergraph_of(block), random.Random(seed)
    space = supergraph.space
    for _ in range(10):
        one = space.sample(rng)
        near = relabelled(mutate(space, one, rng), rng) if space.size > 1 else one
        for other in (near, space.sample(rng)):
            same = canonical_digest(supergraph, one) == canonical_digest(supergraph, other)
            assert same == isomorphic_to_networkx(supergraph, one, other)


@rarely
@given(BLOCK, SEED)
def test_both_stages_have_the_same_decisions_and_are_counted(block: dict[str, Any], seed: int) -> None:
    kind, config = declared(block)
    search, final = supergraph_of(block), supergraph_of(block, "final")
    assert search.space.decisions == final.space.decisions

    def shapes(choices: Mapping[str, str]) -> Mapping[str, tuple[int, ...]]:
        if kind.shapes is not None:
            return kind.shapes(config)
        width = search.width.value(choices) if search.width else 4
        return dict.fromkeys(search.main.inputs, (width,))

    architecture = search.space.sample(random.Random(seed))
    for supergraph in (search, final):
        meter = Meter(supergraph, CATALOGUE.operations, shapes)
        counts = meter.count(architecture)
        assert counts.parameters > 0 and counts.flops > 0
    bank = Meter(search, CATALOGUE.operations, shapes)
    assert bank.count(architecture).parameters <= bank.bank()


@rarely
@given(BLOCK, SEED)
def test_everything_is_drawn_and_listed(block: dict[str, Any], seed: int) -> None:
    supergraph = supergraph_of(block)
    architecture = supergraph.space.sample(random.Random(seed))
    for picture in (
        architecture_picture(supergraph, architecture, title="one"),
        space_picture(supergraph),
        space_picture(supergraph, architecture=architecture),
    ):
        assert svg(picture).count("<svg") == 1 and mermaid(picture).count("flowchart") == 1
    assert text(supergraph, architecture) and space_text(supergraph)


@rarely
@given(BLOCK, SEED)
def test_every_sharing_scope_compiles_to_the_same_decisions(block: dict[str, Any], seed: int) -> None:
    kind = KINDS[block["kind"]]
    graphs = [supergraph_of(block, share=share) for share in kind.share]
    assert all(graph.space.decisions == graphs[0].space.decisions for graph in graphs)
    architecture = graphs[0].space.sample(random.Random(seed))
    assert len({canonical_digest(graph, architecture) for graph in graphs}) == 1


DIGESTS = """
import random, sys
from pathlib import Path
from nasforge.graph.canonical import canonical_digest
from nasforge.plugins import build_plugins
from nasforge.run.compile import compile_space
from nasforge.spec.run_spec import load_space_spec
plugins = build_plugins()
for name in sys.argv[1:]:
    spec, rng = load_space_spec(Path(name), plugins), random.Random(5)
    supergraph = compile_space(spec, "search", plugins.catalogue.operations)
    print(*[canonical_digest(supergraph, supergraph.space.sample(rng)) for _ in range(10)])
"""


def test_digests_are_equal_in_every_process_and_hash_seed() -> None:
    files = [str(ROOT / "spaces" / f"{name}.yaml") for name in ("rnn_small", "cifar10_micro", "digits_macro")]
    said = [
        subprocess.run(
            [sys.executable, "-c", DIGESTS, *files],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "77")
    ]
    assert said[0] == said[1] and len(set(said[0].split())) == 30


@pytest.mark.parametrize("kind", BLOCKS)
def test_the_random_blocks_reach_every_feature(kind: str) -> None:
    """Otherwise the properties above would say little."""
    found: set[str] = set()

    @settings(max_examples=150, deadline=None, database=None, derandomize=True)
    @given(BLOCKS[kind]())
    def look(block: dict[str, Any]) -> None:
        supergraph = supergraph_of(block)
        found.update(decision.role for decision in supergraph.space.decisions)
        found.update(["let"] if "let" in block else [])

    look()
    expected = {"recurrent_cell": {"input"}, "conv_cell": {"input"}, "macro_network": {"bit"}}[kind]
    assert found >= {"op", "size", "number", "let"} | expected
