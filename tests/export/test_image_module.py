"""Exported image classifiers compute what the interpreter computes, in evaluation and in training."""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from export_checks import formatted, ruff
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from image_export import CLASSES, Case, assert_equal_to_the_interpreter, case_of, sampled
from random_specs import BLOCKS, CATALOGUE, declared, supergraph_of
from torch import Tensor

from nasforge.components import NormSpec, Operation, Options, Stage, WeightSpec
from nasforge.errors import NasforgeError, SpaceError
from nasforge.export.image_module import image_classifier_source
from nasforge.graph.builder import GraphBuilder
from nasforge.graph.compile import compile_kind
from nasforge.graph.plan import Plan, TemplatePlan, plan_architecture, plan_support
from nasforge.graph.supergraph import OperationUse
from nasforge.plugins import build_plugins
from nasforge.run.compile import compile_space
from nasforge.space.decision import ALWAYS
from nasforge.spec.run_spec import load_space_spec

ROOT = Path(__file__).parents[2]
IMAGES = st.one_of([BLOCKS["conv_cell"](3), BLOCKS["macro_network"](5)])
SIZES = st.sampled_from([(1, 8, 8), (3, 7, 5), (2, 9, 6), (3, 5, 11)])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(IMAGES, SIZES, st.sampled_from(["search", "final"]), st.integers(0, 2**32))
def test_random_networks_equal_the_interpreter_and_map_one_to_one(
    block: dict[str, Any], shape: tuple[int, int, int], stage: Any, seed: int
) -> None:
    kind, config = declared({**block, "image": list(shape)})
    share = random.Random(seed).choice(kind.share)
    try:
        case = sampled(compile_kind(kind, config, Stage(stage, share)), seed, shape)
    except SpaceError as error:  # searched kernels under a scope that two branches share
        assert "disagree" in str(error) and share == "node_op"
        reject()
    with tempfile.TemporaryDirectory() as folder:
        assert_equal_to_the_interpreter(case, Path(folder))


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(IMAGES, st.sampled_from(["search", "final"]), st.integers(0, 2**32))
def test_files_are_formatted_and_pass_the_linter(block: dict[str, Any], stage: Any, seed: int) -> None:
    source = sampled(supergraph_of(block, stage), seed, declared(block)[1].image).export().source
    formatted(source)
    assert max(map(len, source.splitlines())) <= 120


@pytest.mark.parametrize("stage", ["search", "final"])
@pytest.mark.parametrize("name", ["digits_cell", "digits_macro", "cifar10_micro", "cifar10_macro"])
def test_shipped_networks_equal_the_interpreter_and_are_formatted(name: str, stage: Any, tmp_path: Path) -> None:
    spec = load_space_spec(ROOT / "spaces" / f"{name}.yaml", build_plugins())
    shape = (spec.space.image[0], 8, 8)  # type: ignore[attr-defined]
    case = sampled(compile_space(spec, stage, CATALOGUE.operations), 2, shape)
    assert_equal_to_the_interpreter(case, tmp_path)
    formatted(case.export().source)


def _digits_cell(chosen: Mapping[str, str]) -> Case:
    spec = load_space_spec(ROOT / "spaces" / "digits_cell.yaml", build_plugins(), overrides=["train.stack.channels=16"])
    supergraph = compile_space(spec, "final", CATALOGUE.operations)
    return case_of(plan_architecture(supergraph, supergraph.space.architecture(dict(chosen))), (1, 8, 8))


def _cell(prefix: str, *nodes: tuple[str, str, str, str]) -> dict[str, str]:
    found = {}
    for number, (input1, op1, input2, op2) in enumerate(nodes, 2):
        found |= {f"{prefix}.node{number}.input1": f"{prefix}.{input1}", f"{prefix}.node{number}.op1": op1}
        found |= {f"{prefix}.node{number}.input2": f"{prefix}.{input2}", f"{prefix}.node{number}.op2": op2}
    return found


def test_the_file_reads_like_the_cell() -> None:
    nodes = [
        ("in0", "identity", "in1", "conv(kernel=3)"),
        ("node2", "sep_conv(kernel=3)", "in1", "avg_pool(kernel=3)"),
        ("node2", "max_pool(kernel=3)", "in0", "identity"),
    ]
    case = _digits_cell(_cell("normal", *nodes) | _cell("reduction", *nodes))
    exported = case.export()
    lines = exported.source.splitlines()
    start = lines.index("class NormalCell(nn.Module):")
    assert lines[start : lines.index("class ReductionCell(nn.Module):")] == [
        "class NormalCell(nn.Module):",
        '    """The searched normal cell (3 nodes)."""',
        "",
        "    def __init__(self, channels: int) -> None:",
        "        super().__init__()",
        "        self.node_2_2_weight = nn.Parameter(torch.empty(channels, channels, 3, 3))",
        "        self.node_2_2_norm = nn.BatchNorm2d(channels, eps=1e-5)",
        "        self.node_3_1_depthwise = nn.Parameter(torch.empty(channels, 1, 3, 3))",
        "        self.node_3_1_pointwise = nn.Parameter(torch.empty(channels, channels, 1, 1))",
        "        self.node_3_1_depthwise_2 = nn.Parameter(torch.empty(channels, 1, 3, 3))",
        "        self.node_3_1_pointwise_2 = nn.Parameter(torch.empty(channels, channels, 1, 1))",
        "        self.node_3_1_norm = nn.BatchNorm2d(channels, eps=1e-5)",
        "        self.node_3_1_norm_2 = nn.BatchNorm2d(channels, eps=1e-5)",
        "",
        "    def forward(self, in_0: Tensor, in_1: Tensor) -> Tensor:",
        '        """From its inputs to its output, each `[n, channels, height, width]`."""',
        "        node_2 = in_0 + relu_conv_norm(in_1, self.node_2_2_weight, self.node_2_2_norm, 1)",
        "        node_3_1 = relu_separable_norm(node_2, self.node_3_1_depthwise, self.node_3_1_pointwise, "
        "self.node_3_1_norm, 1)",
        "        node_3_1 = relu_separable_norm(",
        "            node_3_1, self.node_3_1_depthwise_2, self.node_3_1_pointwise_2, self.node_3_1_norm_2, 1",
        "        )",
        "        node_3 = node_3_1 + F.avg_pool2d(in_1, 3, 1, 1, count_include_pad=False)",
        "        node_4 = F.max_pool2d(node_2, 3, 1, 1) + in_0",
        "        return torch.cat((node_3, node_4), 1)",
        "",
        "",
    ]
    created = [line.strip() for line in lines if re.search(r" = (Normal|Reduction)Cell\(", line)]
    assert created == [
        "self.cell_0 = NormalCell(16)",
        "self.cell_1 = ReductionCell(32)",
        "self.cell_2 = NormalCell(32)",
    ]
    assert "        self.node_2_1_first = nn.Parameter(torch.empty(channels // 2, channels, 1, 1))" in lines
    assert "        self.classifier = nn.Linear(64, len(CLASSES))" in lines
    assert "        cell_0 = self.cell_0(cell_0_in_0, cell_0_base)" in lines
    names = exported.names
    assert names["core.cell2/normal/node2.2.in1.conv(kernel=3).norm.variance"] == "cell_2.node_2_2_norm.running_var"
    assert names["core.main/stem.weight"] == "stem_weight"
    assert names["shell.bias"] == "classifier.bias"


def test_a_cell_without_weights_takes_no_arguments() -> None:
    pool = ("in0", "max_pool(kernel=3)", "in1", "avg_pool(kernel=3)")
    source = _digits_cell(_cell("normal", pool, pool, pool) | _cell("reduction", pool, pool, pool)).export().source
    assert "self.cell_0 = NormalCell()" in source and "def __init__(self, channels" not in source


@pytest.mark.parametrize("momentum", [0.1, 0.01])
def test_the_momentum_of_the_network_is_that_of_the_file(momentum: float, tmp_path: Path) -> None:
    block = {"kind": "macro_network", "image": [1, 6, 6], "layers": 2, "each": {"op": {"conv": {"kernel": 3}}}}
    supergraph = supergraph_of({**block, "channels": 4, "reduce_after": [1]}, "final")
    case = sampled(supergraph, 0, (1, 6, 6), momentum=momentum)
    assert_equal_to_the_interpreter(case, tmp_path)
    assert ("momentum=0.01" in case.export().source) == (momentum == 0.01)
    formatted(case.export().source)


# Kinds and operations of others --------------------------------------------------------------------------------------


class Widen(Options):
    out: int = 5


def swish(config: Options) -> Callable[..., Tensor]:
    return lambda x: x * torch.sigmoid(x)


def mixed(config: Options) -> Callable[..., Tensor]:
    """Twice the same norm, and a weight only where the inputs differ in their channels."""
    return lambda a, b, *w: w[-1](a) + w[-1](torch.tanh(a)) + (torch.einsum("oi,bihw->bohw", w[0], b) if w[1:] else b)


def _mixed_text(config: Any, x: Any, w: Any, parts: Any) -> str:
    other = f'torch.einsum("oi,bihw->bohw", {w[0]}, {x[1]})' if w[1:] else x[1]
    return f"{w[-1]}({x[0]}) + {w[-1]}(torch.tanh({x[0]})) + {other}"


def _mixed_weights(config: Any, shapes: Any) -> tuple[WeightSpec, ...]:
    (a, *_), (b, *_) = shapes
    return () if a == b else (WeightSpec("bridge", (a, b), fan_in=b),)


def widen(config: Widen) -> Callable[..., Tensor]:
    return lambda x, weight: torch.einsum("oi,bihw->bohw", weight, x)


def odd(config: Options) -> Callable[..., Tensor]:
    return lambda x, scale: x * scale.sum()


def _odd_weights(config: Any, shapes: Any) -> tuple[WeightSpec, ...]:
    if shapes[0][0] > 20:
        raise SpaceError("too many channels")
    return (WeightSpec("scale", (shapes[0][0] ** 2 + 1,), fan_in=9),)


def ignored(config: Options) -> Callable[..., Tensor]:
    return lambda x, y: x * 2


HERE = __name__
OWN = (
    Operation("swish", "", f"{HERE}:swish", lambda c, x, w, p: f"{x[0]} * torch.sigmoid({x[0]})"),
    Operation("ignored", "", f"{HERE}:ignored", lambda c, x, w, p: f"{x[0]} * 2"),
    Operation("odd", "", f"{HERE}:odd", lambda c, x, w, p: f"{x[0]} * {w[0]}.sum()", weights=_odd_weights),
    Operation(
        "mixed",
        "",
        f"{HERE}:mixed",
        _mixed_text,
        weights=_mixed_weights,
        norms=lambda c, shapes: (NormSpec("norm", shapes[0][0]),),
    ),
    Operation(
        "widen",
        "",
        f"{HERE}:widen",
        lambda c, x, w, p: f'torch.einsum("oi,bihw->bohw", {w[0]}, {x[0]})',
        config=Widen,
        shape=lambda c, shapes: (c.out, *shapes[0][1:]),
        weights=lambda c, shapes: (WeightSpec("weight", (c.out, shapes[0][0]), fan_in=shapes[0][0]),),
    ),
)
OPERATIONS = {**CATALOGUE.operations, **{each.name: each for each in OWN}}
SHAPE = (2, 5, 4)
CONV = OperationUse("conv", (("kernel", 3),))


def _foreign(*, same_scope: bool = False, nested: bool = False, name: str = "wide cell") -> Plan:
    """Two inputs of different channels, shared weights, means, long sums and concatenations, sizes by square."""
    builder = GraphBuilder("final")
    cell = builder.template(name)
    a, b = cell.input("a"), cell.input("b")
    one = cell.op("first; import os", CONV, [a], share="shared")
    two = cell.op("second.\u202e\n", CONV, [one], share="shared")
    swished = cell.op("s", OperationUse("swish"), [two])
    lost = cell.op("lost", OperationUse("swish"), [cell.op("other", CONV, [b])])
    kept = cell.op("kept", OperationUse("ignored"), [swished, lost])
    joined = cell.op("l", OperationUse("mixed"), [kept, b], owner="l")
    scaled = cell.op("odd", OperationUse("odd"), [joined])
    pools = [cell.op(f"pool.{n} of a long name, too", OperationUse("swish"), [scaled]) for n in range(8)]
    total = cell.merge("total of all", "sum", [(each, ALWAYS) for each in pools])
    mean = cell.merge("mean", "mean", [(total, ALWAYS), (scaled, ALWAYS), (a, ALWAYS)])
    joined = cell.merge("all", "concat", [(each, ALWAYS) for each in (*pools, mean, b)])
    cell.output(cell.op("narrow", OperationUse("widen"), [joined]))
    if nested:
        outer = builder.template("outer")
        x = outer.input("x")
        outer.output(outer.call("inner", name, [x, x], scope="inner"))
    main = builder.template("main")
    image = main.input("image")
    wide = main.op("wide", OperationUse("widen", (("out", 3),)), [image])
    if nested:
        main.output(main.call("result", "outer", [wide], scope="result"))
        return plan_architecture(builder.finish(), {})
    first = main.call("forward", name, [wide, image], scope="one")
    second = main.call("classifier", name, [wide, image] if same_scope else [first, wide], scope="one" * same_scope)
    third = main.call("same", name, [wide, wide], scope="three")
    main.output(main.merge("sum", "sum", [(first, ALWAYS), (second, ALWAYS), (third, ALWAYS)]))
    return plan_architecture(builder.finish(), {})


@pytest.mark.parametrize("same_scope", [False, True])
def test_other_kinds_equal_the_interpreter(same_scope: bool, tmp_path: Path) -> None:
    case = case_of(_foreign(same_scope=same_scope), SHAPE, OPERATIONS)
    assert_equal_to_the_interpreter(case, tmp_path)
    source = case.export().source
    ruff(source, "format", "--check")  # the linter sees that a value is not used
    created = [line.split(" = ")[1] for line in source.splitlines() if re.search(r" = WideCell2?\(", line)]
    # The widths of both inputs, and what is no multiple of either.
    several = ["WideCell(3, 2, 10, 29)", "WideCell(5, 3, 26, 48)", "WideCell2(3)"]
    assert created == (["WideCell(3, 2)", "WideCell2(3)"] if same_scope else several)
    assert "import os" not in source


def test_an_operation_that_reads_its_input_twice_gets_it_by_name() -> None:
    source = case_of(_foreign(), SHAPE, OPERATIONS).export().source
    assert "        other = relu_conv_norm(b, self.other_weight, self.other_norm, 1)\n" in source
    # Nobody reads it, but its batch norm takes part.
    assert "        lost = other * torch.sigmoid(other)\n" in source
    assert "        kept = second * torch.sigmoid(second) * 2\n" in source


def test_a_shared_batch_norm_moves_in_the_order_of_the_steps(tmp_path: Path) -> None:
    builder = GraphBuilder("final")
    main = builder.template("main")
    image = main.input("image")
    one = main.op("one", CONV, [image], share="both")
    two = main.op("two", CONV, [main.op("swish", OperationUse("swish"), [image])], share="both")
    main.output(main.merge("sum", "sum", [(two, ALWAYS), (one, ALWAYS)]))
    case = case_of(plan_architecture(builder.finish(), {}), SHAPE, OPERATIONS)
    assert_equal_to_the_interpreter(case, tmp_path)


def test_networks_that_cannot_be_written_are_refused() -> None:
    block = {"kind": "macro_network", "image": [1, 6, 6], "layers": 2, "each": {"op": {"conv": {"kernel": 3}}}}
    supergraph = supergraph_of(block)
    architecture = supergraph.space.sample(random.Random(0))
    case = sampled(supergraph, 0, (1, 6, 6))
    wires = {name: template.open_wires(architecture) for name, template in supergraph.templates.items()}
    with pytest.raises(NasforgeError, match="plan for gates"):
        replace(case, plan=plan_support(supergraph, wires)).export()

    main = case.plan.main
    steps = [s._replace(inputs=(), wires=()) if s.node.role == "merge" else s for s in main.steps]
    with pytest.raises(NasforgeError, match="combines nothing"):
        replace(case, plan=Plan({"main": TemplatePlan(main.template, tuple(steps), main.output)})).export()

    with pytest.raises(NasforgeError, match="calls a template inside of 'result'"):
        case_of(_foreign(nested=True), SHAPE, OPERATIONS).export()

    other = sampled(supergraph_of({**block, "layers": 3}), 0, (1, 6, 6))
    with pytest.raises(NasforgeError, match=r"differ in their weights: core\.main/layer3"):
        replace(case, network=other.network).export()
    with pytest.raises(NasforgeError, match=re.escape("'core.main/stem.weight' has the shape")):
        replace(case, shape=(3, 6, 6)).export()

    builder = GraphBuilder("final")
    main_builder, cell = builder.template("main"), builder.template("cell")
    x, h = cell.input("x"), cell.input("h")
    cell.output(cell.op("sum", OperationUse("add"), [x, h]))
    image = main_builder.input("image")
    main_builder.output(main_builder.scan("out", "cell", sequence={"x": image}, carry={"h": image}))
    with pytest.raises(NasforgeError, match="'out' is a loop over time"):
        replace(case, plan=plan_architecture(builder.finish(), {})).export()

    builder = GraphBuilder("final")
    only = builder.template("main")
    only.output(only.op("rectify", OperationUse("rectify"), [only.input("inputs")]))
    with pytest.raises(NasforgeError, match="networks that read 'image'; this one reads inputs"):
        replace(case, plan=plan_architecture(builder.finish(), {})).export()


def test_calls_that_share_weights_of_other_shapes_are_refused() -> None:
    builder = GraphBuilder("final")
    cell, main = builder.template("cell"), builder.template("main")
    cell.output(cell.op("swish", OperationUse("odd"), [cell.input("x")]))
    image = main.input("image")
    wide = main.op("wide", OperationUse("widen", (("out", 3),)), [image])
    one, two = (main.call(name, "cell", [x], scope="s") for name, x in (("a", image), ("b", wide)))
    main.output(main.merge("all", "concat", [(one, ALWAYS), (two, ALWAYS)]))
    plan = plan_architecture(builder.finish(), {})
    case = case_of(_foreign(), SHAPE, OPERATIONS)
    with pytest.raises(NasforgeError, match="share the weights of 's/cell/' disagree"):
        replace(case, plan=plan).export()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": ["a", "b"]}, "linear classifiers of 2 classes"),
        ({"mean": []}, "a number from 0 to 1 for each of 1 channels"),
        ({"mean": [2.0]}, "a number from 0 to 1"),
        ({"mean": [float("nan")]}, "a number from 0 to 1"),
        ({"deviation": [0.0]}, "no deviation may be 0"),
        ({"deviation": [0.5, 0.5]}, "a number from 0 to 1 for each of 1 channels"),
    ],
)
def test_constants_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    block = {"kind": "macro_network", "image": [1, 6, 6], "layers": 1, "each": {"op": "identity"}}
    case = sampled(supergraph_of(block), 0, (1, 6, 6))
    given: dict[str, Any] = {"classes": CLASSES, "mean": [0.5], "deviation": [0.5], "title": "", "facts": []}
    with pytest.raises(NasforgeError, match=message):
        image_classifier_source(case.plan, case.operations, case.network, image_shape=case.shape, **given | changed)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x[(y := 1)]", "NamedExpr"),
        ("x.numpy().tofile('x')", "tofile"),
        ("unknown(x)", "unknown"),
    ],
)
def test_sources_that_do_more_than_compute_are_refused(source: str, message: str) -> None:
    operations = {**OPERATIONS, "swish": replace(OWN[0], source=lambda c, x, w, p: source.replace("x", x[0], 1))}
    with pytest.raises(NasforgeError, match=message):
        replace(case_of(_foreign(), SHAPE, OPERATIONS), operations=operations).export()
