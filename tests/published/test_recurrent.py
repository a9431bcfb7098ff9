"""Published cells: read into a space, written back, refused with the position and the rule."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
from helpers import OPERATIONS, cell_spec, choices, compiled, leaves, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from nasforge import published
from nasforge.components import Options, SpaceKind
from nasforge.errors import NasforgeError, SpaceError, UsageError
from nasforge.graph.canonical import canonical_digest
from nasforge.kinds.recurrent_cell import KIND, RecurrentCellSpec
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace

PTB = "0 0 0 1 1 2 1 2 0 2 0 5 1 1 0 6 1 8 1 8 1 8 1"
DARTS_FORM = (
    "Genotype(recurrent=[('tanh', 0), ('tanh', 1), ('relu', 1), ('tanh', 3), ('tanh', 3), ('relu', 3), ('relu', 4), "
    "('relu', 7), ('relu', 8), ('relu', 8), ('relu', 8)], concat=[2, 5, 6, 9, 10, 11])"
)
PYTORCH_FORM = json.dumps(
    [[-1, "tanh"], [0, "tanh"], [1, "ReLU"], [1, "tanh"], [2, "ReLU"], [2, "tanh"], [2, "tanh"], [6, "ReLU"]]
    + [[7, "ReLU"], *[[8, "ReLU"]] * 3]
)
DAG = json.dumps(
    {
        "-1": [[0, "tanh"]],
        "-2": [[0, "tanh"]],
        "0": [[1, "tanh"]],
        "1": [[2, "ReLU"], [3, "tanh"]],
        "2": [[4, "tanh"], [5, "tanh"], [6, "ReLU"]],
        "4": [[7, "ReLU"]],
        "7": [[8, "ReLU"]],
        "8": [[9, "ReLU"], [10, "ReLU"], [11, "ReLU"]],
        **{str(leaf): [[12, "avg"]] for leaf in (3, 5, 6, 9, 10, 11)},
        "12": [[13, "h[t]"]],
    }
)
"""The cell of the paper as ENAS-pytorch keeps it in its repository."""

V1 = (
    "Genotype(recurrent=[('relu', 0), ('relu', 1), ('tanh', 2), ('relu', 3), ('relu', 4), ('identity', 1), "
    "('relu', 5), ('relu', 1)], concat=range(1, 9))"
)
V2 = (
    "Genotype(recurrent=[('sigmoid', 0), ('relu', 1), ('relu', 1), ('identity', 1), ('tanh', 2), ('sigmoid', 5), "
    "('tanh', 3), ('relu', 5)], concat=range(1, 9))"
)


@dataclass(frozen=True)
class Space:
    """A space as `read` takes it."""

    space: Options
    space_kind: SpaceKind = KIND

    @cached_property
    def decisions(self) -> SearchSpace:
        return compiled(self.space).space  # type: ignore[arg-type]


def space(nodes: Any, **options: Any) -> Space:
    return Space(cell_spec(nodes, **options))


def read(name: str, text: str, declared: Space) -> Architecture:
    return published.read(name, text, declared, declared.decisions)


def write(name: str, architecture: Mapping[str, str], declared: Space) -> str:
    return published.write(name, architecture, declared, declared.decisions)


TWELVE = space(12)
NINE = space(9, first={"op": "tanh"}, output={"of": "all_but_first"})
FORMS = {"enas-ptb": PTB, "darts-rnn": DARTS_FORM, "enas-pytorch": PYTORCH_FORM}


# What is published


def test_the_encodings_of_the_paper_s_cell_are_one_cell() -> None:
    graph = compiled(cell_spec(12))
    listed = [read(name, text, TWELVE) for name, text in FORMS.items()]
    assert [leaves(each) for each in listed] == [{3, 4, 7, 9, 10, 11}, {2, 5, 6, 9, 10, 11}, {3, 4, 5, 9, 10, 11}]
    assert len({each.digest for each in listed}) == 3
    assert len({canonical_digest(graph, each) for each in [*listed, read("enas-pytorch", DAG, TWELVE)]}) == 1


@pytest.mark.parametrize("name", ["enas-ptb", "darts-rnn", "enas-pytorch"])
def test_cells_of_any_offered_size_are_read_where_the_size_is_searched(name: str) -> None:
    searched = space({"choose": 1, "from": [1, 2, 12]})
    for nodes, text in ((12, PTB), (2, "0 0 1"), (1, "0")):
        cell = read("enas-ptb", text, searched)
        assert cell["nodes"] == str(nodes)
        assert dict(cell) == {"nodes": str(nodes), **read("enas-ptb", text, space(nodes))}
        assert read(name, write(name, cell, searched), searched) == cell


def test_decisions_are_compiled_where_they_are_not_given() -> None:
    declared = space(3)
    assert published.read("enas-ptb", "0 0 1 1 2", declared) == read("enas-ptb", "0 0 1 1 2", declared)
    assert published.write("enas-lm", read("enas-ptb", "0 0 1 1 2", declared), declared) == "0 1 1 3"


def test_the_first_code_s_numbers_are_what_they_say() -> None:
    ops = ["tanh", "tanh", "relu", "relu", "tanh", "tanh", "relu", "tanh", "relu", "relu", "relu", "relu"]
    expected = choices(ops, [0, 1, 2, 2, 2, 5, 1, 6, 8, 8, 8])
    assert dict(read("enas-ptb", PTB, TWELVE)) == expected


@pytest.mark.parametrize(
    ("text", "ops", "inputs"),
    [
        (V1, "relu relu tanh relu relu identity relu relu", [0, 1, 2, 3, 4, 1, 5, 1]),
        (V2, "sigmoid relu relu identity tanh sigmoid tanh relu", [0, 1, 1, 1, 2, 5, 3, 5]),
    ],
)
def test_darts_cells_are_read_after_a_fixed_first_node(text: str, ops: str, inputs: list[int]) -> None:
    expected = choices(["tanh", *ops.split()], inputs, first_is_fixed=True)
    assert dict(read("darts-rnn", text, NINE)) == expected
    assert write("darts-rnn", expected, NINE) == text


def test_the_corrected_code_has_its_own_numbers() -> None:
    """enas_lm gives the cell of DARTS in its own numbers; it is DARTS' second cell."""
    graph = compiled(NINE.space)  # type: ignore[arg-type]
    ours = read("enas-lm", "0 2 1 1 1 1 1 3 2 0 5 2 3 0 5 1", NINE)
    assert canonical_digest(graph, ours) == canonical_digest(graph, read("darts-rnn", V2, NINE))
    best = read("enas-lm", "0 2 1 0 2 1 2 2 4 0 5 0 3 2 6 2", space(9))
    assert (best["node0.op"], best["node1.op"], best["node8.input"]) == ("tanh", "sigmoid", "node6")


def test_two_codes_number_the_operations_differently() -> None:
    assert read("enas-ptb", "0 0 2", space(2))["node1.op"] == "identity"
    assert read("enas-lm", "0 2", space(2))["node1.op"] == "sigmoid"


# Round trips


@pytest.mark.parametrize("name", KIND.encodings)
@pytest.mark.parametrize("of", ["leaves", "all", "all_but_first"])
@pytest.mark.parametrize("fixed", [False, True])
def test_what_is_written_reads_back_as_it_was(name: str, of: str, fixed: bool) -> None:
    options = {"first": {"op": "tanh"}} if fixed else {}
    count = 0
    for nodes in (1, 2, 3, 7, 12):
        declared = space(nodes, output={"of": of}, **options)
        for architecture in samples(declared.decisions, 20, seed=nodes):
            if not fixed and name in ("enas-lm", "darts-rnn"):
                architecture = declared.decisions.architecture({**architecture, "node0.op": "tanh"})
            try:
                text = write(name, architecture, declared)
            except SpaceError as error:
                assert (name == "enas-lm" and nodes == 1) or (name == "enas-pytorch" and of != "leaves"), error
                continue
            count += 1
            assert read(name, text, declared) == architecture
            assert write(name, read(name, text, declared), declared) == text
    assert count > 40 or (name == "enas-pytorch" and of != "leaves")


def test_dag_json_is_written_as_its_code_writes_it() -> None:
    architecture = read("enas-pytorch", DAG, TWELVE)
    assert json.loads(write("enas-pytorch", architecture, TWELVE)) == json.loads(DAG)
    assert read("enas-pytorch", json.dumps(json.loads(DAG), indent=2), TWELVE) == architecture


def test_a_genotype_may_be_laid_out_and_quoted_as_python_allows() -> None:
    text = (
        V1.replace("'", '"')
        .replace(", (", ",\n    (")
        .replace("range(1, 9)", "( 1,2,3,4, 5,6,7,8, )")
        .replace("=", " = ")
    )
    assert read("darts-rnn", text, NINE) == read("darts-rnn", V1, NINE)
    swapped = "Genotype(concat=range(1, 2), recurrent=[('relu', 0)],)"
    assert read("darts-rnn", swapped, space(2, output={"of": "all_but_first"}))["node1.op"] == "relu"


# What the space shares by name or searches beside the tree


def shared(**options: Any) -> Space:
    """A space that decides all operations at once, and the number of nodes, by names under ``let``."""
    op = {"choose": 1, "from": ["tanh", "relu"], "use": "act"}
    block = {"nodes": {"choose": 1, "from": [2, 3], "use": "n"}, "each": {"op": op}, "first": {"op": op}, **options}
    return Space(RecurrentCellSpec.model_validate(block, context={"operations": OPERATIONS}))


@pytest.mark.parametrize("name", sorted(KIND.encodings))
def test_a_shared_operation_is_read_and_written_by_its_name(name: str) -> None:
    declared = shared()
    cell = {"n": "3", "act": "tanh", "node1.input": "node0", "node2.input": "node0"}
    text = write(name, declared.decisions.architecture(cell), declared)
    assert dict(read(name, text, declared)) == cell


def test_a_text_that_parts_what_the_space_shares_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"node 1 is 'relu', but node 0 is 'tanh', and .* decides both at once .'act'"):
        read("enas-ptb", "0 0 1", shared())


@pytest.mark.parametrize("name", sorted(KIND.encodings))
def test_a_searched_width_of_which_no_text_tells_is_refused(name: str) -> None:
    declared = space(2, hidden={"choose": 1, "from": [32, 64]})
    cell = declared.decisions.architecture(
        {"hidden": "32", "node0.op": "tanh", "node1.input": "node0", "node1.op": "relu"}
    )
    said = f"the space searches 'hidden' .32, 64., of which {name} says nothing"
    with pytest.raises(SpaceError, match=said):
        write(name, cell, declared)
    with pytest.raises(SpaceError, match=said):
        read(name, write(name, choices(["tanh", "relu"], [0]), space(2)), declared)


# What is averaged


def test_what_is_averaged_must_be_nodes_of_the_text_whatever_the_space() -> None:
    with pytest.raises(UsageError, match="must be different nodes, 0 to 1 in a cell of 2 nodes, found 1, 2, 3"):
        read("darts-rnn", "Genotype(recurrent=[('relu', 0)], concat=range(1, 9))", TWELVE)


def test_concat_must_agree_with_the_output_of_the_space() -> None:
    nine = space(9, first={"op": "tanh"})
    with pytest.raises(
        SpaceError, match=r"concat averages 1, 2.*space averages the leaves.*space\.output\.of=all_but_first"
    ):
        read("darts-rnn", V1, nine)
    leafy = V1.replace("range(1, 9)", "[6, 7, 8]")
    assert leaves(read("darts-rnn", leafy, nine)) == {6, 7, 8}
    with pytest.raises(SpaceError, match=r"space averages all nodes.*space\.output\.of=leaves"):
        read("darts-rnn", leafy, NINE)
    everything = space(9, first={"op": "tanh"}, output={"of": "all"})
    assert read("darts-rnn", V1.replace("range(1, 9)", "range(9)"), everything) == read("darts-rnn", V1, NINE)
    with pytest.raises(SpaceError, match="averages 7, 8, which are neither all nodes.* nor the leaves 6, 7, 8"):
        read("darts-rnn", V1.replace("range(1, 9)", "range(7, 9)"), NINE)
    with pytest.raises(UsageError, match="concat must be different nodes, 0 to 8 in a cell of 9 nodes, found 1, 1"):
        read("darts-rnn", V1.replace("range(1, 9)", "[1, 1]"), NINE)
    with pytest.raises(SpaceError, match=r"'avg' averages 3, 5.*space\.output\.of=leaves"):
        read("enas-pytorch", DAG, space(12, output={"of": "all"}))


# What does not fit the space


@pytest.mark.parametrize(
    ("name", "text", "options", "said"),
    [
        ("enas-ptb", PTB, {"nodes": 9}, "a cell of 12 nodes, the space has 9 nodes; the override space.nodes=12"),
        ("enas-ptb", "0", {"nodes": 9}, "a cell of 1 node, the space has 9 nodes; the override space.nodes=1 "),
        ("darts-rnn", V1, {"nodes": 12}, "a cell of 9 nodes, the space has 12 nodes; the override space.nodes=9"),
        (
            "enas-ptb",
            "0 0 1 1 2",
            {"nodes": {"choose": 1, "from": [4, 1, 2]}},
            "a cell of 3 nodes, the space has 1 node, 2 nodes or 4 nodes; the override space.nodes=3 ",
        ),
        ("enas-lm", "0 1", {"nodes": 1}, "a cell of 2 nodes, the space has 1 node; the override space.nodes=2"),
        (
            "enas-ptb",
            "0 0 3",
            {"nodes": 2, "ops": ("tanh", "relu")},
            "node 1 is 'sigmoid', which the space does not offer",
        ),
        (
            "enas-ptb",
            "3 0 0",
            {"nodes": 2, "ops": ("tanh", "relu")},
            "node 0 is 'sigmoid', which the space does not offer",
        ),
        (
            "enas-ptb",
            "1 0 0",
            {"nodes": 2, "first": {"op": "tanh"}},
            "node 0 is 'relu', but the space fixes it to 'tanh'",
        ),
        ("enas-lm", "0 1", {"nodes": 2, "first": {"op": "relu"}}, "node 0 is 'tanh', but the space fixes it to 'relu'"),
        (
            "darts-rnn",
            "Genotype(recurrent=[('none', 0)], concat=[1])",
            {"nodes": 2},
            "node 1 is 'none', which the space does not offer there. It offers tanh, relu, sigmoid, identity",
        ),
        ("darts-rnn", "Genotype(recurrent=[('tahn', 0)], concat=[1])", {"nodes": 2}, "Did you mean 'tanh'?"),
    ],
)
def test_what_the_space_does_not_hold_is_a_space_error(name: str, text: str, options: Any, said: str) -> None:
    with pytest.raises(SpaceError) as caught:
        read(name, text, space(**options))
    assert said in str(caught.value) and caught.value.exit_code == 2


def test_the_overrides_that_messages_name_fit() -> None:
    assert read("enas-ptb", PTB, space(12)) and read("enas-lm", "0 1", space(2, first={"op": "tanh"}))


def test_every_node_that_does_not_fit_is_named() -> None:
    with pytest.raises(SpaceError) as caught:
        read("enas-ptb", "3 0 3 1 2", space(3, ops=("tanh", "relu")))
    assert [line[:6] for line in str(caught.value).splitlines()] == ["node 0", "node 1", "node 2"]


# What is no text of the form


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("enas-ptb", "", "the text is empty"),
        ("enas-ptb", "0 0", "2 numbers; there must be one for node 0 and two for each later node"),
        ("enas-ptb", "0 0 x", "item 3 must be a whole number from 0 to 9999, found 'x'"),
        ("enas-ptb", "0, 0, 1", "item 1 must be a whole number from 0 to 9999, found '0,'"),
        ("enas-ptb", "0 0 -1", "item 3 must be a whole number from 0 to 9999, found '-1'"),
        ("enas-ptb", "0 0 99999", "item 3 must be a whole number"),
        (
            "enas-ptb",
            "4",
            "number 1 is 4, the operation of node 0; operations are 0 tanh, 1 relu, 2 identity, 3 sigmoid",
        ),
        ("enas-ptb", "0 0 4", "number 3 is 4, the operation of node 1"),
        ("enas-ptb", "0 1 0", "number 2 is 1, the predecessor of node 1; it must be 0, the only earlier node"),
        ("enas-ptb", "0 0 0 2 0", "number 4 is 2, the predecessor of node 2; it must be an earlier node, 0 to 1"),
        ("enas-lm", "0 1 0", "3 numbers; there must be two for each node but node 0"),
        (
            "enas-lm",
            "0 4",
            "number 2 is 4, the operation of node 1; operations are 0 tanh, 1 relu, 2 sigmoid, 3 identity",
        ),
        ("enas-lm", "0 1 2 0", "number 3 is 2, the predecessor of node 2"),
        ("darts-rnn", "", "expected 'Genotype' at character 1, found the end"),
        ("darts-rnn", "Genotype(", "expected 'recurrent=' or 'concat=' at character 10, found the end"),
        ("darts-rnn", "Genotype()", "expected 'recurrent=' at character 10, found ')'"),
        ("darts-rnn", "Genotype(recurrent=[])", "expected 'concat=' at character 22, found ')'"),
        ("darts-rnn", "Genotype(recurrent=[('tanh', 0)], concat=[1]) + 1", "expected the end at character 47"),
        ("darts-rnn", "Genotype(recurrent=[('tanh' 0)], concat=[1])", "expected ',' at character 29"),
        ("darts-rnn", "Genotype(recurrent=[(tanh, 0)], concat=[1])", "expected an operation in quotes at character 22"),
        ("darts-rnn", "Genotype(recurrent=[('tanh', '0')], concat=[1])", "expected the number of a node"),
        ("darts-rnn", "Genotype(recurrent=[('tanh', -1)], concat=[1])", "expected the number of a node"),
        ("darts-rnn", "Genotype(recurrent=[], recurrent=[], concat=[])", "expected 'concat=' at character 24"),
        ("darts-rnn", "Genotype(recurrent=[], concat=[], concat=[])", "expected ')' at character 35"),
        ("darts-rnn", "Genotype(recurrent=[('tanh', 0)], concat=range(1, 2, 3))", "range(stop) or range(start, stop)"),
        ("darts-rnn", "Genotype(recurrent=[('tanh', 0)], concat=range(1, 10**9))", "expected ',' at character 53"),
        ("darts-rnn", "__import__('os')", "expected 'Genotype' at character 1, found '__import__"),
        ("darts-rnn", "Genotype(recurrent=[('tanh', 1)], concat=[1])", "pair 1: node 1 reads node 1"),
        ("darts-rnn", f"Genotype(recurrent=[{'(' * 5000}", "expected an operation in quotes"),
        ("darts-rnn", "x" * 70_000, "a text of 70,000 characters"),
        ("enas-pytorch", "{", "not JSON"),
        ("enas-pytorch", "[" * 100_000, "not JSON"),
        ("enas-pytorch", "3", "a predecessor and an operation for each of nodes 0, 1, 2, ..., found 3"),
        ("enas-pytorch", "[]", "found []"),
        ("enas-pytorch", '[[0, "tanh"]]', "node 0 reads node 0; it must read -1, the input"),
        ("enas-pytorch", '[[-1, "tanh"], [1, "tanh"]]', "node 1 reads node 1; it must be an earlier one, 0 to 0"),
        ("enas-pytorch", '[[-1, "relu"]]', "operations are tanh, ReLU, identity, sigmoid"),
        ("enas-pytorch", '[["tanh", -1]]', "a pair must be [node, operation]"),
        ("enas-pytorch", '[[true, "tanh"]]', "a pair must be [node, operation]"),
        ("enas-pytorch", '{"-1": [[0, "tanh"]], "0": [[2, "tanh"]]}', "found nodes 0, 2"),
        ("enas-pytorch", '{"-1": [[0, "tanh"]], "0": [[0, "tanh"]]}', "node 0 reads two nodes, -1 and 0"),
        ("enas-pytorch", '{"x": []}', "'x' must be a node with the list of its readers"),
        ("enas-pytorch", '{"0": 3}', "'0' must be a node with the list of its readers"),
    ],
)
def test_a_text_of_another_form_is_a_usage_error(name: str, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(name, text, TWELVE)
    assert said in str(caught.value)
    assert all(line.startswith(f"{name}: ") for line in str(caught.value).splitlines())


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(KIND.encodings)),
    st.text(st.sampled_from("0123456789 -[](){}=,'\"\\\n.:eGenotyprucavg"), max_size=40)
    | st.sampled_from([PTB, V1, V2, DAG, PYTORCH_FORM]).flatmap(
        lambda text: st.builds(
            lambda at, new: text[:at] + new + text[at + 1 :], st.integers(0, len(text)), st.text(max_size=2)
        )
    ),
)
def test_any_text_is_read_or_raises_our_errors(name: str, text: str) -> None:
    for declared in (TWELVE, NINE):
        try:
            architecture = read(name, text, declared)
        except NasforgeError as error:
            assert str(error) and error.exit_code == 2
        else:
            assert read(name, write(name, architecture, declared), declared) == architecture


# What cannot be written, and by what name


def test_what_an_encoding_cannot_express_is_refused() -> None:
    relu = choices(["relu", "tanh"], [0])
    for name in ("enas-lm", "darts-rnn"):
        with pytest.raises(SpaceError, match=f"node 0 is 'relu'; {name} has no place for it"):
            write(name, relu, space(2))
    with pytest.raises(SpaceError, match="one node is no text"):
        write("enas-lm", {"node0.op": "tanh"}, space(1))
    with pytest.raises(SpaceError, match="enas-pytorch averages the leaves"):
        write("enas-pytorch", choices(["tanh"] * 3, [0, 1]), space(3, output={"of": "all"}))


def test_operations_that_an_encoding_does_not_know_are_named() -> None:
    from nasforge.components import activation

    more = {**OPERATIONS, "wave": activation("wave", "s", "a:b", "torch.sin({x})")}
    block = {"nodes": 2, "each": {"op": {"choose": 1, "from": ["tanh", "wave"]}}}
    declared = Space(KIND.config.model_validate(block, context={"operations": more}))
    for name in KIND.encodings:
        with pytest.raises(SpaceError, match=f"node 1 is 'wave', which {name} cannot write; it has tanh, "):
            write(name, choices(["tanh", "wave"], [0]), declared)


def test_an_architecture_of_another_space_is_not_written() -> None:
    with pytest.raises(SpaceError, match="not an architecture of this space"):
        write("enas-ptb", choices(["tanh"] * 3, [0, 0]), space(2))


def test_an_unknown_encoding_lists_the_known_ones_with_a_suggestion() -> None:
    for call in (lambda: read("enas-pbt", PTB, TWELVE), lambda: write("enas-pbt", {}, TWELVE)):
        with pytest.raises(UsageError) as caught:
            call()
        assert str(caught.value).startswith("unknown encoding 'enas-pbt'. Did you mean 'enas-ptb'?\n")
        assert all(name in str(caught.value) for name in KIND.encodings)
    bare = Space(TWELVE.space, SpaceKind("plain", "s", KIND.config, KIND.build))
    with pytest.raises(UsageError, match="known for a plain:\n  json: "):
        read("enas-ptb", PTB, bare)


def test_names_are_those_of_the_mapping() -> None:
    assert {name: encoding.name for name, encoding in KIND.encodings.items()} == {n: n for n in KIND.encodings}
    assert all(encoding.summary and "\n" not in encoding.summary for encoding in KIND.encodings.values())
