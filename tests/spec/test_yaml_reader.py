"""The YAML reader: what it accepts, what it refuses, where it says so, and that it always ends."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nasforge.errors import Problem, SpecError, UsageError
from nasforge.spec import yaml_builder, yaml_reader
from nasforge.spec.nodes import MappingNode, Mark, ScalarNode, SequenceNode, find, find_key, plain, printable
from nasforge.spec.scalars import resolve_scalar
from nasforge.spec.yaml_reader import read_value, read_yaml, read_yaml_text


def read(text: str | bytes) -> object:
    return plain(read_yaml_text(text, "x.yaml"))


def faults(text: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(SpecError) as caught:
        read_yaml_text(text, "x.yaml")
    return caught.value.problems


def fault(text: str | bytes) -> Problem:
    problems = faults(text)
    assert len(problems) == 1, [str(p) for p in problems]
    return problems[0]


def underlined(place: Problem | Mark) -> str:
    assert place.line is not None and place.column is not None
    return place.line[place.column - 1 : place.column - 1 + place.length]


SPACE = """\
nasforge: 1
space:
  kind: recurrent_cell
  each:
    op: {choose: 1, from: [tanh, relu, sep_conv: {kernel: 3}]}
    input: {choose: 1, from: previous}
  output:
  - mean
  - 'of': leaves
"""


# What is read


def test_a_space_reads_as_plain_data() -> None:
    assert read(SPACE) == {
        "nasforge": 1,
        "space": {
            "kind": "recurrent_cell",
            "each": {
                "op": {"choose": 1, "from": ["tanh", "relu", {"sep_conv": {"kernel": 3}}]},
                "input": {"choose": 1, "from": "previous"},
            },
            "output": ["mean", {"of": "leaves"}],
        },
    }


def test_block_scalars_and_folding_are_text() -> None:
    assert read("a: |\n  1\n  2\nb: >-\n  no\n  yes\nc: x\n  y\n") == {"a": "1\n2\n", "b": "no yes", "c": "x y"}


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "~", b"", b"\xef\xbb\xbf"])
def test_a_file_without_content_is_null_at_its_start(text: str | bytes) -> None:
    node = read_yaml_text(text, "x.yaml")
    assert plain(node) is None
    assert node.mark.where == "x.yaml:1:1"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("false", False),
        ("0", 0),
        ("-12", -12),
        ("+7", 7),
        ("010", 10),
        ("0o17", 15),
        ("0xFF", 255),
        ("1" * 100, int("1" * 100)),
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("+1.25e+2", 125.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("1e-400", 0.0),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = resolve_scalar(text)
    assert (type(found), found) == (type(value), value)
    assert read(f"k: {text}") == {"k": value}


def test_not_a_number_is_a_float() -> None:
    found = resolve_scalar(".nan")
    assert isinstance(found, float) and math.isnan(found)


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "yes",
        "on",
        "off",
        "y",
        "n",
        "No",
        "YES",
        "nULL",
        "tRUE",
        "12:30",
        "1_000",
        "1,5",
        "0b1",
        "0o8",
        "0xG",
        "-0x1",
        "+0o7",
        "1e",
        "1e-",
        "e5",
        ".",
        ".e1",
        "-",
        "--",
        "nan",
        "inf",
        ".Inf.",
        "0.1.2",
        "2001-01-01",
        "<<",
        "=",
        "5M",
        "١٢",
        "1٢",
    ],
)
def test_everything_else_is_text(text: str) -> None:
    assert resolve_scalar(text) == text


@pytest.mark.parametrize("text", ["1", "true", "null", "", "1e-3", ".nan", "0x1", "~"])
def test_a_quoted_scalar_is_always_text(text: str) -> None:
    assert read(f"a: '{text}'\nb: \"{text}\"\n") == {"a": text, "b": text}


@pytest.mark.parametrize("break_", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system_count_alike(break_: str) -> None:
    text = break_.join(["a: 1", "b:", "  c: *x", ""])
    assert fault(text).where == "x.yaml:3:6"
    assert read(text.replace("*x", "x")) == {"a": 1, "b": {"c": "x"}}


def test_a_byte_order_mark_is_accepted_and_moves_no_column() -> None:
    assert read(b"\xef\xbb\xbfa: 1\n") == {"a": 1}
    assert fault(b"\xef\xbb\xbfa: *x\n").where == "x.yaml:1:4"
    assert fault("\ufeffa: *x\n").where == "x.yaml:1:4"


@pytest.mark.parametrize("text", ["%YAML 1.2\n---\na: 1\n", "---\na: 1\n...\n", "---\r\na: 1"])
def test_one_document_may_be_delimited(text: str) -> None:
    assert read(text) == {"a": 1}


# Places


def test_every_value_and_key_knows_its_place() -> None:
    node = read_yaml_text(SPACE, "x.yaml")
    tahn = find(node, ["space", "each", "op", "from", 1])
    assert (tahn.where, tahn.line_number, tahn.column, underlined(tahn)) == ("x.yaml:5:34", 5, 34, "relu")
    assert underlined(find(node, ["space", "each", "op", "from"])) == "[tanh, relu, sep_conv: {kernel: 3}]"
    assert underlined(find(node, ["space", "each", "op", "from", 2, "sep_conv"])) == "{kernel: 3}"
    assert underlined(find(node, ["space", "each"])) == "op"
    assert find(node, ["space", "output"]).where == "x.yaml:8:3"
    assert underlined(find(node, ["space", "output", 1, "of"])) == "leaves"
    assert find(node, []).where == "x.yaml:1:1"


def test_find_key_gives_the_key_and_an_item_for_an_index() -> None:
    node = read_yaml_text(SPACE, "x.yaml")
    assert underlined(find_key(node, ["space", "each", "op"])) == "op"
    assert underlined(find_key(node, ["space", "output", 1, "of"])) == "'of'"
    assert underlined(find_key(node, ["space", "output", 0])) == "mean"
    assert find_key(node, []) == node.mark


@pytest.mark.parametrize("finder", [find, find_key])
def test_a_path_that_leaves_the_tree_ends_at_the_key_of_the_deepest_ancestor(finder: object) -> None:
    assert callable(finder)
    node = read_yaml_text(SPACE, "x.yaml")
    assert underlined(finder(node, ["space", "each", "op", "form"])) == "op"
    assert underlined(finder(node, ["space", "each", "op", "from", 9])) == "from"
    assert underlined(finder(node, ["space", "each", "op", "from", -1])) == "from"
    assert underlined(finder(node, ["space", "kind", "x", "y"])) == "kind"
    assert underlined(finder(node, ["space", "each", 0])) == "each"
    assert underlined(finder(node, ["space", "output", 0, "x"])) == "mean"
    assert finder(node, ["nothing", "here"]) == node.mark


def test_a_value_over_several_lines_is_marked_to_the_end_of_its_first() -> None:
    node = read_yaml_text("a: x y  \n  z\nb: [1,\n  2]\nc: |\n  t\n", "x.yaml")
    assert underlined(find(node, ["a"])) == "x y"
    assert underlined(find(node, ["b"])) == "["
    assert find(node, ["c"]).where == "x.yaml:5:4"


def test_an_absent_value_is_marked_after_its_colon() -> None:
    mark = find(read_yaml_text("a:\nb: 1\n", "x.yaml"), ["a"])
    assert (mark.where, mark.length) == ("x.yaml:1:3", 1)


def test_the_caret_counts_characters_not_bytes() -> None:
    problem = fault("größe: {名前: 😀, k: *x}\n".encode())
    assert problem.where == "x.yaml:1:19"
    assert underlined(problem) == "*x"
    _, line, caret = str(problem).splitlines()[:3]
    assert line.index("*x") == caret.index("^^")


def test_an_error_shows_place_line_and_caret() -> None:
    assert str(fault("a: 1\nb: &n 2\n")) == (
        "x.yaml:2:4: anchors are refused: &n\n"
        "    2 | b: &n 2\n"
        "      |    ^^\n"
        "write the value out, or name a decision under 'let' and take it with {use: name}"
    )


# What is refused, each once, at its place


@pytest.mark.parametrize(
    ("text", "where", "marked", "message"),
    [
        ("a: &n 1", "1:4", "&n", "anchors are refused: &n"),
        ("a: &n\n  b: 1", "1:4", "&n", "anchors are refused"),
        ("a: [&n , 1]", "1:5", "&n", "anchors are refused"),
        ("&k a: 1", "1:1", "&k", "anchors are refused"),
        ("a: *n", "1:4", "*n", "aliases are refused: *n"),
        ("*n : 1", "1:1", "*n", "aliases are refused"),
        ("- *n", "1:3", "*n", "aliases are refused"),
        ("a: !!int zz", "1:4", "!!int", "tags are refused: !!"),
        ("a: ! x", "1:4", "!", "tags are refused: !"),
        ("a: !py/x [1]", "1:4", "!py/x", "tags are refused"),
        ("a: !<tag:a,b> 1", "1:4", "!<tag:a,b>", "tags are refused"),
        ("--- !!map\na: 1", "1:5", "!!map", "tags are refused"),
        ("a: 1\n<<: {b: 2}", "2:1", "<<", "merge keys are refused"),
        ("a: 1\nb: 2\na: 3", "3:1", "a", "duplicate key 'a'"),
        ("a: 1\n'a': 3", "2:1", "'a'", "duplicate key 'a'"),
        ("1: x", "1:1", "1", "a key must be text, found '1', which is a number"),
        ("1e-3: x", "1:1", "1e-3", "which is a number"),
        ("true: x", "1:1", "true", "which is a truth value"),
        ("null: x", "1:1", "null", "which is null"),
        ("?\n: x", "1:2", None, "a key must be text, found nothing"),
        ("? [a, b]\n: x", "1:3", "[", "a key must be text, found a list"),
        ("{[a, b]: x}", "1:2", "[", "found a list"),
        ("? {a: b}\n: x", "1:3", "{", "found a mapping"),
        ("a: 1\n---\nb: 2", "2:1", "---", "a second document starts here"),
        ("%TAG ! tag:x,2000:\n---\na: 1", "1:1", None, "%TAG is refused"),
        ("%YAML 1.1\n---\na: no", "1:1", None, "not as its %YAML line says"),
        ("a: " + "1" * 101, "1:4", "1" * 101, "an integer of 101 characters"),
        ("a: 1e999", "1:4", "1e999", "too large for a 64-bit float"),
        (r'a: "\ud83d\ude00"', "1:4", r'"\ud83d\ude00"', "a surrogate"),
        ("a: x\0y", "1:5", "\0", "the character U+0000"),
        ("a: 1\nb: \x1b[0m", "2:4", "\x1b", "the character U+001B"),
        ("a: x\u2028b: 2", "1:5", "\u2028", "the character U+2028"),
        ("a: x\x85b: 2", "1:5", "\x85", "the character U+0085"),
        ("a: x\ufeff", "1:5", "\ufeff", "the character U+FEFF"),
        ("a: \ud800", "1:4", "\ud800", "the character U+D800"),
        ("a: 1\n\tb: 2", "2:1", "\t", "not valid YAML: found character '\\t'"),
        ("a: b: c", "1:5", ":", "not valid YAML: mapping values are not allowed here"),
        ("a: 1\nb: [1, 2\nc: 3", "3:2", ":", "not valid YAML"),
        ("a: @x", "1:4", "@", "not valid YAML"),
        ("a: 1\n b: 2", "2:3", ":", "not valid YAML"),
        ("a: !x!y z", "1:4", "!", "not valid YAML: found undefined tag handle"),
        (r'a: "\q"', "1:6", "q", "not valid YAML: found unknown escape"),
    ],
)
def test_a_refusal_is_one_problem_at_its_place(text: str, where: str, marked: str | None, message: str) -> None:
    problem = fault(text)
    assert problem.where == f"x.yaml:{where}"
    assert message in problem.message
    if marked is not None:
        assert underlined(problem) == marked
    str(problem).encode()


@pytest.mark.parametrize("text", ['"\\Uffffffff"', '"\\U00110000"', "%YAML 1." + "1" * 5000 + "\n---\n"])
def test_numbers_that_pyyaml_does_not_check_are_syntax_errors(text: str) -> None:
    assert "out of range" in fault(text).message


def test_an_anchor_and_a_tag_on_one_value_each_have_their_place() -> None:
    assert [underlined(p) for p in faults("a: &n !!int 1")] == ["&n", "!!int"]
    assert [underlined(p) for p in faults("a: !!int &n 1")] == ["!!int", "&n"]
    assert [p.where for p in faults("a: &n\n  !!map\n  b: 1")] == ["x.yaml:1:4", "x.yaml:2:3"]


def test_a_quoted_key_may_look_like_anything() -> None:
    assert read("'1': a\n\"true\": b\n'<<': c\non: d\n") == {"1": "a", "true": "b", "<<": "c", "on": "d"}


def test_a_duplicate_names_the_first_line_and_is_searched_at_every_level() -> None:
    first, second = faults("a:\n  b: 1\n  b: 2\nc: {d: 1, d: 2}\n")
    assert (first.where, "line 2" in first.hint) == ("x.yaml:3:3", True)
    assert (second.where, "line 4" in second.hint) == ("x.yaml:4:11", True)


def test_all_faults_are_reported_together_in_the_order_of_their_places() -> None:
    text = "a: &n 1\nb: *n\nc: !!int 2\na: 3\n? [x, *n]\n: 1\n1: y\n<<: z\nd: [1"
    problems = faults(text)
    places = [(p.line_number, p.column) for p in problems[:-1]]
    assert places == [(1, 4), (2, 4), (3, 4), (4, 1), (5, 3), (5, 7), (7, 1), (8, 1)]
    assert "not valid YAML" in problems[-1].message


def test_the_value_of_a_refused_key_is_checked_too() -> None:
    assert [p.where for p in faults("1: {a: *x, b: [*y]}\n")] == ["x.yaml:1:1", "x.yaml:1:8", "x.yaml:1:16"]


def test_very_many_faults_are_cut_off() -> None:
    problems = faults("- *x\n" * 5000)
    assert len(problems) == yaml_builder.MAX_PROBLEMS + 1
    assert "more than 100 faults" in problems[-1].message


def test_an_indentation_fault_says_what_was_being_read() -> None:
    problem = fault("space:\n  kind: x\n each: 1\n")
    assert problem.where.startswith("x.yaml:3:")
    assert "indentation" in problem.hint and "starts at 1:1" in problem.hint


@pytest.mark.parametrize(
    ("data", "where", "hint"),
    [
        (b"a: 1\nb: \xc3\xa9\xff\n", "2:5", "UTF-8"),
        (b"\xef\xbb\xbfa: \xe4\n", "1:4", "UTF-8"),
        (b"a: \xed\xa0\x80\n", "1:4", "UTF-8"),
        ("a: 1\n".encode("utf-16"), "1:1", "UTF-16"),
        ("a: 1\n".encode("utf-16-le"), "1:2", "UTF-16"),
        ("a: 1\n".encode("utf-32-be"), "1:1", "UTF-16"),
    ],
)
def test_bytes_that_are_not_utf_8_are_refused_at_their_place(data: bytes, where: str, hint: str) -> None:
    problem = faults(data)[0]
    assert problem.where == f"x.yaml:{where}"
    assert hint in problem.hint


# Bounds


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[\n", "a: [", "[{x: "])
def test_depth_200_000_is_refused_quickly(opening: str) -> None:
    text = (opening * 200_000)[: yaml_reader.MAX_BYTES - 10]
    started = time.process_time()
    assert "nested more than 64 levels deep" in faults(text)[-1].message
    assert time.process_time() - started < 2


def test_64_levels_are_read_and_65_are_not() -> None:
    assert read("[" * 64 + "]" * 64) is not None
    assert fault("[" * 65 + "]" * 65).where == "x.yaml:1:65"


def test_an_alias_bomb_is_refused_before_it_expands() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    started = time.process_time()
    problems = faults("\n".join(levels))
    assert time.process_time() - started < 2
    assert {p.message.split(" are ")[0] for p in problems[:-1]} == {"anchors", "aliases"}


def test_more_than_50_000_values_are_refused() -> None:
    assert fault("- a\n" * 60_000).where == "x.yaml:50000:3"


def test_keys_lists_and_mappings_count_as_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_builder, "MAX_NODES", 6)
    assert read("{a: [b, c, d]}") == {"a": ["b", "c", "d"]}
    assert "more than 6 values" in fault("{a: [b, c, d, e]}").message


def test_a_scalar_of_more_than_64_kib_is_refused() -> None:
    assert read("a: " + "x" * yaml_builder.MAX_SCALAR_CHARACTERS) is not None
    assert "65,537 characters" in fault("a: " + "x" * 65_537).message
    assert "65,537 characters" in fault("? " + "x" * 65_537 + "\n: 1").message


@pytest.mark.parametrize("text", ["7" * 5000, "-" + "7" * 5000, "0x" + "f" * 5000])
def test_an_integer_too_long_for_python_does_not_raise_past_the_reader(text: str) -> None:
    assert "an integer of" in fault(f"a: {text}").message


def test_text_of_more_than_1_mib_is_refused() -> None:
    assert "1,048,576" in fault("#" * (yaml_reader.MAX_BYTES + 1)).message
    assert read("#" * yaml_reader.MAX_BYTES) is None
    assert "1,048,576" in fault("#" + "é" * (yaml_reader.MAX_BYTES // 2)).message


def test_a_50_mb_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    started = time.process_time()
    with pytest.raises(SpecError, match="50,000,000 bytes"):
        read_yaml(path)
    assert time.process_time() - started < 0.2


# Files


def test_a_file_is_named_as_given_or_as_displayed(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\n", encoding="utf-8")
    assert read_yaml(path).mark.where == f"{path}:1:1"
    assert read_yaml(path, display="spaces/a.yaml").mark.where == "spaces/a.yaml:1:1"


def test_a_missing_file_suggests_a_close_name_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "ptb_rnn.yaml").touch()
    with pytest.raises(UsageError, match=r"no such file: s/ptb_rn\.yaml\. Did you mean 'ptb_rnn\.yaml'\?") as caught:
        read_yaml(tmp_path / "ptb_rn.yaml", display="s/ptb_rn.yaml")
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError) as caught:
        read_yaml(tmp_path / "nowhere" / "x.yaml")
    assert "Did you mean" not in str(caught.value)
    with pytest.raises(UsageError, match="no such file"):
        read_yaml(tmp_path / "ptb_rnn.yaml" / "x")


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "\ud800.yaml", "a\nb.yaml"])
def test_an_impossible_file_name_is_a_usage_error_that_prints(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_yaml(tmp_path / name)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


def test_a_folder_and_a_pipe_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        read_yaml(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="not a regular file"):
        read_yaml(tmp_path / "pipe")


def test_an_unreadable_file_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.touch()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UsageError, match="cannot read .*: Permission denied"):
        read_yaml(path)


# A single value


def test_a_single_value_follows_the_same_rules_without_places() -> None:
    node = read_value("{choose: 1, from: [no, 'x', 1e-3]}", "here")
    assert plain(node) == {"choose": 1, "from": ["no", "x", 1e-3]}
    assert find(node, ["from", 1]) == Mark("here", None, None, None, 1)
    assert [plain(read_value(text, "here")) for text in ("---", "...", "'%x'")] == ["---", "...", "%x"]


@pytest.mark.parametrize("text", ["a: b", "- a", "? a"])
def test_a_single_value_needs_brackets(text: str) -> None:
    with pytest.raises(SpecError, match="^here: a mapping or a list needs brackets here"):
        read_value(text, "here")


# The tree


def test_nodes_cannot_be_changed() -> None:
    node = read_yaml_text("a: [1]", "x.yaml")
    assert isinstance(node, MappingNode)
    with pytest.raises(TypeError):
        node.entries["b"] = node.entries["a"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        node.mark = Mark("y", None, None, None, 1)  # type: ignore[misc]
    hash(node)


def test_plain_data_is_new_at_every_call() -> None:
    node = read_yaml_text("a: [1]", "x.yaml")
    data = plain(node)
    assert isinstance(data, dict)
    data["a"].append(2)
    assert plain(node) == {"a": [1]}


def test_equal_text_gives_equal_trees() -> None:
    assert read_yaml_text(SPACE, "x") == read_yaml_text(SPACE.encode(), "x")
    assert read_yaml_text("a: 1", "x") != read_yaml_text("a: '1'", "x")


def test_printable_text_has_one_line_and_a_bound() -> None:
    assert printable("a\nb\x1b\ud800é") == "a\ufffdb\ufffd\ufffdé"
    assert len(printable("x" * 1000, 50)) == 50
    assert printable("x" * 50, 50) == "x" * 50


# Whatever comes

_SYNTAX = st.text(st.sampled_from(list("ab10:-?,[]{}#&*!|>'\"%@`~<=.\\Uux \t\n\r") + ["é", "😀", "\x85"]), max_size=60)


def only_our_errors(source: str | bytes) -> None:
    try:
        node = read_yaml_text(source, "x.yaml")
    except SpecError as error:
        assert str(error).startswith("x.yaml:")
        str(error).encode()
        for problem in error.problems:
            if problem.line is not None:
                assert 1 <= (problem.column or 0) <= len(problem.line) + 1
    else:
        assert isinstance(node, ScalarNode | SequenceNode | MappingNode)
        json.dumps(plain(node)).encode()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_our_errors(data: bytes) -> None:
    only_our_errors(data)


@settings(max_examples=600, deadline=None)
@given(_SYNTAX)
def test_random_syntax_raises_nothing_but_our_errors(text: str) -> None:
    only_our_errors(text)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SPACE)), st.integers(0, 6), _SYNTAX)
def test_a_mutated_space_raises_nothing_but_our_errors(at: int, cut: int, put: str) -> None:
    only_our_errors(SPACE[:at] + put[:8] + SPACE[at + cut :])


_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0xFFFD, exclude_categories=("Cs", "Cc")), max_size=12)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**90), 10**90)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_JSON, st.sampled_from([None, 2]))
def test_json_is_read_as_json(data: object, indent: int | None) -> None:
    assert read(json.dumps(data, indent=indent)) == data


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("+-.0123456789eExXoOabfinINFtruTRUEnlNUL~_: "), max_size=8))
def test_a_plain_scalar_in_a_file_means_what_resolve_scalar_says(text: str) -> None:
    text = text.strip()
    try:
        data = read(f"[{text}, x]")
    except SpecError:
        return
    if isinstance(data, list) and len(data) == 2 and not isinstance(data[0], dict | list) and text:
        value = resolve_scalar(text)
        assert type(data[0]) is type(value)
        assert data[0] == value or (isinstance(value, float) and math.isnan(value))
