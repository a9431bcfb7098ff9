"""Published convolutional cells: read into a space, written back, refused with the position and the rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import Declared, image_space, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from nasforge.errors import NasforgeError, SpaceError, UsageError
from nasforge.graph.count import Meter
from nasforge.kinds.conv_cell import KIND
from nasforge.plugins import build_plugins
from nasforge.published import read, write
from nasforge.run.compile import compile_space, input_shapes
from nasforge.spec.run_spec import load_space_spec

ROOT = Path(__file__).parents[2]
NORMAL = "0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1"
ENAS = f"{NORMAL} 1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1"
"""The cells of ENAS, as the authors' script for the final training has them."""

V1 = (
    "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1), "
    "('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)], "
    "normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), "
    "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], "
    "reduce_concat=[2, 3, 4, 5])"
)
V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
    "normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), "
    "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], "
    "reduce_concat=[2, 3, 4, 5])"
)
THREE = V1.replace(", ('sep_conv_3x3', 0), ('skip_connect', 2)]", "]").replace("[2, 3, 4, 5]", "[2, 3, 4]", 1)
"""The normal cell has one node less."""

ENAS_OPS: list[Any] = [
    "identity",
    {"sep_conv": {"kernel": 3}},
    {"sep_conv": {"kernel": 5}},
    {"avg_pool": {"kernel": 3}},
    {"max_pool": {"kernel": 3}},
]
DARTS_OPS: list[Any] = [*ENAS_OPS, {"dil_conv": {"kernel": 3}}, {"dil_conv": {"kernel": 5}}]
BOTH = ("normal", "reduction")


def op(options: list[Any], **more: Any) -> dict[str, Any]:
    return {"choose": 1, "from": options, **more}


def space(
    nodes: Any = 5, ops: Any = None, *, branches: int = 2, of: str = "leaves", cells: Any = BOTH, **more: Any
) -> Declared:
    each = {"branches": branches, "op": ops if isinstance(ops, dict) else op(ops or ENAS_OPS)}
    return image_space(KIND, {"nodes": nodes, "each": each, "output": {"of": of}, "cells": list(cells), **more})


MICRO = space()
DARTS = space(4, DARTS_OPS, of="all")


# What is published


def test_the_numbers_of_the_authors_are_what_they_say() -> None:
    cells = MICRO.read("enas-micro", ENAS)
    listed = {
        "normal.node2.input1": "normal.in0",
        "normal.node2.op1": "avg_pool(kernel=3)",
        "normal.node2.op2": "sep_conv(kernel=3)",
        "normal.node3.op1": "identity",
        "normal.node4.input2": "normal.in1",
        "normal.node4.op2": "sep_conv(kernel=5)",
        "reduction.node3.op1": "max_pool(kernel=3)",
        "reduction.node4.input2": "reduction.node3",
        "reduction.node6.op2": "sep_conv(kernel=5)",
    }
    assert {name: cells[name] for name in listed} == listed
    assert MICRO.write("enas-micro", cells) == ENAS
    assert MICRO.read("enas-micro", ENAS.replace(" ", "\n ")) == cells


@pytest.mark.parametrize(
    ("normal", "parameters", "as_published"), [(5, 3_887_172, 3_894_372), (6, 4_580_172, 4_587_372)]
)
def test_the_final_network_of_enas_has_the_parameters_that_were_published(
    normal: int, parameters: int, as_published: int
) -> None:
    """The authors' code counts the classifier, too: 10 classes times the 5 x 144 channels of the last cell."""
    plugins = build_plugins()
    spec = load_space_spec(
        ROOT / "spaces" / "cifar10_micro.yaml",
        plugins,
        overrides=[f"train.stack.normal={normal}", "train.stack.channels=36"],
    )
    graph = compile_space(spec, "final", plugins.catalogue.operations)
    shapes = input_shapes(spec, graph, 1)
    assert shapes is not None
    counts = Meter(graph, plugins.catalogue.operations, shapes).count(read("enas-micro", ENAS, spec, graph.space))
    assert counts.parameters == parameters
    assert counts.parameters + 10 * 720 == as_published


@pytest.mark.parametrize(("text", "parameters", "in_darts"), [(V1, 3_356_316, 3_169_414), (V2, 3_536_244, 3_349_342)])
def test_the_final_networks_of_darts_have_its_parameters_and_a_convolution_more_in_each_cell(
    text: str, parameters: int, in_darts: int
) -> None:
    """What is more is the second 1x1 convolution of input 1, which ENAS has; the classifier is 10 x 576 and a bias."""
    plugins = build_plugins()
    operations = "identity, sep_conv: {kernel: 3}, dil_conv: {kernel: 3}, max_pool: {kernel: 3}, avg_pool: {kernel: 3}"
    spec = load_space_spec(
        ROOT / "spaces" / "cifar10_micro.yaml",
        plugins,
        overrides=[
            *("space.nodes=4", "space.output.of=all", f"space.each.op={{choose: 1, from: [{operations}]}}"),
            *("train.stack.normal=6", "train.stack.channels=36"),
        ],
    )
    graph = compile_space(spec, "final", plugins.catalogue.operations)
    shapes = input_shapes(spec, graph, 1)
    assert shapes is not None
    counts = Meter(graph, plugins.catalogue.operations, shapes).count(read("darts-cnn", text, spec, graph.space))
    assert counts.parameters == parameters
    widths = [36] * 6 + [72] * 7 + [144] * 7
    more = sum(width * width + 2 * width for width in widths)
    assert counts.parameters - more + 10 * 576 + 10 == in_darts


@pytest.mark.parametrize("text", [V1, V2])
def test_darts_cells_are_read_and_written_as_they_were_published(text: str) -> None:
    cells = DARTS.read("darts-cnn", text)
    assert DARTS.write("darts-cnn", cells) == text
    assert DARTS.read("darts-cnn", text.replace("[2, 3, 4, 5]", "range(2, 6)").replace("'", '"')) == cells


def test_darts_names_are_what_they_say() -> None:
    cells = DARTS.read("darts-cnn", V2)
    listed = {
        "normal.node2.input1": "normal.in0",
        "normal.node4.op1": "sep_conv(kernel=3)",
        "normal.node4.op2": "identity",
        "normal.node5.input2": "normal.node2",
        "normal.node5.op2": "dil_conv(kernel=3, dilation=2)",
        "reduction.node3.input1": "reduction.node2",
        "reduction.node3.op2": "max_pool(kernel=3)",
    }
    assert {name: cells[name] for name in listed} == listed
    assert DARTS.read("darts-cnn", V1)["reduction.node5.op2"] == "avg_pool(kernel=3)"


def test_one_form_is_written_as_the_other() -> None:
    four = space(4, of="all")
    numbers = four.write("enas-micro", four.read("darts-cnn", V1))
    assert numbers.split()[:8] == ["1", "0", "0", "0", "0", "4", "1", "0"]
    assert four.write("darts-cnn", four.read("enas-micro", numbers)) == V1
    assert "reduce_concat=[2, 4, 5, 6]" in MICRO.write("darts-cnn", MICRO.read("enas-micro", ENAS))
    with pytest.raises(SpaceError, match="branch 2 of node 5 of the normal cell is 'dil_conv.*enas-micro cannot write"):
        DARTS.write("enas-micro", DARTS.read("darts-cnn", V2))


# Round trips

SEARCHED_KERNEL = ["identity", {"sep_conv": {"kernel": op([5, 3])}}, {"max_pool": {"kernel": 3}}]
SPACES = {
    "micro": MICRO,
    "all nodes": space(of="all"),
    "normal cell only": space(3, cells=["normal"]),
    "reduction named first": space(2, cells=["reduction", "normal"]),
    "one node": space(1),
    "searched kernels": space(3, SEARCHED_KERNEL),
    "one shared operation": space(2, op(ENAS_OPS, use="o")),
    "a shared kernel": space(6, [{"sep_conv": {"kernel": op([3, 5], use="k")}}]),
    "one size for both": space(op([1, 2], use="n"), ["identity"]),
}
GENOTYPES = {
    **SPACES,
    "darts": DARTS,
    "darts leaves": space(4, [*DARTS_OPS, {"sep_conv": {"kernel": 7}}]),
    "sizes": space(op([1, 2]), ["identity"]),
    "searched dilation": space(2, [{"dil_conv": {"kernel": op([3, 5]), "dilation": op([2])}}]),
}


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        *(pytest.param("enas-micro", each, id=f"enas-micro-{key}") for key, each in SPACES.items()),
        *(pytest.param("darts-cnn", each, id=f"darts-cnn-{key}") for key, each in GENOTYPES.items()),
    ],
)
def test_what_is_written_reads_back_as_it_was(name: str, declared: Declared) -> None:
    for architecture in samples(declared.decisions, 200):
        text = declared.write(name, architecture)
        assert declared.read(name, text) == architecture
        assert declared.write(name, declared.read(name, text)) == text


def test_cells_of_one_size_are_read_where_the_size_is_searched() -> None:
    sizes = space(op([4, 5]))
    cells = sizes.read("enas-micro", ENAS)
    assert (cells["normal.nodes"], cells["reduction.nodes"]) == ("5", "5")
    assert sizes.write("enas-micro", cells) == ENAS
    kept = {name: option for name, option in cells.items() if not name.startswith("reduction.node6")}
    mixed = sizes.decisions.architecture({**kept, "reduction.nodes": "4"})
    with pytest.raises(SpaceError, match="enas-micro has cells of as many nodes each; here the normal cell "):
        sizes.write("enas-micro", mixed)
    assert sizes.read("darts-cnn", sizes.write("darts-cnn", mixed)) == mixed


def test_a_genotype_may_leave_out_a_cell_that_is_not_searched() -> None:
    alone = space(1, cells=["normal"], of="all")
    text = "Genotype(normal=[('skip_connect', 0), ('skip_connect', 1)], normal_concat=[2])"
    cells = alone.read("darts-cnn", text)
    assert alone.write("darts-cnn", cells) == f"{text[:-1]}, reduce=[], reduce_concat=[])"
    assert alone.read("darts-cnn", alone.write("darts-cnn", cells)) == cells


def test_searched_parameters_are_decisions_of_the_text() -> None:
    cells = SPACES["searched kernels"].read("enas-micro", "0 0 0 1 0 4 0 4 0 3 0 3 0 0 0 0 0 0 0 0 0 0 0 0")
    assert (cells["normal.node2.op1"], cells["normal.node2.op1.sep_conv.kernel"]) == ("sep_conv(kernel=5|3)", "3")
    assert cells["normal.node2.op2.sep_conv.kernel"] == "5" and "normal.node3.op1.sep_conv.kernel" not in cells


# What is concatenated

SMALL = "Genotype(normal=[('skip_connect', 0), ('skip_connect', 0), ('skip_connect', 2), ('skip_connect', 0)], normal_concat={}, reduce=[('skip_connect', 0), ('skip_connect', 1), ('skip_connect', 0), ('skip_connect', 1)], reduce_concat={})"


def test_concat_must_agree_with_the_output_of_the_space() -> None:
    """The leaves are 1 and 3 in the normal cell, 2 and 3 in the reduction cell."""
    leaves, everything = space(2), space(2, of="all")
    assert leaves.read("darts-cnn", SMALL.format("[3, 1]", "[2, 3]"))
    assert everything.read("darts-cnn", SMALL.format("(2, 3)", "range(2, 4)"))
    with pytest.raises(
        SpaceError,
        match=r"normal_concat concatenates 2, 3, but the space concatenates the leaves; the override space\.output\.of=all",
    ):
        leaves.read("darts-cnn", SMALL.format("[2, 3]", "[2, 3]"))
    with pytest.raises(
        SpaceError,
        match=r"normal_concat concatenates 1, 3, but the space concatenates all nodes; .*space\.output\.of=leaves",
    ):
        everything.read("darts-cnn", SMALL.format("[1, 3]", "[2, 3]"))
    with pytest.raises(SpaceError, match="reduce_concat concatenates 3, .*all nodes are 2, 3, the leaves 2, 3"):
        everything.read("darts-cnn", SMALL.format("[2, 3]", "[3]"))
    with pytest.raises(UsageError, match="normal_concat must be different nodes or inputs, 0 to 3, found 3, 3"):
        leaves.read("darts-cnn", SMALL.format("[3, 3]", "[2, 3]"))
    with pytest.raises(UsageError, match="reduce_concat must be different nodes or inputs, 0 to 3, found 4"):
        leaves.read("darts-cnn", SMALL.format("[1, 3]", "[4]"))


# What does not fit the space


@pytest.mark.parametrize(
    ("name", "text", "declared", "said"),
    [
        ("enas-micro", ENAS, space(4), "a cell of 5 nodes, the space has 4 nodes; the override 'space.nodes=5'"),
        ("enas-micro", ENAS, space(op([4, 6])), "a cell of 5 nodes, the space has 4 nodes or 6 nodes"),
        (
            "darts-cnn",
            THREE,
            space(5),
            "a cell of 3 nodes, the space has 5 nodes; the override 'space.nodes={choose: 1, from: [3, 4]}' makes",
        ),
        (
            "enas-micro",
            ENAS,
            space(branches=3),
            "2 branches for each node, the space has 3; the override space.each.branches=2",
        ),
        ("darts-cnn", V1, space(4, branches=1), "the override space.each.branches=2 makes them fit"),
        ("enas-micro", ENAS, space(cells=["normal"]), "the override 'space.cells=[normal, reduction]' makes them fit"),
        ("enas-micro", NORMAL, MICRO, "the override 'space.cells=[normal]' makes them fit"),
        ("darts-cnn", V1, space(4, cells=["normal"]), "the override 'space.cells=[normal, reduction]' makes them fit"),
        ("darts-cnn", f"{V1.split(', reduce=')[0]})", space(4, of="all"), "the override 'space.cells=[normal]'"),
        (
            "enas-micro",
            ENAS,
            space(ops=["identity", {"sep_conv": {"kernel": 3}}]),
            "branch 1 of node 2 of the normal cell is 'avg_pool(kernel=3)', but the space offers there identity, sep_conv(kernel=3)",
        ),
        (
            "darts-cnn",
            V2,
            space(4, [*ENAS_OPS, {"dil_conv": {"kernel": 3, "dilation": 3}}], of="all"),
            "branch 2 of node 5 of the normal cell is 'dil_conv(kernel=3, dilation=2)', but the space offers there",
        ),
        (
            "enas-micro",
            "0 0 0 1 0 0 0 0",
            space(1, op(ENAS_OPS, use="o")),
            "is 'sep_conv(kernel=5)', but branch 1 of node 2 of the normal cell is 'sep_conv(kernel=3)', and the space "
            "decides both at once ('o')",
        ),
        (
            "enas-micro",
            ENAS,
            space(stack={"channels": op([16, 20])}),
            "the space searches 'channels' (16, 20), of which enas-micro says nothing",
        ),
        (
            "darts-cnn",
            SMALL.format("[2, 3]", "[2, 3]"),
            space(2, ["identity", {"sep_conv": {"kernel": op([3, 5], use="k")}}], of="all"),
            "the space searches 'k' (3, 5), of which darts-cnn says nothing",
        ),
    ],
)
def test_what_the_space_does_not_hold_is_a_space_error(name: str, text: str, declared: Declared, said: str) -> None:
    with pytest.raises(SpaceError) as caught:
        declared.read(name, text)
    assert said in str(caught.value) and caught.value.exit_code == 2


def test_the_overrides_that_messages_name_fit() -> None:
    assert space(5, cells=["normal"]).read("enas-micro", NORMAL)
    assert space(op([3, 4]), of="all").read("darts-cnn", THREE)["normal.nodes"] == "3"


def test_every_branch_that_does_not_fit_is_named_up_to_ten() -> None:
    with pytest.raises(SpaceError) as caught:
        space(ops=["identity"]).read("enas-micro", ENAS)
    assert len(str(caught.value).splitlines()) == 10


# What is no text of the form

PAIR = "Genotype(normal=[('sep_conv_3x3', 0), ({})], normal_concat=[2], reduce=[('skip_connect', 0), ('skip_connect', 1)], reduce_concat=[2])"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("enas-micro", "", "the text is empty"),
        (
            "enas-micro",
            "0 0 1",
            "3 numbers; there must be 4 for each node of the normal cell and 4 for each node of the reduction cell, a multiple of 8",
        ),
        ("enas-micro", f"{ENAS} 0", "41 numbers; there must be"),
        ("enas-micro", ENAS.replace("2", "x", 1), "item 2 must be a whole number from 0 to 9999, found 'x'"),
        ("enas-micro", ENAS.replace("2", "2,", 1), "item 2 must be a whole number from 0 to 9999, found '2,'"),
        ("enas-micro", ENAS.replace("2", "-2", 1), "item 2 must be a whole number from 0 to 9999, found '-2'"),
        ("enas-micro", f"[{ENAS}]", "item 1 must be a whole number from 0 to 9999, found '[0'"),
        (
            "enas-micro",
            ENAS.replace("2", "5", 1),
            "number 2 is 5, the operation of branch 1 of node 2 of the normal cell; operations are 0 sep_conv(kernel=3), "
            "1 sep_conv(kernel=5), 2 avg_pool(kernel=3), 3 max_pool(kernel=3), 4 identity",
        ),
        (
            "enas-micro",
            f"0 0 2 {ENAS[6:]}",
            "number 3 is 2, what branch 2 of node 2 of the normal cell reads; it must be an input of the cell or an "
            "earlier node, 0 to 1",
        ),
        ("enas-micro", f"{ENAS[:-3]}6 1", "number 39 is 6, what branch 2 of node 6 of the reduction cell reads"),
        ("darts-cnn", "", "expected 'Genotype' at character 1, found the end"),
        ("darts-cnn", "Genotype()", "expected 'normal=' at character 10, found ')'"),
        (
            "darts-cnn",
            "Genotype(x",
            "expected 'normal=' or 'normal_concat=' or 'reduce=' or 'reduce_concat=' at character 10",
        ),
        ("darts-cnn", "Genotype(normal=[])", "expected 'normal_concat=' at character 19"),
        ("darts-cnn", "Genotype(normal=[], normal_concat=[], reduce=[])", "expected 'reduce_concat=' at character 48"),
        ("darts-cnn", "Genotype(normal=[], normal_concat=[], reduce_concat=[])", "expected 'reduce=' at character 55"),
        ("darts-cnn", "Genotype(normal=[], normal=[])", "expected 'normal_concat=' or 'reduce=' or"),
        ("darts-cnn", "Genotype(normal=[], normal_concat=[])", "normal has 0 pairs; there must be 2 for each node"),
        ("darts-cnn", V1.replace("[('sep", "(('sep", 1), "expected '[' at character 17"),
        ("darts-cnn", V1.replace("1)", "1]", 1), "expected ')' at character 36"),
        ("darts-cnn", V1[:-1], "expected ',' at character"),
        ("darts-cnn", V1.replace("1)", "x)", 1), "expected the number of a node at character 35, found 'x)"),
        ("darts-cnn", V1.replace("1)", "-1)", 1), "expected the number of a node at character 35"),
        ("darts-cnn", f"{V1}.normal", "expected the end at character"),
        ("darts-cnn", "Genotype(recurrent=[('tanh', 0)], concat=[1])", "expected 'normal=' or"),
        (
            "darts-cnn",
            PAIR.format("'skip_connect', 2"),
            "normal, pair 2: node 2 reads 2; it must be an input of the cell",
        ),
        ("darts-cnn", PAIR.format("'none', 1"), "normal, pair 2 is 'none', which stands for no operation here"),
        (
            "darts-cnn",
            PAIR.format("'conv_7x1_1x7', 1"),
            "normal, pair 2 is 'conv_7x1_1x7', which stands for no operation",
        ),
        (
            "darts-cnn",
            PAIR.format("'sep_conv_3x4', 1"),
            "normal, pair 2 is 'sep_conv_3x4'; operations are max_pool_3x3, avg_pool_3x3, skip_connect, sep_conv_3x3,",
        ),
        ("darts-cnn", PAIR.format("'dil_conv_3x', 1"), "Did you mean 'dil_conv_3x3'?"),
        ("darts-cnn", V1.replace("('skip_connect', 2)]", "]", 1), "normal has 7 pairs; there must be 2 for each node"),
        ("darts-cnn", "x" * 70_000, "a text of 70,000 characters"),
    ],
)
def test_a_text_of_another_form_is_a_usage_error(name: str, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        MICRO.read(name, text)
    assert said in str(caught.value)
    assert all(line.startswith(f"{name}: ") for line in str(caught.value).splitlines())


def test_faults_are_listed_together() -> None:
    with pytest.raises(UsageError) as caught:
        space(1).read("enas-micro", "2 0 0 5 0 0 3 0")
    assert [line.split()[2] for line in str(caught.value).splitlines()] == ["1", "4", "7"]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(KIND.encodings)),
    st.text(st.sampled_from("0123456789 -[](){}=,'\"\n.:_Genotypnrmalducx"), max_size=40)
    | st.lists(st.integers(-1, 7), min_size=38, max_size=41).map(lambda each: " ".join(map(str, each)))
    | st.sampled_from([ENAS, V1, V2]).flatmap(
        lambda text: st.builds(
            lambda at, new: text[:at] + new + text[at + 1 :], st.integers(0, len(text)), st.text(max_size=2)
        )
    ),
)
def test_any_text_is_read_or_raises_our_errors(name: str, text: str) -> None:
    for declared in (MICRO, DARTS):
        try:
            architecture = declared.read(name, text)
        except NasforgeError as error:
            assert str(error) and error.exit_code == 2
        else:
            assert declared.read(name, declared.write(name, architecture)) == architecture


# What cannot be written


def test_what_an_encoding_cannot_express_is_refused() -> None:
    squeeze = space(1, ["se", "identity"])
    chosen = next(each for each in samples(squeeze.decisions, 50) if each["normal.node2.op1"] == "se(ratio=4)")
    for name in KIND.encodings:
        with pytest.raises(
            SpaceError, match=rf"branch 1 of node 2 of the normal cell is 'se.*which {name} cannot write; it has"
        ):
            squeeze.write(name, chosen)
    three = space(1, branches=3)
    with pytest.raises(SpaceError, match="2 branches for each node"):
        three.write("enas-micro", samples(three.decisions, 1)[0])
    with pytest.raises(SpaceError, match="not an architecture of this space"):
        MICRO.write("enas-micro", {"normal.node2.op1": "identity"})


def test_one_of_two_options_that_are_one_operation_is_not_written() -> None:
    twice = space(1, [{"sep_conv": {"kernel": 3}}, {"sep_conv": {"kernel": op([3, 5])}}])
    place = "normal.node2.op1"
    searched = [each for each in samples(twice.decisions, 200) if each[place] == "sep_conv(kernel=3|5)"]
    kernel = f"{place}.sep_conv(kernel=3|5).kernel"
    ambiguous = next(each for each in searched if each[kernel] == "3")
    with pytest.raises(SpaceError, match=r"cannot say that 'normal\.node2\.op1' is .*reads as 'sep_conv\(kernel=3\)'"):
        twice.write("enas-micro", ambiguous)


def test_a_run_spec_will_do() -> None:
    spec = load_space_spec(ROOT / "spaces" / "cifar10_micro.yaml", build_plugins())
    assert write("enas-micro", read("enas-micro", ENAS, spec), spec) == ENAS


def test_names_are_those_of_the_mapping() -> None:
    assert {name: encoding.name for name, encoding in KIND.encodings.items()} == {n: n for n in KIND.encodings}
    assert all(encoding.summary and "\n" not in encoding.summary for encoding in KIND.encodings.values())
