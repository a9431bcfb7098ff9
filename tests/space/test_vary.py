"""Mutation, crossover, neighbours and distance, against brute force over random conditional spaces."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping

import pytest
from helpers import cell, everything, samples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from nasforge.errors import SpaceError
from nasforge.space.architecture import Architecture
from nasforge.space.decision import ALWAYS, Condition, Decision, Literal, all_of
from nasforge.space.search_space import SearchSpace
from nasforge.space.vary import cross, distance, mutate, neighbours


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
    """``a = x`` brings b, and ``b = x`` brings c, so that most pairs of changes undo each other."""
    return SearchSpace(
        [
            Decision("a", ("x", "y"), "op", ""),
            Decision("b", ("x", "y"), "op", "", all_of(Literal("a", "x"))),
            Decision("c", ("x", "y"), "op", "", all_of(Literal("b", "x"))),
        ]
    )


def changed(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    """The decisions of both that differ."""
    return {name for name in one if name in other and one[name] != other[name]}


# Mutation ------------------------------------------------------------------------------------------------------------


@given(spaces(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=200)
def test_a_mutation_is_valid_and_changes_one_decision(space: SearchSpace, seed: int) -> None:
    assume(space.size > 1)
    rng = random.Random(seed)
    before = space.sample(rng)
    after = mutate(space, before, rng)
    assert space.architecture(after) == after
    assert len(changed(before, after)) == 1
    assert after != before


@given(spaces(), st.integers(0, 2**32), st.integers(1, 4))
@settings(deadline=None, max_examples=200)
def test_a_mutation_of_several_changes_exactly_as_many_or_there_is_none(
    space: SearchSpace, seed: int, count: int
) -> None:
    rng = random.Random(seed)
    before = space.sample(rng)
    possible = [other for other in everything(space) if len(changed(before, other)) == count]
    if possible:
        after = mutate(space, before, rng, count=count)
        assert dict(after) in possible
        assert space.architecture(after) == after
    else:
        with pytest.raises(SpaceError, match=f"cannot change {count}"):
            mutate(space, before, rng, count=count)


def test_every_single_mutation_can_be_drawn_and_no_other() -> None:
    space = sized()
    before = space.architecture({"nodes": "2", "op1": "a", "in2": "1", "op2": "b"})
    rng = random.Random(0)
    drawn = {mutate(space, before, rng) for _ in range(3000)}
    assert {tuple(sorted(a.items())) for a in drawn} == {
        tuple(sorted(other.items())) for other in everything(space) if len(changed(before, other)) == 1
    }


def test_what_mutates_is_drawn_uniformly_from_the_decisions_that_have_another_option() -> None:
    space = sized()
    before = space.architecture({"nodes": "3", "op1": "a", "in2": "1", "op2": "b", "in3": "2", "op3": "c"})
    rng, draws = random.Random(1), 5000
    counts = Counter(next(iter(changed(before, mutate(space, before, rng)))) for _ in range(draws))
    assert counts.keys() == {"nodes", "op1", "op2", "in3", "op3"}  # in2 has no other option
    assert sum((count - draws / 5) ** 2 / (draws / 5) for count in counts.values()) < chi2.ppf(0.999, df=4)


def test_the_new_option_and_newly_existing_decisions_are_drawn_uniformly() -> None:
    space = sized()
    before = space.architecture({"nodes": "1", "op1": "a"})
    rng = random.Random(2)
    drawn = [mutate(space, before, rng) for _ in range(8000)]
    options = Counter(after["op1"] for after in drawn if after["nodes"] == "1")
    assert options.keys() == {"b", "c", "d"}
    total = sum(options.values())
    assert sum((count - total / 3) ** 2 / (total / 3) for count in options.values()) < chi2.ppf(0.999, df=2)
    new = Counter((after["in3"], after["op3"]) for after in drawn if after["nodes"] == "3")
    total = sum(new.values())
    assert len(new) == 8
    assert sum((count - total / 8) ** 2 / (total / 8) for count in new.values()) < chi2.ppf(0.999, df=7)


def test_a_mutation_keeps_everything_else() -> None:
    space = cell(12).space
    rng = random.Random(3)
    for before in samples(space, 50, seed=3):
        for count in (1, 2, 5):
            assert distance(space, before, mutate(space, before, rng, count=count)) == count


def test_a_rare_mutation_is_found_although_the_draws_miss_it() -> None:
    """Changing a switch removes those after it: of 465 pairs, only the 30 of a switch and ``t`` can change together."""
    decisions = [Decision("s0", ("on", "off"), "bit", "")]
    decisions += [Decision(f"s{i}", ("on", "off"), "bit", "", all_of(Literal(f"s{i - 1}", "on"))) for i in range(1, 30)]
    decisions += [Decision("t", ("x", "y"), "op", "")]
    space = SearchSpace(decisions)
    before = space.architecture({**{f"s{i}": "on" for i in range(30)}, "t": "x"})
    for seed in range(20):
        after = mutate(space, before, random.Random(seed), count=2)
        assert len(changed(before, after)) == 2 and after["t"] == "y"
        with pytest.raises(SpaceError, match="cannot change 3 decisions of this architecture: every change removes"):
            mutate(space, before, random.Random(seed), count=3)


@pytest.mark.parametrize(
    ("space", "choices", "count", "message"),
    [
        (SearchSpace([Decision("a", ("x",), "op", "")]), {"a": "x"}, 1, "the space has one architecture"),
        (SearchSpace([]), {}, 1, "the space has one architecture"),
        (nested(), {"a": "y"}, 2, "cannot change 2 of the decisions of this architecture: 1 have another option"),
        (nested(), {"a": "x", "b": "y"}, 2, "every change removes decisions"),
        (nested(), {"a": "y"}, 0, "a mutation changes at least one decision, not 0"),
        (nested(), {"a": "q"}, 1, "'a' cannot be 'q'"),
        (nested(), {"a": "y", "b": "x"}, 1, "'b' is given, but exists only when a = x"),
    ],
)
def test_impossible_mutations_are_refused(
    space: SearchSpace, choices: dict[str, str], count: int, message: str
) -> None:
    with pytest.raises(SpaceError) as error:
        mutate(space, choices, random.Random(0), count=count)
    assert message in str(error.value)


def test_a_seed_repeats_and_nothing_else_is_random() -> None:
    space = sized()
    before = space.sample(random.Random(4))

    def draw() -> list[Architecture]:
        rng = random.Random(5)
        other = space.sample(rng)
        return [mutate(space, before, rng) for _ in range(20)] + [cross(space, before, other, rng) for _ in range(20)]

    random.seed(1)
    one = draw()
    random.seed(2)
    assert draw() == one


# Crossover -----------------------------------------------------------------------------------------------------------


@given(spaces(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=200)
def test_a_cross_is_valid_and_takes_every_decision_from_a_parent_that_has_it(space: SearchSpace, seed: int) -> None:
    rng = random.Random(seed)
    a, b = space.sample(rng), space.sample(rng)
    child = cross(space, a, b, rng)
    assert space.architecture(child) == child
    for name, option in child.items():
        offered = {parent[name] for parent in (a, b) if name in parent}
        assert option in offered or not offered
    assert cross(space, a, a, rng) == a


def test_both_parents_are_drawn_equally_and_independently() -> None:
    space = SearchSpace([Decision(f"d{i}", ("x", "y"), "op", "") for i in range(3)])
    a, b = ({f"d{i}": option for i in range(3)} for option in "xy")
    rng, draws = random.Random(6), 4000
    counts = Counter(cross(space, a, b, rng) for _ in range(draws))
    assert len(counts) == 8
    assert sum((count - draws / 8) ** 2 / (draws / 8) for count in counts.values()) < chi2.ppf(0.999, df=7)


def test_a_decision_of_one_parent_is_inherited_and_one_of_neither_is_drawn() -> None:
    both = Literal("a", "x"), Literal("b", "y")
    space = SearchSpace(
        [
            Decision("a", ("x", "y"), "op", ""),
            Decision("b", ("x", "y"), "op", ""),
            Decision("of_a", ("p", "q", "r"), "op", "", all_of(Literal("a", "x"))),
            Decision("mixed", ("p", "q", "r"), "op", "", all_of(*both)),
        ]
    )
    a, b = {"a": "x", "b": "x", "of_a": "r"}, {"a": "y", "b": "y"}
    rng = random.Random(7)
    children = [cross(space, a, b, rng) for _ in range(300)]
    assert {child["of_a"] for child in children if child["a"] == "x"} == {"r"}
    assert {child.get("of_a") for child in children if child["a"] == "y"} == {None}
    assert {child["mixed"] for child in children if "mixed" in child} == {"p", "q", "r"}


def test_parents_that_are_not_valid_are_refused() -> None:
    for parents in (({"a": "q"}, {"a": "y"}), ({"a": "y"}, {"a": "q"})):
        with pytest.raises(SpaceError, match="'a' cannot be 'q'"):
            cross(nested(), *parents, random.Random(0))


# Neighbours and distance ---------------------------------------------------------------------------------------------


@given(spaces(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=200)
def test_there_is_one_valid_neighbour_for_each_other_option(space: SearchSpace, seed: int) -> None:
    before = space.sample(random.Random(seed))
    near = list(neighbours(space, before))
    expected = [(d.name, o) for d in space.active(before) for o in d.options if o != before[d.name]]
    assert len(set(near)) == len(near) == len(expected)
    for after, (name, option) in zip(near, expected, strict=True):
        assert space.architecture(after) == after
        assert changed(before, after) == {name} and after[name] == option
        new = set(after) - set(before)
        assert all(after[each] == space.decision(each).options[0] for each in new)


def test_without_conditions_the_neighbours_are_all_at_distance_one() -> None:
    space = cell(4, ops=("tanh", "relu")).space
    listed = [space.architecture(choices) for choices in everything(space)]
    for before in listed[:20]:
        assert set(neighbours(space, before)) == {a for a in listed if distance(space, before, a) == 1}


def test_neighbours_come_in_the_order_of_decisions_and_options() -> None:
    before = {"nodes": "2", "op1": "b", "in2": "1", "op2": "a"}
    assert [dict(after) for after in neighbours(sized(), before)] == [
        {"nodes": "1", "op1": "b"},
        {"nodes": "3", "op1": "b", "in2": "1", "op2": "a", "in3": "1", "op3": "a"},
        *({**before, "op1": option} for option in "acd"),
        *({**before, "op2": option} for option in "bcd"),
    ]


def test_neighbours_of_what_is_not_valid_are_refused() -> None:
    with pytest.raises(SpaceError, match="'b' is missing"):
        next(neighbours(nested(), {"a": "x"}))


@given(spaces(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=200)
def test_distance_is_a_metric_that_counts_the_places_of_the_encoding(space: SearchSpace, seed: int) -> None:
    rng = random.Random(seed)
    a, b, c = (space.sample(rng) for _ in range(3))
    far = distance(space, a, b)
    assert far == sum(i != j for i, j in zip(space.encode(a), space.encode(b), strict=True)) == distance(space, b, a)
    assert (far == 0) == (a == b)
    assert distance(space, a, c) <= far + distance(space, b, c)


def test_a_decision_that_exists_on_one_side_counts() -> None:
    space = nested()
    assert distance(space, {"a": "y"}, {"a": "x", "b": "x", "c": "y"}) == 3
    assert distance(space, {"a": "x", "b": "y"}, {"a": "x", "b": "x", "c": "y"}) == 2
    for pair in (({"a": "x"}, {"a": "y"}), ({"a": "y"}, {"a": "x"})):
        with pytest.raises(SpaceError, match="'b' is missing"):
            distance(space, *pair)
