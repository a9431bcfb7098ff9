"""Published macro networks: read into a space, written back, refused with the position and the rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import Declared, image_space, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from nasforge.errors import NasforgeError, SpaceError, UsageError
from nasforge.graph.count import Meter
from nasforge.kinds.macro_network import KIND
from nasforge.plugins import build_plugins
from nasforge.published import read, write
from nasforge.run.compile import compile_space, input_shapes
from nasforge.spec.run_spec import load_space_spec

ROOT = Path(__file__).parents[2]
LAYERS = [
    "0",
    "3 0",
    "0 1 0",
    "2 0 0 1",
    "2 0 0 0 0",
    "3 1 1 0 1 0",
    "2 0 0 0 0 0 1",
    "2 0 1 1 0 1 1 1",
    "1 0 1 1 1 0 1 0 1",
    "0 0 0 0 0 0 0 0 0 0",
    "2 0 0 0 0 0 1 0 0 0 0",
    "0 1 0 0 1 1 0 0 0 0 1 1",
    "2 0 1 0 0 0 0 0 1 0 1 1 0",
    "1 0 0 1 0 0 0 1 1 1 0 1 0 1",
    "0 1 1 0 1 0 1 0 0 0 0 0 1 0 0",
    "2 0 0 1 0 0 0 0 0 0 0 1 0 1 0 1",
    "2 0 1 0 0 0 1 0 0 1 1 1 1 0 0 1 0",
    "2 0 0 0 0 1 0 1 0 1 0 0 1 0 1 0 0 1",
    "3 0 1 1 0 1 0 0 0 0 0 1 0 1 0 1 0 0 0",
    "3 0 1 1 0 0 0 0 0 0 0 0 0 1 1 0 0 0 0 1",
    "0 1 0 0 1 0 1 1 0 0 0 1 0 0 0 0 0 1 1 0 0",
    "3 0 1 0 1 1 0 0 1 0 1 1 0 1 1 0 1 0 0 1 0 0",
    "0 1 0 1 0 1 0 0 0 0 0 0 0 0 1 0 1 0 0 1 0 0 0",
    "0 1 1 0 0 0 1 1 1 0 1 0 0 0 1 0 1 0 0 1 1 0 0 0",
]
"""The network of ENAS, as the authors' script for the final training has it, a layer a line."""

ENAS = " ".join(LAYERS)
OPS: list[Any] = [
    {"conv": {"kernel": 3}},
    {"conv": {"kernel": 5}},
    {"sep_conv": {"kernel": 3}},
    {"sep_conv": {"kernel": 5}},
    {"avg_pool": {"kernel": 3}},
    {"max_pool": {"kernel": 3}},
]


def op(options: list[Any], **more: Any) -> dict[str, Any]:
    return {"choose": 1, "from": options, **more}


def space(layers: Any = 4, ops: Any = None, *, skips: Any = None, **more: Any) -> Declared:
    each = {"op": ops or op(OPS), "skips": skips or {"choose": "any", "from": "previous"}}
    return image_space(KIND, {"layers": layers, "each": each, **more})


def chain(layers: Any, ops: Any = None) -> Declared:
    """A space without skip connections."""
    return image_space(KIND, {"layers": layers, "each": {"op": ops or op(OPS), "skips": None}})


# What is published


def test_the_network_of_enas_is_read_and_written_as_it_was_published() -> None:
    deep = space(24, reduce_after=[8, 16])
    network = deep.read("enas-macro", ENAS)
    assert deep.write("enas-macro", network) == ENAS
    for separator in ("\n", " / ", "/", " /\n"):
        assert deep.read("enas-macro", separator.join(LAYERS)) == network
    assert len(network) == 24 * 25 // 2


def test_bits_are_about_the_stem_and_all_layers_but_the_one_right_before() -> None:
    network = space(4).read("enas-macro", "0 / 3 0 / 1 1 0 / 2 0 0 1")
    assert dict(network) == {
        "layer1.op": "conv(kernel=3)",
        "layer2.op": "sep_conv(kernel=5)",
        "layer2.skip.stem": "no",
        "layer3.op": "sep_conv(kernel=3)",
        "layer3.skip.stem": "yes",
        "layer3.skip.layer1": "no",
        "layer4.op": "conv(kernel=5)",
        "layer4.skip.stem": "no",
        "layer4.skip.layer1": "no",
        "layer4.skip.layer2": "yes",
    }
    pools = space(2).read("enas-macro", "4 5 1")
    assert (pools["layer1.op"], pools["layer2.op"]) == ("avg_pool(kernel=3)", "max_pool(kernel=3)")


# Round trips

SPACES = {
    "twelve": space(12, reduce_after=[4, 8]),
    "one": space(1),
    "few operations": space(3, op(OPS[2:4])),
    "sizes": space(op([1, 2, 3]), op(OPS[:1])),
    "one shared operation": space(4, op(OPS, use="o")),
    "searched kernels": space(3, op([{"conv": {"kernel": op([3, 5])}}, {"max_pool": {"kernel": 3}}])),
    "fixed operation": space(5, {"sep_conv": {"kernel": 3}}),
    "fixed operation with a searched kernel": space(5, {"sep_conv": {"kernel": op([5, 3])}}),
    "no skips": chain(6),
    "no skips, sizes": chain(op([2, 4])),
}


@pytest.mark.parametrize("declared", SPACES.values(), ids=SPACES)
def test_what_is_written_reads_back_as_it_was(declared: Declared) -> None:
    for architecture in samples(declared.decisions, 300):
        text = declared.write("enas-macro", architecture)
        assert declared.read("enas-macro", text) == architecture
        assert declared.write("enas-macro", declared.read("enas-macro", text)) == text


def test_the_number_of_layers_is_a_decision_where_it_is_searched() -> None:
    sizes = space(op([1, 2, 3]))
    assert dict(sizes.read("enas-macro", "0 0 1")) == {
        "layers": "2",
        "layer1.op": "conv(kernel=3)",
        "layer2.op": "conv(kernel=3)",
        "layer2.skip.stem": "yes",
    }
    assert sizes.read("enas-macro", "0")["layers"] == "1"


def test_spaces_without_skips_write_zeros() -> None:
    network = chain(3).read("enas-macro", "0 1 0 2 0 0")
    assert dict(network) == {
        f"layer{n}.op": o for n, o in enumerate(["conv(kernel=3)", "sep_conv(kernel=3)", "conv(kernel=5)"], 1)
    }
    assert chain(3).write("enas-macro", network) == "0 1 0 2 0 0"
    with pytest.raises(SpaceError) as caught:
        chain(3).read("enas-macro", "0 1 1 2 0 1")
    assert [line.split(", but")[0] for line in str(caught.value).splitlines()] == [
        "number 3 is 1, a skip from stem to layer2",
        "number 6 is 1, a skip from layer1 to layer3",
    ]
    assert "'space.each.skips={choose: any, from: previous}' makes them fit" in str(caught.value)


# What does not fit the space


@pytest.mark.parametrize(
    ("text", "declared", "said"),
    [
        (
            ENAS,
            space(12),
            "a network of 24 layers, the space has 12 layers; the override space.layers=24 makes them fit",
        ),
        (
            "0",
            space(op([2, 3])),
            "a network of 1 layer, the space has 2 layers or 3 layers; the override space.layers=1",
        ),
        (
            "0",
            space(4, reduce_after=[1, 3]),
            "the space has 4 layers; the overrides space.layers=1 and 'space.reduce_after=[]' make them fit",
        ),
        (
            "0 4 0",
            space(2, op(OPS[:4])),
            "layer2 is 'avg_pool(kernel=3)', but the space offers there conv(kernel=3), conv",
        ),
        (
            "0",
            space(1, {"conv": {"kernel": 5}}),
            "layer1 is 'conv(kernel=3)', but the space fixes it to conv(kernel=5)",
        ),
        (
            "0 1 0",
            space(2, op(OPS, use="o")),
            "layer2 is 'sep_conv(kernel=3)', but layer1 is 'conv(kernel=3)', and the space decides both at once ('o')",
        ),
        (
            "0",
            space(1, channels=op([8, 16])),
            "the space searches 'channels' (8, 16), of which enas-macro says nothing",
        ),
    ],
)
def test_what_the_space_does_not_hold_is_a_space_error(text: str, declared: Declared, said: str) -> None:
    with pytest.raises(SpaceError) as caught:
        declared.read("enas-macro", text)
    assert said in str(caught.value) and caught.value.exit_code == 2


# What is no text of the form


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the text is empty"),
        ("/", "the text is empty"),
        (
            "0 0 0 0",
            "4 numbers; L layers have L (L + 1) / 2, their operations and 0, 1, 2, ... bits: 3 for 2 layers, 6 for 3",
        ),
        ("0 0", "1 for 1 layer, 3 for 2"),
        (
            f"{ENAS} 0",
            "301 numbers; L layers have L (L + 1) / 2, their operations and 0, 1, 2, ... bits: 300 for 24 layers",
        ),
        ("0 x 0", "item 2 must be a whole number from 0 to 9999, found 'x'"),
        ("0 -1 0", "item 2 must be a whole number from 0 to 9999, found '-1'"),
        ("[0 1 0]", "item 1 must be a whole number from 0 to 9999, found '[0'"),
        ("0, 1, 0", "item 1 must be a whole number from 0 to 9999, found '0,'"),
        (
            "0 6 0",
            "number 2 is 6, the operation of layer2; operations are 0 conv(kernel=3), 1 sep_conv(kernel=3), "
            "2 conv(kernel=5), 3 sep_conv(kernel=5), 4 avg_pool(kernel=3), 5 max_pool(kernel=3)",
        ),
        ("0 0 2", "number 3 is 2, whether stem skips to layer2; it must be 0 or 1"),
        ("0 0 0 0 0 2", "number 6 is 2, whether layer1 skips to layer3; it must be 0 or 1"),
        ("0 / 0 0 0 / 0 0", "part 2 between '/' has 3 numbers; layer2 has 2"),
        ("0 / 0 0 /", "part 3 between '/' has 0 numbers; layer3 has 3"),
        ("0 0 / 0", "part 1 between '/' has 2 numbers; layer1 has 1"),
    ],
)
def test_a_text_of_another_form_is_a_usage_error(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        space(2).read("enas-macro", text)
    assert said in str(caught.value)
    assert all(line.startswith("enas-macro: ") for line in str(caught.value).splitlines())


ANY = (space(3), space(op([1, 2, 3])), chain(3), SPACES["searched kernels"])


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.sampled_from("0123456789 /-x\n"), max_size=20)
    | st.text(max_size=10)
    | st.lists(st.integers(-1, 6), max_size=7).map(lambda each: " ".join(map(str, each)))
)
def test_any_text_is_read_or_raises_our_errors(text: str) -> None:
    for declared in ANY:
        try:
            architecture = declared.read("enas-macro", text)
        except NasforgeError as error:
            assert str(error) and error.exit_code == 2
        else:
            assert declared.read("enas-macro", declared.write("enas-macro", architecture)) == architecture


# What cannot be written


def test_operations_that_the_form_does_not_know_are_named() -> None:
    identity = space(2, op(["identity", *OPS]))
    network = {"layer1.op": "conv(kernel=3)", "layer2.op": "identity", "layer2.skip.stem": "no"}
    with pytest.raises(SpaceError, match="layer2 is 'identity', which enas-macro cannot write; it has conv"):
        identity.write("enas-macro", network)


def test_one_of_two_options_that_are_one_operation_is_not_written() -> None:
    twice = space(1, op([{"conv": {"kernel": 3}}, {"conv": {"kernel": op([3, 5])}}]))
    place = "layer1.op"
    with pytest.raises(SpaceError, match=r"cannot say that 'layer1\.op' is .*reads as 'conv\(kernel=3\)'"):
        twice.write("enas-macro", {place: "conv(kernel=3|5)", f"{place}.conv(kernel=3|5).kernel": "3"})
    five = {place: "conv(kernel=3|5)", f"{place}.conv(kernel=3|5).kernel": "5"}
    assert dict(twice.read("enas-macro", twice.write("enas-macro", five))) == five


def test_a_run_spec_will_do() -> None:
    overrides = ["space.layers=24", "space.reduce_after=[8, 16]"]
    spec = load_space_spec(ROOT / "spaces" / "cifar10_macro.yaml", build_plugins(), overrides=overrides)
    assert write("enas-macro", read("enas-macro", ENAS, spec), spec) == ENAS


@pytest.mark.parametrize(("separable", "parameters"), [(True, 30_952_992), (False, 42_564_960)])
def test_the_final_network_of_enas_has_the_parameters_that_the_docs_say(separable: bool, parameters: int) -> None:
    """With its separable convolutions as such, and as the ordinary ones that the authors' final code makes of them."""
    plugins = build_plugins()
    spec = load_space_spec(
        ROOT / "spaces" / "cifar10_macro.yaml",
        plugins,
        overrides=["space.layers=24", "space.reduce_after=[8, 16]", "train.stack.channels=96"],
    )
    graph = compile_space(spec, "final", plugins.catalogue.operations)
    shapes = input_shapes(spec, graph, 1)
    assert shapes is not None
    ordinary = {"1": "0", "3": "2"}
    text = " ".join(layer if separable else ordinary.get(layer[0], layer[0]) + layer[1:] for layer in LAYERS)
    counts = Meter(graph, plugins.catalogue.operations, shapes).count(read("enas-macro", text, spec, graph.space))
    assert counts.parameters == parameters
