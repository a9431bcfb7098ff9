"""Spaces under a rule: uniform draws over what it admits, variation inside it, refusals in words."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping

import pytest
from helpers import everything
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from nasforge.errors import SpaceError
from nasforge.space.architecture import Architecture
from nasforge.space.decision import Condition, Decision, Literal, all_of
from nasforge.space.encoding import from_one_hot, one_hot
from nasforge.space.rule import TRIES, Refusals
from nasforge.space.search_space import SearchSpace
from nasforge.space.vary import cross, distance, mutate, neighbours


class AtMost:
    """At most so many choices of an option; counts how often it was asked."""

    def __init__(self, option: str, most: int) -> None:
        self.option, self.most, self.asked = option, most, 0

    def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
        self.asked += 1
        count = list(architecture.values()).count(self.option)
        return (f"count of {self.option}: {count} are more than {self.most}",) if count > self.most else ()


def conditional() -> SearchSpace:
    """``a = y`` alone, or ``a = x`` with b of three options, of which the first brings c of four, and d always."""
    return SearchSpace(
        [
            Decision("a", ("x", "y"), "op", "a"),
            Decision("b", ("x", "y", "z"), "op", "b", all_of(Literal("a", "x"))),
            Decision("c", ("x", "l", "m", "n"), "op", "c", all_of(Literal("b", "x"))),
            Decision("d", ("x", "y"), "op", "d"),
        ]
    )


@st.composite
def limited(draw: st.DrawFn) -> SearchSpace:
    """A random conditional space of up to five decisions under a rule that admits something."""
    decisions: list[Decision] = []
    for number in range(draw(st.integers(1, 5))):
        when = Condition(((),))
        if decisions and draw(st.booleans()):
            read = draw(st.sampled_from(decisions))
            when = all_of(Literal(read.name, draw(st.sampled_from(read.options)), draw(st.booleans())))
        decisions.append(Decision(f"d{number}", ("x", "y", "z")[: draw(st.integers(1, 3))], "op", f"n{number}", when))
    space = SearchSpace(decisions).limited(AtMost(draw(st.sampled_from("xyz")), draw(st.integers(0, 3))))
    assume(admitted(space))
    return space


def admitted(space: SearchSpace) -> list[dict[str, str]]:
    """By brute force, independent of the space's own counting and of its rule's cache."""
    return [each for each in everything(space.unlimited) if not space.violations(each)]


def test_a_space_without_a_rule_admits_everything_and_is_its_own_unlimited_space() -> None:
    space = conditional()
    assert space.rule is None and space.unlimited is space
    assert space.admits(space.sample(random.Random(0)))
    under = space.limited(AtMost("x", 1))
    assert under.decisions == space.decisions and under.unlimited.rule is None
    assert under.limited(None).rule is None


@given(limited())
@settings(deadline=None, max_examples=60)
def test_everything_is_what_brute_force_admits_and_size_counts_all(space: SearchSpace) -> None:
    assert [dict(each) for each in space.everything()] == [
        dict(each) for each in space.unlimited.everything() if dict(each) in admitted(space)
    ]
    assert space.size == len(everything(space.unlimited)) == space.unlimited.size


def test_sampling_is_uniform_over_what_is_admitted() -> None:
    space = conditional().limited(AtMost("x", 2))
    rng = random.Random(0)
    expected = {Architecture(tuple(each.items())) for each in admitted(space)}
    assert 5 < len(expected) < space.size
    n = 400 * len(expected)
    seen = Counter(space.sample(rng) for _ in range(n))
    assert set(seen) == expected
    statistic = sum((count - 400) ** 2 / 400 for count in seen.values())
    assert statistic < chi2.ppf(0.999, len(expected) - 1)


@given(limited(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_whatever_is_made_is_admitted(space: SearchSpace, seed: int) -> None:
    rng = random.Random(seed)
    a, b = space.sample(rng), space.sample(rng)
    valid = admitted(space)
    assert dict(a) in valid and space.architecture(a) == a
    assert space.decode(space.encode(a)) == a and from_one_hot(space, one_hot(space, a)) == a
    assert dict(cross(space, a, b, rng)) in valid
    steps = list(neighbours(space, a))
    assert steps == [each for each in neighbours(space.unlimited, a) if dict(each) in valid]
    if any(distance(space, a, Architecture(tuple(each.items()))) >= 1 for each in valid) and steps:
        assert dict(mutate(space, a, rng)) in valid


def test_mutations_are_those_without_the_rule_given_that_they_are_admitted() -> None:
    space = conditional().limited(AtMost("x", 2))
    before = space.architecture({"a": "x", "b": "y", "d": "x"})
    rng = random.Random(0)
    free = [mutate(space.unlimited, before, rng) for _ in range(6000)]
    kept = Counter(each for each in free if space.admits(each))
    seen = Counter(mutate(space, before, rng) for _ in range(sum(kept.values())))
    assert set(seen) == set(kept) and sum(kept.values()) < 6000
    statistic = sum((seen[each] - kept[each]) ** 2 / (seen[each] + kept[each]) for each in kept)
    assert statistic < chi2.ppf(0.999, len(kept) - 1)


def test_what_is_outside_is_refused_with_the_sentences() -> None:
    space = conditional().limited(AtMost("x", 1))
    outside = {"a": "x", "b": "x", "c": "x", "d": "x"}
    said = "an architecture outside the limits of this space: count of x: 4 are more than 1"
    refused: list[Callable[[], object]] = [
        lambda: space.architecture(outside),
        lambda: space.decode([0, 0, 0, 0]),
        lambda: mutate(space, outside, random.Random(0)),
        lambda: cross(space, {"a": "y", "d": "y"}, outside, random.Random(0)),
        lambda: list(neighbours(space, outside)),
        lambda: distance(space, {"a": "y", "d": "y"}, outside),
    ]
    for use in refused:
        with pytest.raises(SpaceError) as caught:
            use()
        assert str(caught.value) == said
    with pytest.raises(SpaceError, match="'d' is missing"):
        space.architecture({"a": "y"})


def test_a_rule_that_admits_nothing_ends_after_ten_thousand_tries_and_says_what_failed() -> None:
    class Nothing:
        asked = 0

        def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
            self.asked += 1
            return ("size: 9 are more than 2", *(("depth: 1 is less than 3",) if self.asked % 2 else ()))

    rule = Nothing()
    space = conditional().limited(rule)
    start = time.monotonic()
    with pytest.raises(SpaceError) as caught:
        space.sample(random.Random(0))
    assert time.monotonic() - start < 2
    assert rule.asked == TRIES == 10_000
    assert str(caught.value) == (
        "of 10,000 architectures drawn uniformly none is within the limits: size failed 10,000 times, for example 9 "
        "are more than 2; depth failed 5,000 times, for example 1 is less than 3. Widen these limits, or change the "
        "space"
    )
    assert space.everything() == ()


def test_variation_without_an_answer_ends_with_an_error() -> None:
    only = {"a": "y", "d": "y"}

    class Only:
        def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
            return () if dict(architecture) == only else ("only: it is another",)

    space = conditional().limited(Only())
    assert dict(space.sample(random.Random(0))) == only
    assert dict(cross(space, only, only, random.Random(0))) == only
    assert list(neighbours(space, only)) == []
    with pytest.raises(
        SpaceError, match="10,000 mutations of this architecture none is within the limits: only failed"
    ):
        mutate(space, only, random.Random(0))


def test_a_tally_names_each_limit_once() -> None:
    refusals = Refusals()
    refusals.add(("a: 1", "b: 2"))
    refusals.add(("a: 3",))
    assert "of 2 things none is within the limits: a failed 2 times, for example 1; b failed 1 times" in str(
        refusals.error("things")
    )
