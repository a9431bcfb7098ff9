"""One-hot vectors and masks: lengths, round trips, and what is refused."""

from __future__ import annotations

import random

import pytest
from helpers import cell, everything, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from nasforge.errors import SpaceError
from nasforge.space.decision import ALWAYS, Condition, Decision, Literal, all_of
from nasforge.space.encoding import existence_mask, from_one_hot, one_hot, option_masks
from nasforge.space.search_space import SearchSpace


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Up to six decisions of up to three options, most of them conditional, some reading far back."""
    decisions: list[Decision] = []

    def literal() -> Literal:
        read = draw(st.sampled_from(decisions))
        return Literal(read.name, draw(st.sampled_from(read.options)), draw(st.booleans()))

    for number in range(draw(st.integers(1, 6))):
        when = ALWAYS
        if decisions and draw(st.integers(0, 2)):
            terms = [tuple(literal() for _ in range(draw(st.integers(1, 2)))) for _ in range(draw(st.integers(1, 2)))]
            when = Condition(tuple(terms))
        decisions.append(Decision(f"d{number}", ("x", "y", "z")[: draw(st.integers(1, 3))], "op", f"n{number}", when))
    return SearchSpace(decisions)


def sized() -> SearchSpace:
    """One to three nodes; each has an operation, and from the second on an input."""
    decisions = [Decision("nodes", ("1", "2", "3"), "size", "")]
    for node in (1, 2, 3):
        exists = Condition(tuple((Literal("nodes", str(n)),) for n in range(node, 4)))
        if node > 1:
            decisions.append(Decision(f"in{node}", tuple(map(str, range(1, node))), "input", f"{node}", exists))
        decisions.append(Decision(f"op{node}", ("a", "b", "c", "d"), "op", f"{node}", exists))
    return SearchSpace(decisions)


def nested() -> SearchSpace:
    """``a = x`` brings b, and ``b = x`` brings c."""
    return SearchSpace(
        [
            Decision("a", ("x", "y"), "op", ""),
            Decision("b", ("x", "y"), "op", "", all_of(Literal("a", "x"))),
            Decision("c", ("x", "y"), "op", "", all_of(Literal("b", "x"))),
        ]
    )


@given(spaces())
@settings(deadline=None, max_examples=60)
def test_from_one_hot_is_the_inverse_of_one_hot(space: SearchSpace) -> None:
    vectors = set()
    for choices in everything(space):
        vector = one_hot(space, choices)
        assert from_one_hot(space, vector) == space.architecture(choices)
        vectors.add(vector)
    assert len(vectors) == space.size


@given(spaces(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_blocks_masks_and_the_index_vector_say_the_same(space: SearchSpace, seed: int) -> None:
    architecture = space.sample(random.Random(seed))
    vector, exists, masks = one_hot(space, architecture), existence_mask(space, architecture), option_masks(space)
    widest = max(len(decision.options) for decision in space.decisions)
    assert len(vector) == sum(len(decision.options) for decision in space.decisions)
    assert len(exists) == len(masks) == len(space.decisions)
    start = 0
    for decision, index, there, mask in zip(space.decisions, space.encode(architecture), exists, masks, strict=True):
        block = vector[start : start + len(decision.options)]
        assert there == (index >= 0) == (decision.name in architecture)
        assert block == tuple(float(place == index) for place in range(len(decision.options)))
        assert mask == (True,) * len(decision.options) + (False,) * (widest - len(decision.options))
        start += len(block)


def test_an_architecture_by_hand() -> None:
    space = sized()
    architecture = {"nodes": "2", "op1": "b", "in2": "1", "op2": "d"}
    assert one_hot(space, architecture) == (0, 1, 0, *(0, 1, 0, 0), 1, *(0, 0, 0, 1), *(0, 0), *(0, 0, 0, 0))
    assert all(isinstance(number, float) for number in one_hot(space, architecture))
    assert existence_mask(space, architecture) == (True, True, True, True, False, False)
    assert [sum(mask) for mask in option_masks(space)] == [3, 4, 1, 4, 2, 4]
    assert {len(mask) for mask in option_masks(space)} == {4}


def test_lengths_of_the_recurrent_cell_of_the_paper() -> None:
    space = cell(12).space
    for architecture in samples(space, 5):
        assert len(one_hot(space, architecture)) == 12 * 4 + sum(range(1, 12))
        assert sum(one_hot(space, architecture)) == len(space) == 23
        assert from_one_hot(space, list(one_hot(space, architecture))) == architecture


def test_a_space_without_decisions_has_empty_encodings() -> None:
    space = SearchSpace([])
    assert one_hot(space, {}) == existence_mask(space, {}) == option_masks(space) == ()
    assert from_one_hot(space, ()) == space.architecture({})


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ((0, 1), "a one-hot vector of this space has 6 numbers, not 2"),
        ((1, 1, 0, 0, 0, 0), "the block of 'a' (from 0) is neither one-hot nor zero: [1, 1]"),
        ((1, 0, 0.5, 0.5, 0, 0), "the block of 'b' (from 2) is neither one-hot nor zero: [0.5, 0.5]"),
        ((1, 0, 1, 0, -1, 1), "the block of 'c' (from 4) is neither one-hot nor zero"),
        ((1, 0, 0, 0, 0, 0), "'b' is missing; one of x, y"),
        ((0, 1, 1, 0, 0, 0), "'b' is given, but exists only when a = x"),
    ],
)
def test_vectors_that_one_hot_cannot_give_are_refused(vector: tuple[float, ...], message: str) -> None:
    with pytest.raises(SpaceError) as error:
        from_one_hot(nested(), vector)
    assert message in str(error.value)


def test_all_faulty_blocks_are_named() -> None:
    with pytest.raises(SpaceError, match=r"'a' .*'c' "):
        from_one_hot(nested(), (1, 1, 0, 0, 2, 0))


def test_what_is_not_valid_is_not_encoded() -> None:
    for encode in (one_hot, existence_mask):
        with pytest.raises(SpaceError, match="'b' is missing"):
            encode(nested(), {"a": "x"})
