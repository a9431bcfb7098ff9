"""Literals and conditions: truth by hand and by truth table."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from nasforge.space.decision import ALWAYS, NEVER, Condition, Literal, all_of, exclude_one_another

OPTIONS = {"a": ("x", "y"), "b": ("x", "y", "z"), "c": ("x",)}


@st.composite
def literals(draw: st.DrawFn) -> Literal:
    decision = draw(st.sampled_from(sorted(OPTIONS)))
    return Literal(decision, draw(st.sampled_from(OPTIONS[decision])), draw(st.booleans()))


TERMS = st.lists(literals(), max_size=3).map(tuple)


def every_choice(*, absence: bool) -> list[dict[str, str]]:
    listed = [[(name, option) for option in options] + [(name, "")] * absence for name, options in OPTIONS.items()]
    return [{name: option for name, option in pairs if option} for pairs in itertools.product(*listed)]


def test_literal_is_true_for_its_option_only() -> None:
    assert Literal("a", "x").holds({"a": "x"})
    assert not Literal("a", "x").holds({"a": "y"})


def test_negated_literal_is_true_for_every_other_option() -> None:
    assert Literal("a", "x", positive=False).holds({"a": "y"})
    assert not Literal("a", "x", positive=False).holds({"a": "x"})


def test_literal_of_an_absent_decision_is_false_whatever_its_sign() -> None:
    assert not Literal("a", "x").holds({})
    assert not Literal("a", "x", positive=False).holds({"b": "x"})


def test_always_holds_and_never_does_not() -> None:
    for chosen in every_choice(absence=True):
        assert ALWAYS.holds(chosen)
        assert not NEVER.holds(chosen)


@given(st.lists(TERMS, max_size=3))
@settings(deadline=None, max_examples=60)
def test_condition_is_a_sum_of_products(terms: list[tuple[Literal, ...]]) -> None:
    for chosen in every_choice(absence=True):
        true = False
        for term in terms:
            product = True
            for literal in term:
                equal = chosen.get(literal.decision) == literal.option
                product = product and literal.decision in chosen and (equal if literal.positive else not equal)
            true = true or product
        assert Condition(tuple(terms)).holds(chosen) == true


@given(TERMS, TERMS)
@settings(deadline=None, max_examples=200)
def test_terms_exclude_one_another_exactly_if_no_choice_makes_both_true(
    a: tuple[Literal, ...], b: tuple[Literal, ...]
) -> None:
    both = [c for c in every_choice(absence=False) if Condition((a,)).holds(c) and Condition((b,)).holds(c)]
    assert exclude_one_another(a, b, OPTIONS) == (not both)


def test_condition_names_the_decisions_it_reads_once_in_order() -> None:
    condition = Condition(((Literal("b", "x"), Literal("a", "x")), (Literal("b", "y"), Literal("c", "x"))))
    assert condition.decisions() == ("b", "a", "c")


def test_conditions_read_as_sentences() -> None:
    one, other = Literal("a", "x"), Literal("b", "y", positive=False)
    assert str(all_of(one, other)) == "a = x and b != y"
    assert str(Condition(((one,), (other,)))) == "a = x or b != y"
    assert (str(ALWAYS), str(NEVER)) == ("always", "never")
