"""Named choices: what `let` and `use` put in, and every fault of them at its place, with all others of the block."""

from __future__ import annotations

import time

import jsonschema
import pytest

from nasforge.catalogue import Catalogue
from nasforge.errors import Problem, SpecError
from nasforge.plugins import Plugins, build_plugins
from nasforge.spec.nodes import plain
from nasforge.spec.run_spec import load_space_spec
from nasforge.spec.schema import json_schema
from nasforge.spec.specs import SpaceSpec
from nasforge.spec.yaml_reader import read_yaml_text


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return build_plugins()


def cell(*lines: str, nodes: str = "2", op: str = "{choose: 1, from: [identity, max_pool: {kernel: 3}]}") -> str:
    """A file whose ``space`` starts in line 3: `lines`, then kind, nodes and ``each.op``."""
    block = [*lines, "kind: conv_cell", f"nodes: {nodes}", "each:", f"  op: {op}"]
    return "nasforge: 1\nname: t\nspace:\n" + "".join(f"  {line}\n" for line in block)


def load(text: str, plugins: Plugins, *overrides: str, profile: str | None = None) -> SpaceSpec:
    return load_space_spec(read_yaml_text(text, "t.yaml"), plugins, profile=profile, overrides=overrides)


def faults(text: str, plugins: Plugins, *overrides: str) -> list[Problem]:
    with pytest.raises(SpecError) as caught:
        load(text, plugins, *overrides)
    return list(caught.value.problems)


def told(text: str, plugins: Plugins, *overrides: str) -> list[str]:
    """Line, column and message of every fault."""
    return [f"{p.line_number}:{p.column}: {p.message}" for p in faults(text, plugins, *overrides)]


@pytest.mark.parametrize("used", ["{kernel: {use: a%d}}", "{kernel: {use: a%d}, x: {use: a%d}}"])
@pytest.mark.parametrize("n", [18, 2000])
def test_names_that_use_names_are_bounded_as_a_file_is(plugins: Plugins, used: str, n: int) -> None:
    lines = [
        f"a{i}: {{choose: 1, from: [sep_conv: {used.replace('%d', str(i - 1))}]}}"
        if i
        else "a0: {choose: 1, from: [3]}"
        for i in range(n)
    ]
    start = time.monotonic()
    messages = told(cell("let:", *(f"  {line}" for line in lines), op=f"{{use: a{n - 1}}}"), plugins)
    assert time.monotonic() - start < 5
    refused = [message for message in messages if "names that use names" in message]
    assert len(refused) == 1
    assert all("more than" in message for message in refused)
    assert len(messages) <= 2


def test_what_names_make_is_counted_in_the_block_too(plugins: Plugins) -> None:
    numbers = ", ".join(map(str, range(1, 9000)))
    text = cell(f"let: {{k: {{choose: 1, from: [{numbers}]}}}}", op="{choose: 1, from: [OPS]}")
    ops = ", ".join("sep_conv: {kernel: {use: k}}" for _ in range(8))
    (message,) = [m for m in told(text.replace("OPS", ops), plugins) if "names that use names" in m]
    assert message.startswith("8:") and "50,000 values" in message


@pytest.mark.parametrize(
    ("lines", "nodes", "op", "expected"),
    [
        (["let: {n: {choose: 1, from: [1, 2]}}"], "{uses: n}", None, ["6:11: unknown key 'uses'. Did you mean 'use'?"]),
        (["let: {n: {choose: 1, from: [1, 2]}}"], "use n", None, ["6:10: a name under `let` is taken by a mapping"]),
        (["let: {n: {choose: 1, from: [1, 2]}}"], "{use n}", None, ["6:10: a name under `let` is taken by a mapping"]),
        (["let: {n: {choose: 1, from: [1, 2]}}"], "{use: nn}", None, ["6:16: `let` names no 'nn'."]),
        (["let: {long: {choose: 1, from: [1, 2]}}"], "{use: lonk}", None, ["names no 'lonk'. Did you mean 'long'?"]),
        (
            ["lets: {n: {choose: 1, from: [1, 2]}, o: {choose: 1, from: [identity]}}"],
            "{use: n}",
            "{use: o}",
            ["4:3: unknown key 'lets' in `space`."],
        ),
        ([], "{use: n}", "{use: n}", ["5:16: there is no `let` in `space`"]),
        (["let: [1, 2]"], "{use: n}", "{use: o}", ["4:8: `let` must be a mapping"]),
        (["let: {act: 3}"], "2", "{use: act}", ["4:14: `act` must be a choice of several options"]),
        (["let: {9a: {choose: 1, from: [1]}}"], "{use: 9a}", None, ["4:9: a name under `let` is a letter"]),
        (["let: {n: {choose: 1, from: [1, 2]}}"], "{use: n, choose: 1}", None, ["`use` stands alone"]),
        (["let: {n: {choose: 1, from: [1, 2]}}"], "{use: 3}", None, ["`use` must be a name", "nothing uses it"]),
        (
            ["let: {o: {choose: 1, from: [identity]}}"],
            "2",
            "{choose: 1, from: [{use: o}]}",
            ["8:28: a name stands for a whole choice"],
        ),
        (
            ["let:", "  o: {choose: 1, from: [sep_conv: {kernel: {use: k}}]}", "  k: {choose: 1, from: [3, 5]}"],
            "2",
            "{use: o}",
            ["5:52: `k` must stand above `o`, which uses it"],
        ),
        (
            ["let: {o: {choose: 1, from: [sep_conv: {kernel: {use: o}}]}}"],
            "2",
            "{use: o}",
            ["`o` cannot use itself"],
        ),
    ],
)
def test_a_fault_of_names_is_reported_once_with_every_other_fault_of_the_block(
    plugins: Plugins, lines: list[str], nodes: str, op: str | None, expected: list[str]
) -> None:
    text = cell(*lines, nodes=nodes, **({"op": op} if op else {}))
    found = sorted(told(text, plugins))
    assert len(found) == len(expected), found
    assert all(any(part in message for message in found) for part in expected), found
    more = told(text + "  cels: [normal]\n  stack: {normal: -1}\n", plugins)
    assert len(more) == len(expected) + 2
    assert any("unknown key 'cels'" in message for message in more)
    assert any("`normal` must be" in message for message in more)


def test_other_faults_of_a_form_are_reported_too(plugins: Plugins) -> None:
    text = cell("let: {o: {choose: 1, from: [idenity, sep_conv: {kernel: {use: kk}}]}}", op="{use: o}")
    unknown, name = told(text, plugins)
    assert unknown.startswith("4:31: unknown operation 'idenity'") and "`let` names no 'kk'" in name


def test_a_name_that_a_profile_or_an_override_leaves_unused_is_no_fault(plugins: Plugins) -> None:
    text = cell("let: {m: {choose: 1, from: [1, 2]}, k: {choose: 1, from: [3, 5]}}", nodes="{use: m}")
    profile = "profiles: {big: {space: {each: {op: {choose: 1, from: [sep_conv: {kernel: {use: k}}]}}}}}\n"
    assert load(text + profile, plugins, "space.nodes=3").let == {}
    assert load(text + profile, plugins).let == {"m": {"choose": 1, "from": [1, 2]}}
    assert set(load(text + profile, plugins, profile="big").let) == {"m", "k"}
    (message,) = told(text, plugins)
    assert "'k' is named by `let`, but nothing uses it" in message


def test_let_may_be_null(plugins: Plugins) -> None:
    assert load(cell("let: null"), plugins).let == {}
    text = cell("let: {m: {choose: 1, from: [1, 2]}}", nodes="{use: m}")
    assert load(text, plugins, "space.let=null", "space.nodes=2").let == {}
    assert faults(text, plugins, "space.let=null")[0].message == "there is no `let` in `space`, so 'm' names no choice"


def test_a_catalogue_without_components_validates_no_names() -> None:
    with pytest.raises(SpecError, match="unknown space kind"):
        load(cell("lets: {m: {choose: 1, from: [1, 2]}}", nodes="{use: m}"), Plugins(Catalogue(), (), ()))


def test_let_and_profiles_are_known_where_they_stand(plugins: Plugins) -> None:
    (space,) = faults(cell("lett: {}"), plugins)
    assert space.message == "unknown key 'lett' in `space`. Did you mean 'let'?"
    assert space.hint.startswith("known here: kind, ") and space.hint.endswith(", let")
    (top,) = faults(cell() + "profile: {a: {}}\n", plugins)
    assert top.message == "unknown key 'profile'. Did you mean 'profiles'?"
    assert top.hint.endswith(", profiles")
    (let,) = faults(cell(op="{use: o}") + "let: {o: {choose: 1, from: [identity]}}\n", plugins)
    assert (let.line_number, let.message) == (8, "unknown key 'let'.")
    assert let.hint.startswith("`let` stands in the `space` block")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (cell(nodes="[2, 3]"), "or a choice of several, {choose: 1, from: [2, 3]}, found [2, 3]", ""),
        (cell(op="identity"), "`op` must be a choice of several, {choose: 1, from: [identity, sep_conv: ", ""),
        (cell(op="{choose: 1, from: [sep_conv: {kernel: [3, 5]}]}"), "is written {choose: 1, from: [...]}", ""),
        (cell() + "  stack: {channels: [8]}\n", "or a choice of several, {choose: 1, from: [16, 32]}", ""),
        (
            "nasforge: 1\nname: t\nspace:\n  kind: macro_network\n  layers: 2\n  each: {op: [identity, max_pool]}\n",
            "or as a choice of several, {choose: 1, from: [identity, sep_conv: {kernel: 3}]}",
            "",
        ),
        (
            "nasforge: 1\nname: t\nspace: {kind: recurrent_cell, nodes: 2, hidden: 32, "
            "each: {op: {choose: 1, from: [tanh]}}}\n",
            "`hidden` must be a choice of several, {choose: 1, from: [16, 32]}, or null, found 32",
            "one fixed width is no part of the space: it is executor.hidden in the search, train.hidden at the end",
        ),
    ],
)
def test_a_wrong_value_is_told_which_choice_can_stand_there(
    plugins: Plugins, text: str, message: str, hint: str
) -> None:
    (fault,) = faults(text, plugins)
    assert message in fault.message
    assert fault.hint == hint


@pytest.mark.parametrize("form", ["{choose: 1, from: [3, 5]}", "{choose: 1, from: [identity]}"])
def test_inputs_and_skips_cannot_be_shared(plugins: Plugins, form: str) -> None:
    text = cell(f"let: {{k: {form}}}") + "  input: {use: k}\n"
    text = text.replace("  op: {", "  input: {use: k}\n    op: {", 1).removesuffix("  input: {use: k}\n")
    (message,) = told(text, plugins)
    assert message == "8:18: inputs and skips cannot be shared by a name: write {choose: 1, from: previous}"


@pytest.mark.parametrize("name", ["channels", "nodes", "stack", "node0", "layer17"])
def test_names_of_the_space_itself_are_refused(plugins: Plugins, name: str) -> None:
    text = cell(f"let: {{{name}: {{choose: 1, from: [1, 2]}}}}", nodes=f"{{use: {name}}}")
    (message,) = told(text, plugins)
    expected = f"a name under `let` is no key of the space, no node and no layer, found '{name}'"
    assert message == f"4:9: {expected}"


@pytest.mark.parametrize("name", ["layers", "hidden", "node", "node0x", "op"])
def test_names_that_no_decision_of_the_kind_has_are_free(plugins: Plugins, name: str) -> None:
    load(cell(f"let: {{{name}: {{choose: 1, from: [1, 2]}}}}", nodes=f"{{use: {name}}}"), plugins)


@pytest.mark.parametrize(
    ("amount", "is_valid"), [("1e6", True), ('"1e6"', True), ("'2.5E+3'", True), ("1.5", False), ("'1e-2'", False)]
)
def test_the_schema_takes_amounts_as_loading_does(plugins: Plugins, amount: str, is_valid: bool) -> None:
    text = cell() + f"limits: {{parameters: {amount}}}\n"
    validator = jsonschema.Draft202012Validator(json_schema(plugins.catalogue))
    assert validator.is_valid(plain(read_yaml_text(text, "t"))) is is_valid
    if is_valid:
        limits = load(text, plugins).limits
        assert limits is not None and limits.parameters is not None
        assert limits.parameters.most == int(float(amount.strip("\"'")))
    else:
        faults(text, plugins)


@pytest.mark.parametrize(("let", "is_valid"), [("null", True), ("{9: {choose: 1, from: [3]}}", False), ("[]", False)])
def test_the_schema_takes_let_as_loading_does(plugins: Plugins, let: str, is_valid: bool) -> None:
    text = cell(f"let: {let.replace('9', 'n-n')}")
    validator = jsonschema.Draft202012Validator(json_schema(plugins.catalogue))
    assert validator.is_valid(plain(read_yaml_text(text, "t"))) is is_valid
