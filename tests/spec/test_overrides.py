"""Overrides, profiles and the merge beneath them: what wins, and which place it keeps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasforge.errors import SpecError, UsageError
from nasforge.spec.nodes import Entry, MappingNode, Mark, Node, ScalarNode, SequenceNode, find, find_key, merge, plain
from nasforge.spec.overrides import apply_overrides, apply_profile, parse_override
from nasforge.spec.yaml_reader import read_yaml_text

SPEC = """\
nasforge: 1
name: tiny
task:
  kind: language_model
  corpus: pydocs
strategy: enas
train: {epochs: 10, lr: 1e-3}
profiles:
  smoke:
    train: {epochs: 1}
  quick:
    train: {epochs: 2}
    extra: yes
  paper:
    task: {corpus: ptb}
    train: {epochs: 150, decay: 0.96}
"""


def tree(text: str, where: str = "f") -> Node:
    return read_yaml_text(text, where)


def merged(base: str, over: str) -> object:
    return plain(merge(tree(base), tree(over, "over")))


# Merge


@pytest.mark.parametrize(
    ("base", "over", "result"),
    [
        ("{a: 1, b: 2}", "{b: 3, c: 4}", {"a": 1, "b": 3, "c": 4}),
        ("{a: {b: {c: 1, d: 2}}}", "{a: {b: {c: 5}}}", {"a": {"b": {"c": 5, "d": 2}}}),
        ("{a: [1, 2, 3]}", "{a: [4]}", {"a": [4]}),
        ("{a: 1}", "{a: {b: 2}}", {"a": {"b": 2}}),
        ("{a: {b: 2}}", "{a: 1}", {"a": 1}),
        ("{a: {b: 2}}", "{a: null}", {"a": None}),
        ("{a: {b: 2}}", "{a: {}}", {"a": {"b": 2}}),
        ("1", "{a: 2}", {"a": 2}),
        ("{a: 2}", "[1]", [1]),
    ],
)
def test_mappings_are_merged_and_anything_else_is_replaced(base: str, over: str, result: object) -> None:
    assert merged(base, over) == result


def test_another_kind_replaces_the_whole_mapping() -> None:
    assert merged("{s: {kind: enas, steps: 5}}", "{s: {kind: random}}") == {"s": {"kind": "random"}}
    assert merged("{s: {kind: enas, steps: 5}}", "{s: {n: 3, kind: random}}") == {"s": {"n": 3, "kind": "random"}}
    assert merged("{s: {kind: [x], steps: 5}}", "{s: {kind: random}}") == {"s": {"kind": "random"}}


def test_the_same_kind_no_kind_or_a_first_kind_is_merged() -> None:
    assert merged("{kind: enas, steps: 5}", "{kind: enas, n: 1}") == {"kind": "enas", "steps": 5, "n": 1}
    assert merged("{kind: enas, steps: 5}", "{n: 1}") == {"kind": "enas", "steps": 5, "n": 1}
    assert merged("{steps: 5}", "{kind: enas}") == {"steps": 5, "kind": "enas"}


def test_keys_keep_the_order_of_the_base() -> None:
    data = merged("{a: 1, b: {x: 1}, c: 3}", "{d: 4, b: {y: 2}, a: 0}")
    assert isinstance(data, dict) and list(data) == ["a", "b", "c", "d"]


def test_places_after_a_merge_are_those_of_the_side_that_supplied_the_value() -> None:
    base = tree("train:\n  epochs: 1\n  lr: 2\nold: 1\n")
    node = merge(base, tree("train:\n  epochs: 5\n  new: 6\nadded: 7\n", "over"))
    places = {
        "f:1:1": find_key(node, ["train"]),
        "f:2:3": find(node, ["train"]),
        "over:2:3": find_key(node, ["train", "epochs"]),
        "over:2:11": find(node, ["train", "epochs"]),
        "f:3:7": find(node, ["train", "lr"]),
        "over:3:8": find(node, ["train", "new"]),
        "over:4:8": find(node, ["added"]),
        "f:4:1": find_key(node, ["old"]),
    }
    assert {expected: mark.where for expected, mark in places.items()} == {expected: expected for expected in places}
    assert node.mark.where == "f:1:1"


def test_places_after_another_kind_are_all_of_the_override() -> None:
    node = merge(tree("s: {kind: a, x: 1}\n"), tree("\ns: {kind: b}\n", "over"))
    assert find_key(node, ["s"]).where == "over:2:1"
    assert find(node, ["s", "x"]).where == "over:2:1"


def test_merge_changes_neither_side() -> None:
    base, over = tree("{a: {b: 1}}"), tree("{a: {c: 2}}")
    merge(base, over)
    assert (plain(base), plain(over)) == ({"a": {"b": 1}}, {"a": {"c": 2}})


_MARK = Mark("g", None, None, None, 1)
_NODES: st.SearchStrategy[Node] = st.recursive(
    st.builds(ScalarNode, st.just(_MARK), st.integers(0, 3)),
    lambda inner: (
        st.builds(SequenceNode, st.just(_MARK), st.lists(inner, max_size=2).map(tuple))
        | st.builds(
            MappingNode,
            st.just(_MARK),
            st.dictionaries(st.sampled_from(["a", "b", "kind"]), st.builds(Entry, st.just(_MARK), inner), max_size=3),
        )
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(_NODES, _NODES)
def test_merging_twice_or_with_itself_changes_nothing_more(base: Node, over: Node) -> None:
    once = merge(base, over)
    assert plain(merge(once, over)) == plain(once)
    assert plain(merge(base, base)) == plain(base)


# Overrides


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("seed=3", {"seed": 3}),
        ("train.lr=1e-3", {"train": {"lr": 1e-3}}),
        ("a=[1, 2]", {"a": [1, 2]}),
        ("space.each.op={choose: 1, from: [tanh]}", {"space": {"each": {"op": {"choose": 1, "from": ["tanh"]}}}}),
        ("a=no", {"a": "no"}),
        ("a=null", {"a": None}),
        ("a=''", {"a": ""}),
        ("a='1'", {"a": "1"}),
        ("a=x=y", {"a": "x=y"}),
        ("a= 5", {"a": 5}),
        ("a=---", {"a": "---"}),
        ("text.train=/data/x.txt", {"text": {"train": "/data/x.txt"}}),
        ("größe=é", {"größe": "é"}),
    ],
)
def test_an_override_is_a_nested_mapping_read_by_the_rules_of_yaml(text: str, data: object) -> None:
    assert plain(parse_override(text)) == data


def test_every_place_of_an_override_is_its_text() -> None:
    node = parse_override("a.b=[1, {c: 2}]")
    expected = Mark("override 'a.b=[1, {c: 2}]'", None, None, None, 1)
    paths: list[list[str | int]] = [[], ["a"], ["a", "b"], ["a", "b", 0], ["a", "b", 1, "c"]]
    assert {find(node, path) for path in paths} | {find_key(node, path) for path in paths} == {expected}
    assert str(find(node, []).problem("wrong", "hint")) == "override 'a.b=[1, {c: 2}]': wrong\nhint"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed", "has no '='"),
        ("", "has no '='"),
        ("=3", "empty or padded key"),
        ("a..b=3", "empty or padded key"),
        (".a=3", "empty or padded key"),
        ("a.=3", "empty or padded key"),
        ("a =3", "empty or padded key"),
        ("a. b=3", "empty or padded key"),
        ("a.0=3", "item of a list"),
        ("a.0.b=3", "item of a list"),
        ("a[0]=3", "item of a list"),
        ("a=", "write a=null or a=''"),
        ("a.b=  ", "write a.b=null or a.b=''"),
        ("a=#fff", "has no value"),
        ("profiles.quick.seed=3", "--profile"),
        ("profiles={}", "--profile"),
        (".".join("a" * 65) + "=1", "more than 64 levels"),
        ("a.b\ud800\n", "has no '='"),
    ],
)
def test_a_bad_form_is_a_usage_error_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_override(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize("text", ["seed", "a..b=3", "a.0=3"])
def test_a_bad_form_shows_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="for example seed=3"):
        parse_override(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=[1", "not valid YAML"),
        ("a=*x", "aliases are refused"),
        ("a=!!int 3", "tags are refused"),
        ("a={b: 1, b: 2}", "duplicate key 'b'"),
        ("a=b: c", "needs brackets"),
        ("a=- 1", "needs brackets"),
        ("a=" + "9" * 5000, "an integer of"),
        ("a=\x1b", "U+001B"),
        ("a=" + "[" * 100_000, "nested more than 64"),
        ("a=1\n---\n2", "a second document"),
        ("a=" + "x" * (1 << 20), "1,048,576"),
    ],
)
def test_a_bad_value_is_a_spec_error_that_quotes_the_override(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_override(text)
    assert message in str(caught.value)
    first = str(caught.value).splitlines()[0]
    assert first.startswith("override 'a=") and len(first) < 250


def test_overrides_lie_on_the_file_and_the_last_one_wins() -> None:
    node = apply_overrides(tree(SPEC), [parse_override(t) for t in ("train.epochs=3", "seed=1", "train.epochs=4")])
    data = plain(node)
    assert isinstance(data, dict)
    assert (data["train"], data["seed"], data["name"]) == ({"epochs": 4, "lr": 1e-3}, 1, "tiny")
    assert find(node, ["train", "epochs"]).where == "override 'train.epochs=4'"
    assert find_key(node, ["train"]).where == "f:7:1"
    assert find(node, ["train", "lr"]).where == "f:7:25"


@pytest.mark.parametrize("order", [1, -1])
def test_a_new_kind_and_its_options_come_in_any_order(order: int) -> None:
    overrides = [parse_override(t) for t in ("task.kind=images", "task.data=digits")][::order]
    data = plain(apply_overrides(tree(SPEC), overrides))
    assert isinstance(data, dict)
    assert data["task"] == {"kind": "images", "data": "digits"}


def test_no_override_changes_nothing() -> None:
    node = tree(SPEC)
    assert apply_overrides(node, []) == node


@pytest.mark.parametrize("text", ["", "[1]", "x"])
def test_overrides_and_profiles_do_not_hide_that_the_file_is_no_mapping(text: str) -> None:
    with pytest.raises(SpecError, match="the file must be a mapping"):
        apply_overrides(tree(text), [parse_override("seed=1")])
    with pytest.raises(SpecError, match="the file must be a mapping"):
        apply_overrides(tree(text), [])
    with pytest.raises(SpecError, match="the file must be a mapping"):
        apply_profile(tree(text), None)


# Profiles


def test_a_named_profile_lies_on_the_rest_and_the_profiles_are_gone() -> None:
    node, name = apply_profile(tree(SPEC), "paper")
    assert name == "paper"
    assert plain(node) == {
        "nasforge": 1,
        "name": "tiny",
        "task": {"kind": "language_model", "corpus": "ptb"},
        "strategy": "enas",
        "train": {"epochs": 150, "lr": 1e-3, "decay": 0.96},
    }
    assert find(node, ["train", "epochs"]).where == "f:16:21"
    assert find(node, ["train", "lr"]).where == "f:7:25"


def test_without_a_name_the_default_is_taken_if_it_is_there() -> None:
    node, name = apply_profile(tree(SPEC), None)
    data = plain(node)
    assert isinstance(data, dict)
    assert (name, data["train"]["epochs"], data["extra"]) == ("quick", 2, "yes")
    assert apply_profile(tree(SPEC), None, default="smoke")[1] == "smoke"
    node, name = apply_profile(tree(SPEC), None, default="absent")
    data = plain(node)
    assert isinstance(data, dict)
    assert (name, data["train"]["epochs"], "profiles" in data) == (None, 10, False)


def test_a_file_without_profiles_is_left_as_it_is() -> None:
    node = tree("a: 1\n")
    assert apply_profile(node, None) == (node, None)


def test_an_unknown_profile_lists_the_known_ones_with_a_suggestion() -> None:
    with pytest.raises(UsageError) as caught:
        apply_profile(tree(SPEC), "papr")
    assert str(caught.value) == (
        "f:1:1: unknown profile 'papr'. Did you mean 'paper'?\nknown here: smoke, quick, paper"
    )
    with pytest.raises(UsageError, match="unknown profile 'quick'.\nit has no profiles"):
        apply_profile(tree("a: 1\n"), "quick")


@pytest.mark.parametrize(
    ("profiles", "places"),
    [
        ("profiles: 3", ["f:2:1"]),
        ("profiles:", ["f:2:1"]),
        ("profiles: [quick]", ["f:2:1"]),
        ("profiles: {quick: 1, ok: {}, paper: [a]}", ["f:2:12", "f:2:30"]),
        ("profiles:\n  quick:\n  paper: x\n", ["f:3:3", "f:4:3"]),
        ("profiles: {quick: {profiles: {}}}", ["f:2:20"]),
        ("profiles: {ok: {}, quick: {a: 1, nasforge: 2, profiles: 1}}", ["f:2:34", "f:2:47"]),
    ],
)
@pytest.mark.parametrize("name", [None, "ok"])
def test_every_bad_profile_is_a_spec_error_at_its_place(profiles: str, places: list[str], name: str | None) -> None:
    with pytest.raises(SpecError) as caught:
        apply_profile(tree(f"a: 1\n{profiles}"), name)
    assert sorted(p.where for p in caught.value.problems) == places


def test_an_empty_profile_changes_nothing() -> None:
    node, name = apply_profile(tree("a: 1\nprofiles: {quick: {}}\n"), None)
    assert (plain(node), name) == ({"a": 1}, "quick")


def test_an_override_wins_over_a_profile() -> None:
    node, _ = apply_profile(tree(SPEC), "paper")
    node = apply_overrides(node, [parse_override("train.epochs=7")])
    assert find(node, ["train", "epochs"]).where == "override 'train.epochs=7'"
    assert find(node, ["train", "decay"]).where == "f:16:33"


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab.=[]{}:,#'\"0-! \n*&é\x1b"), max_size=30))
def test_any_override_raises_nothing_but_our_errors(text: str) -> None:
    try:
        node = parse_override(text)
    except (UsageError, SpecError) as error:
        assert str(error).startswith("override '")
    else:
        assert isinstance(node, MappingNode)
        assert apply_overrides(tree("a: 1"), [node])
