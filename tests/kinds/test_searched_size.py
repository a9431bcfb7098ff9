"""Recurrent cells whose number of nodes is a decision: counts, existence, and equality with cells of a fixed number."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from helpers import OPERATIONS, OPS, cell, cell_spec, compiled, everything, samples, shapes
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from nasforge.executors.bank import WeightBank
from nasforge.executors.interpreter import Program
from nasforge.graph.canonical import canonical_digest
from nasforge.graph.plan import plan_architecture
from nasforge.graph.supergraph import Supergraph
from nasforge.kinds.recurrent_cell import KIND, RecurrentCellSpec
from nasforge.space.encoding import one_hot
from nasforge.space.vary import cross, distance, mutate, neighbours

FIRSTS: tuple[dict[str, Any], ...] = ({}, {"first": {"op": "tanh"}}, {"first": {"op": {"choose": 1, "from": ["relu"]}}})


def sized(sizes: Sequence[int], *, ops: Sequence[str] = OPS, **options: Any) -> RecurrentCellSpec:
    block = {"nodes": {"choose": 1, "from": list(sizes)}, "each": {"op": {"choose": 1, "from": list(ops)}}, **options}
    return RecurrentCellSpec.model_validate(block, context={"operations": OPERATIONS})


def smaller(architecture: dict[str, str]) -> dict[str, str]:
    """The same cell in the space of that number of nodes."""
    return {name: option for name, option in architecture.items() if name != "nodes"}


def test_the_number_of_nodes_is_the_first_decision_and_absent_nodes_have_none() -> None:
    space = compiled(sized([2, 4])).space
    first = space.decisions[0]
    assert (first.name, first.role, first.options) == ("nodes", "size", ("2", "4"))
    for architecture in samples(space, 50):
        present = {name.split(".")[0] for name in architecture if name != "nodes"}
        assert present == {f"node{node}" for node in range(int(architecture["nodes"]))}


def test_the_size_is_the_sum_over_the_numbers_of_nodes() -> None:
    sizes = [1, 2, 4, 8, 12, 64]
    closed = sum(4**n * math.factorial(n - 1) for n in sizes)
    assert compiled(sized(sizes)).space.size == closed > 10**80


@pytest.mark.parametrize("of", ["leaves", "all", "all_but_first"])
@pytest.mark.parametrize("first", FIRSTS)
def test_size_and_distinct_cells_equal_brute_force(of: str, first: dict[str, Any]) -> None:
    spec = sized([3, 1, 4], ops=OPS[:2], output={"of": of}, **first)
    supergraph = compiled(spec)
    listed = everything(supergraph.space)
    assert supergraph.space.size == len(listed)
    assert KIND.distinct(spec, supergraph.space) == len({canonical_digest(supergraph, each) for each in listed})


@pytest.mark.parametrize("of", ["leaves", "all", "all_but_first"])
@pytest.mark.parametrize("first", FIRSTS)
@pytest.mark.parametrize("share", KIND.share)
def test_a_cell_equals_that_of_a_space_of_its_size_bit_for_bit(of: str, first: dict[str, Any], share: str) -> None:
    options = {"output": {"of": of}, **first}
    searched = compiled(sized([1, 2, 3, 5], **options), share)
    rng = random.Random(0)
    for size in (1, 2, 3, 5):
        fixed = cell(size, share, **options)
        for _ in range(4):
            plain = dict(fixed.space.sample(rng))
            same = searched.space.architecture({"nodes": str(size), **plain})
            assert smaller(dict(same)) == plain
            assert canonical_digest(searched, same) == canonical_digest(fixed, plain)
            assert torch.equal(_run(searched, dict(same)), _run(fixed, plain))


def _run(supergraph: Supergraph, architecture: dict[str, str]) -> Tensor:
    program = Program(plan_architecture(supergraph, architecture), OPERATIONS, WeightBank(7), shapes(6))
    generator = torch.Generator().manual_seed(1)
    inputs, state = torch.randn(3, 2, 6, generator=generator), torch.randn(2, 6, generator=generator)
    return program({"inputs": inputs, "state": state, "mask": None})


def test_one_number_to_choose_from_is_that_number() -> None:
    assert compiled(sized([4])).space.size == cell(4).space.size
    assert KIND.distinct(sized([4]), compiled(sized([4])).space) == KIND.distinct(cell_spec(4), cell(4).space) == 752


def test_every_number_of_nodes_is_drawn_as_often_as_it_has_cells() -> None:
    space = compiled(sized([1, 2, 3], ops=OPS[:2])).space
    rng, drawn = random.Random(3), {"1": 0, "2": 0, "3": 0}
    for _ in range(4_400):
        drawn[space.sample(rng)["nodes"]] += 1
    expected = {"1": 200, "2": 400, "3": 1_600}
    scale = 4_400 / sum(expected.values())
    # Chi-square with two degrees of freedom; 13.8 is passed once in a thousand seeds.
    assert sum((drawn[n] - expected[n] * scale) ** 2 / (expected[n] * scale) for n in drawn) < 13.8


@st.composite
def specs(draw: st.DrawFn) -> RecurrentCellSpec:
    """Random blocks of the kind, with a fixed and with a searched number of nodes."""
    ops = draw(st.lists(st.sampled_from(OPS), min_size=1, max_size=4, unique=True))
    numbers = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True))
    options: dict[str, Any] = {
        "output": {"of": draw(st.sampled_from(["leaves", "all", "all_but_first"]))},
        "input_bias": draw(st.booleans()),
        **draw(st.sampled_from(FIRSTS)),
    }
    return sized(numbers, ops=ops, **options) if draw(st.booleans()) else cell_spec(numbers[0], ops=ops, **options)


@settings(deadline=None, max_examples=60)
@given(specs(), st.integers(0, 2**32), st.sampled_from(KIND.share))
def test_the_algebra_holds_for_random_specs(spec: RecurrentCellSpec, seed: int, share: str) -> None:
    space = compiled(spec, share).space
    rng = random.Random(seed)
    one, other = space.sample(rng), space.sample(rng)
    for each in (one, other):
        assert space.architecture(each) == each
        assert space.decode(space.encode(each)) == each
    assert len(one_hot(space, one)) == sum(len(decision.options) for decision in space.decisions)
    child = cross(space, one, other, rng)
    assert space.architecture(child) == child
    if space.size > 1:
        mutant = mutate(space, one, rng)
        assert space.architecture(mutant) == mutant
        assert distance(space, one, mutant) > 0
    for number, near in enumerate(neighbours(space, one)):
        assert space.architecture(near) == near != one
        if number == 20:
            break


@pytest.mark.parametrize(
    "nodes",
    [
        {"choose": 1, "from": []},
        {"choose": 1, "from": [0, 1]},
        {"choose": 1, "from": [1, 65]},
        {"choose": 1, "from": [2, 2]},
        {"choose": 1, "from": [2.0]},
        {"choose": 1, "from": [True]},
        {"choose": 1, "from": ["2"]},
        {"choose": 2, "from": [1, 2]},
        {"from": "previous"},
        [1, 2],
    ],
)
def test_wrong_choices_of_the_number_of_nodes_are_refused(nodes: Any) -> None:
    with pytest.raises(ValidationError, match="nodes"):
        RecurrentCellSpec.model_validate(
            {"nodes": nodes, "each": {"op": {"choose": 1, "from": ["tanh"]}}}, context={"operations": OPERATIONS}
        )
