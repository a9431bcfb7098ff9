"""Listing what is distinct: which decisions are independent, and that the product of their numbers is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from helpers import OPS, cell, cell_spec, compiled
from hypothesis import given, settings
from hypothesis import strategies as st

import nasforge.graph.distinct
from nasforge.errors import SpaceError
from nasforge.graph.builder import GraphBuilder, TemplateBuilder
from nasforge.graph.canonical import canonical_digest
from nasforge.graph.distinct import Listing, independent_parts
from nasforge.graph.supergraph import Chosen, OperationUse, Supergraph
from nasforge.space.decision import ALWAYS, Condition, Literal, all_of


def parts(supergraph: Supergraph) -> list[tuple[list[str], list[str]]]:
    found = independent_parts(supergraph)
    return [([d.name for d in part.space.decisions], sorted(part.templates)) for part in found]


def brute_force(supergraph: Supergraph) -> int:
    return len({canonical_digest(supergraph, each) for each in supergraph.space.everything()})


def pick(template: TemplateBuilder, name: str, source: str, decision: str, options: Sequence[str]) -> str:
    """A sum of one operation for each option, of which the decision opens one."""
    wires = [
        (template.op(f"{name}.{option}", OperationUse(option), [source]), all_of(Literal(decision, option)))
        for option in options
    ]
    return template.merge(name, "sum", wires)


def two_cells(gate: Mapping[str, Condition]) -> Supergraph:
    """``main`` calls the templates ``a`` and ``b``, each through a wire with its condition."""
    builder = GraphBuilder()
    builder.decision("which", ["a", "b"], "op", owner="")
    for name in "ab":
        builder.decision(f"{name}.op", OPS[:3], "op", owner="")
        template = builder.template(name)
        template.output(pick(template, "pick", template.input("x"), f"{name}.op", OPS[:3]))
    main = builder.template("main")
    x = main.input("x")
    calls = [(main.call(f"call.{name}", name, [x], scope=name), gate[name]) for name in "ab"]
    main.output(main.merge("out", "sum", calls))
    return builder.finish()


def test_templates_that_are_always_called_are_independent() -> None:
    supergraph = two_cells({"a": ALWAYS, "b": ALWAYS})
    assert parts(supergraph) == [(["which"], []), (["a.op"], ["a"]), (["b.op"], ["b"])]
    assert supergraph.space.size == 18
    assert Listing(supergraph).count_distinct() == brute_force(supergraph) == 9


def test_a_choice_between_templates_joins_what_is_in_them() -> None:
    supergraph = two_cells({"a": all_of(Literal("which", "a")), "b": all_of(Literal("which", "b"))})
    assert parts(supergraph) == [(["which", "a.op", "b.op"], ["a", "b", "main"])]
    assert Listing(supergraph).count_distinct() == brute_force(supergraph) == 6


def test_a_template_that_is_sometimes_called_is_joined_and_the_other_is_not() -> None:
    supergraph = two_cells({"a": ALWAYS, "b": all_of(Literal("which", "b"))})
    assert parts(supergraph) == [(["which", "b.op"], ["b", "main"]), (["a.op"], ["a"])]
    assert Listing(supergraph).count_distinct() == brute_force(supergraph) == 3 * (1 + 3)


def test_a_condition_joins_decisions() -> None:
    builder = GraphBuilder()
    builder.decision("more", ["no", "yes"], "op", owner="")
    builder.decision("extra", OPS[:2], "op", owner="", when=all_of(Literal("more", "yes")))
    builder.decision("alone", OPS[:2], "op", owner="")
    for name, decision, options in (("a", "extra", OPS[:2]), ("b", "alone", OPS[:2])):
        template = builder.template(name)
        x = template.input("x")
        chosen = pick(template, "pick", x, decision, options)
        template.output(template.merge("out", "sum", [(chosen, ALWAYS), (x, ALWAYS)]) if name == "b" else chosen)
    main = builder.template("main")
    x = main.input("x")
    b = main.call("b", "b", [x], scope="b")
    a = main.call("a", "a", [x], scope="a")
    main.output(main.merge("out", "sum", [(b, ALWAYS), (a, all_of(Literal("more", "yes")))]))
    supergraph = builder.finish()
    assert parts(supergraph) == [(["more", "extra"], ["a", "main"]), (["alone"], ["b"])]
    assert Listing(supergraph).count_distinct() == brute_force(supergraph) == (1 + 2) * 2


def test_a_searched_width_counts_apart() -> None:
    supergraph = compiled(cell_spec(3, ops=OPS[:2], hidden={"choose": 1, "from": [4, 8, 16]}))
    assert [len(part.space) for part in independent_parts(supergraph)] == [1, len(supergraph.space) - 1]
    assert Listing(supergraph).count_distinct() == brute_force(supergraph) == 3 * 14


def test_a_value_that_a_decision_says_joins_its_template() -> None:
    builder = GraphBuilder()
    builder.decision("norm", ["1.0", "2.0"], "number", owner="")
    main = builder.template("main")
    norm = Chosen("norm", (("1.0", 1.0), ("2.0", 2.0)))
    main.output(main.op("clip", OperationUse("clip_norm", (("max_norm", norm),)), [main.input("x")]))
    supergraph = builder.finish()
    assert parts(supergraph) == [(["norm"], ["main"])]
    assert Listing(supergraph).count_distinct() == 2


def test_a_space_without_decisions_has_one_architecture() -> None:
    supergraph = cell(1, first={"op": "tanh"})
    assert (Listing(supergraph).largest, Listing(supergraph).steps) == (1, 0)
    assert Listing(supergraph).count_distinct() == 1


def test_too_many_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nasforge.graph.distinct, "MOST_LISTED", 127)
    listing = Listing(cell(3))
    assert listing.largest == 128
    with pytest.raises(SpaceError, match="not computed: 128 architectures are too many to list"):
        listing.count_distinct()
    monkeypatch.setattr(nasforge.graph.distinct, "MOST_LISTED", 128)
    assert listing.count_distinct() == 104


@st.composite
def nested(draw: st.DrawFn) -> Supergraph:
    """Up to four templates that call one another behind a gate or without; some read the decision of another."""
    builder = GraphBuilder()
    names = [*"abc"[: draw(st.integers(0, 3))], "main"]
    decisions: list[str] = []
    for index, name in enumerate(names):
        decision = draw(st.sampled_from([f"{name}.op", *decisions]))
        if decision not in decisions:
            builder.decision(decision, OPS[:2], "op", owner="")
            decisions.append(decision)
        template = builder.template(name)
        value = pick(template, "pick", template.input("x"), decision, OPS[:2])
        wires: list[tuple[str, Condition]] = [(value, ALWAYS)]
        for other in names[:index]:
            # The one before is called in any case: a template that no one calls is refused.
            calls = ["gate", "always", *([] if other == names[index - 1] else ["no"])]
            how = draw(st.sampled_from(calls))
            if how != "no":
                when = all_of(Literal(decision, OPS[0])) if how == "gate" else ALWAYS
                wires.append((template.call(f"call.{other}", other, [value], scope=other), when))
        template.output(template.merge("out", "sum", wires))
    return builder.finish()


@settings(deadline=None, max_examples=100)
@given(nested())
def test_the_product_over_the_parts_is_the_number_of_digests(supergraph: Supergraph) -> None:
    assert Listing(supergraph).count_distinct() == brute_force(supergraph)
