"""The operations on images against independent references: modules of torch, slow loops, and formulas by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from nasforge import builtins
from nasforge.catalogue import Catalogue
from nasforge.components import Operation, Options, Shape
from nasforge.errors import SpaceError
from nasforge.executors.resolve import operation_function
from nasforge.export.allowed import check_source
from nasforge.graph.supergraph import OperationUse
from nasforge.graph.uses import parameter_set
from nasforge.ops.image import OPERATIONS
from nasforge.spec.choices import parse_operation

BY_NAME: Mapping[str, Operation] = {each.name: each for each in OPERATIONS}


def bind(name: str, shape: Shape, **parameters: Any) -> tuple[Callable[..., Tensor], list[Tensor], Operation, Options]:
    """The function of a use with batch norms over the batch, and all its weights, in float64."""
    operation = BY_NAME[name]
    config = operation.config.model_validate(parameters)
    generator = torch.Generator().manual_seed(3)

    def draw(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    weights = [draw(*spec.shape) for spec in parameter_set(operation, config, [shape])]
    function = operation_function(OperationUse(name, tuple(parameters.items())), BY_NAME)
    own = len(operation.weights(config, [shape]))

    def bound(x: Tensor, *given: Tensor) -> Tensor:
        norms = [norm(*pair) for pair in zip(given[own::2], given[own + 1 :: 2], strict=True)]
        return function(x, *given[:own], *norms)

    def norm(scale: Tensor, offset: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda x: F.batch_norm(x, None, None, scale, offset, training=True, eps=1e-5)

    return bound, weights, operation, config


def images(shape: Shape, n_images: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(n_images, *shape, generator=generator, dtype=torch.float64)


# Against modules of torch ---------------------------------------------------------------------------------------------


def separable(channels: int, kernel: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    padding = (kernel - 1) * dilation // 2
    depthwise = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)
    return [nn.ReLU(), depthwise, nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)]


def convolution(into: int, out: int, kernel: int = 1, stride: int = 1) -> nn.Module:
    return nn.Conv2d(into, out, kernel, stride, (kernel - 1) // 2, bias=False)


MODULES: Mapping[str, tuple[Mapping[str, Any], Callable[[], list[nn.Module]]]] = {
    "conv": (
        {"kernel": 5, "stride": 2},
        lambda: [nn.ReLU(), convolution(4, 4, 5, 2), nn.BatchNorm2d(4)],
    ),
    "sep_conv": ({"kernel": 3, "stride": 2}, lambda: [*separable(4, 3, 2), *separable(4, 3, 1)]),
    "dil_conv": ({"kernel": 3, "dilation": 3}, lambda: separable(4, 3, 1, 3)),
    "avg_pool": ({"kernel": 3, "stride": 2}, lambda: [nn.AvgPool2d(3, 2, 1, count_include_pad=False)]),
    "max_pool": ({"kernel": 5}, lambda: [nn.MaxPool2d(5, 1, 2)]),
    "stem": ({"out": 6}, lambda: [convolution(4, 6, 3), nn.BatchNorm2d(6)]),
    "pointwise": ({"out": 6}, lambda: [convolution(4, 6), nn.BatchNorm2d(6), nn.ReLU()]),
    "calibrate": ({"out": 6}, lambda: [nn.ReLU(), convolution(4, 6), nn.BatchNorm2d(6)]),
    "project": ({}, lambda: [nn.ReLU(), convolution(4, 4)]),
    "batch_norm": ({}, lambda: [nn.BatchNorm2d(4)]),
    "rectify": ({}, lambda: [nn.ReLU()]),
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("size", [(6, 8), (7, 5), (1, 1)])
def test_an_operation_is_what_modules_of_torch_compute_in_training(name: str, size: tuple[int, int]) -> None:
    parameters, build = MODULES[name]
    shape = (4, *size)
    function, weights, _, _ = bind(name, shape, **parameters)
    module = nn.Sequential(*build()).double().train()
    norms = {id(each) for part in module if isinstance(part, nn.BatchNorm2d) for each in part.parameters()}
    own = sorted(module.parameters(), key=lambda each: id(each) in norms)
    assert [each.shape for each in own] == [each.shape for each in weights]
    with torch.no_grad():
        for mine, given in zip(own, weights, strict=True):
            mine.copy_(given)
    x = images(shape).requires_grad_()
    found, expected = function(x, *(each.requires_grad_() for each in weights)), module(x)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    probe = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = torch.autograd.grad((found * probe).sum(), [x, *weights])
    for mine, theirs in zip(gradients, torch.autograd.grad((expected * probe).sum(), [x, *own]), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-8)


def test_batch_norm_takes_the_statistics_of_the_batch() -> None:
    function, (scale, offset), _, _ = bind("batch_norm", (4, 5, 5))
    x = images((4, 5, 5))
    for c in range(4):
        mean, variance = x[:, c].mean(), x[:, c].var(correction=0)
        expected = (x[:, c] - mean) / torch.sqrt(variance + 1e-5) * scale[c] + offset[c]
        torch.testing.assert_close(function(x, scale, offset)[:, c], expected)


def test_an_average_at_the_edge_is_one_of_the_pixels_inside() -> None:
    function, _, _, _ = bind("avg_pool", (1, 4, 4), kernel=3)
    x = images((1, 4, 4))
    torch.testing.assert_close(function(x)[:, 0, 0, 0], x[:, 0, :2, :2].mean((1, 2)))
    torch.testing.assert_close(function(x)[:, 0, 1, 3], x[:, 0, 0:3, 2:4].mean((1, 2)))


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 1, 1), (2, 9, 3)])
def test_both_memory_formats_give_the_same_in_single_precision(name: str, shape: Shape) -> None:
    fields = BY_NAME[name].config.model_fields
    values = {"kernel": 3, "out": 6, "stride": 2}
    function, weights, _, _ = bind(name, shape, **{key: value for key, value in values.items() if key in fields})
    x, weights = images(shape).float(), [weight.float() for weight in weights]
    rows, pixels = x.contiguous(), x.contiguous(memory_format=torch.channels_last)
    found = function(pixels, *weights)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, function(rows, *weights), rtol=1e-4, atol=1e-4)


def test_the_stem_of_a_grey_image_gives_channels_last() -> None:
    """Torch cannot tell the formats of one channel apart by their strides; a conversion says which is meant."""
    function, weights, _, _ = bind("stem", (1, 6, 6), out=4)
    found = function(images((1, 6, 6)).to(memory_format=torch.channels_last), *weights)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert not found.is_contiguous()


@pytest.mark.parametrize("name", BY_NAME)
def test_exported_code_may_hold_the_source(name: str) -> None:
    operation = BY_NAME[name]
    fields = operation.config.model_fields
    values = {"kernel": 3, "out": 6, "stride": 2, "relu": True}
    config = operation.config.model_validate({key: value for key, value in values.items() if key in fields})
    specs = (*operation.weights(config, [(4, 6, 6)]), *operation.norms(config, [(4, 6, 6)]))
    names = [spec.name for spec in specs]
    expression = operation.source(config, ["x"], names, [])
    function = f"def function({', '.join(['x', *names])}):\n    return {expression}\n"
    check_source("\n\n".join(["import torch\nfrom torch.nn import functional as F\n", *operation.helpers, function]))


# Reductions, gates, zeros ---------------------------------------------------------------------------------------------


def reduced_slowly(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The two paths pixel by pixel: the second reads one further down and to the right, zero beyond the edge."""
    n, _, height, width = x.shape
    halves = first.shape[0] + second.shape[0], (height + 1) // 2, (width + 1) // 2
    out = torch.zeros(n, *halves, dtype=x.dtype)
    for i in range(halves[1]):
        for j in range(halves[2]):
            out[:, : first.shape[0], i, j] = x[:, :, 2 * i, 2 * j] @ first[:, :, 0, 0].T
            if 2 * i + 1 < height and 2 * j + 1 < width:
                out[:, first.shape[0] :, i, j] = x[:, :, 2 * i + 1, 2 * j + 1] @ second[:, :, 0, 0].T
    return out


@pytest.mark.parametrize("size", [(6, 8), (7, 5), (4, 7), (2, 2), (1, 1), (1, 4)])
@pytest.mark.parametrize(("out", "relu"), [(None, False), (5, True), (2, False)])
def test_the_factorised_reduction_equals_a_slow_loop(size: tuple[int, int], out: int | None, relu: bool) -> None:
    shape = (4, *size)
    function, weights, operation, config = bind("factorised_reduction", shape, out=out, relu=relu)
    first, second, scale, offset = weights
    assert (len(first), len(first) + len(second)) == ((out or 4) // 2, out or 4)
    x = images(shape)
    before = reduced_slowly(torch.relu(x) if relu else x, first, second)
    expected = F.batch_norm(before, None, None, scale, offset, training=True, eps=1e-5)
    torch.testing.assert_close(function(x, *weights), expected, rtol=1e-10, atol=1e-10)
    assert operation.shape(config, [shape]) == tuple(expected.shape[1:])


def test_the_factorised_reduction_is_the_padding_and_cropping_of_the_reference_code() -> None:
    function, weights, _, _ = bind("factorised_reduction", (4, 7, 6))
    x = images((4, 7, 6))
    cropped = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
    paths = [F.conv2d(value[:, :, ::2, ::2], weight) for value, weight in zip((x, cropped), weights[:2], strict=True)]
    expected = F.batch_norm(torch.cat(paths, 1), None, None, *weights[2:], training=True)
    torch.testing.assert_close(function(x, *weights), expected, rtol=1e-10, atol=1e-10)


def test_one_channel_cannot_be_reduced_by_halves() -> None:
    with pytest.raises(SpaceError, match="1 is too few"):
        bind("factorised_reduction", (1, 4, 4))


@pytest.mark.parametrize("stride", [1, 2])
def test_squeeze_and_excitation_multiplies_channels_by_gates(stride: int) -> None:
    shape = (8, 5, 4)
    function, weights, _, _ = bind("se", shape, ratio=4, stride=stride)
    squeeze, squeeze_bias, excite, excite_bias = weights
    assert squeeze.shape == (2, 8)
    x = images(shape)
    found = function(x, *weights)
    for n in range(len(x)):
        means = torch.stack([x[n, c].sum() / 20 for c in range(8)])
        gates = 1 / (1 + torch.exp(-(excite @ (squeeze @ means + squeeze_bias).clamp(min=0) + excite_bias)))
        product = torch.stack([gates[c] * x[n, c] for c in range(8)])
        if stride == 2:
            rows = [[product[:, i : i + 2, j : j + 2].mean((1, 2)) for j in (0, 2)] for i in (0, 2, 4)]
            product = torch.stack([torch.stack(row, -1) for row in rows], -2)
        torch.testing.assert_close(found[n], product)


@pytest.mark.parametrize(("channels", "ratio", "hidden"), [(8, 4, 2), (8, 1, 8), (3, 4, 1), (10, 4, 2)])
def test_squeeze_and_excitation_has_a_hidden_unit_at_least(channels: int, ratio: int, hidden: int) -> None:
    operation = BY_NAME["se"]
    specs = operation.weights(operation.config.model_validate({"ratio": ratio}), [(channels, 4, 4)])
    assert [spec.shape for spec in specs] == [(hidden, channels), (hidden,), (channels, hidden), (channels,)]


@pytest.mark.parametrize("stride", [1, 2])
def test_zero_is_zero_also_where_the_input_is_not_finite(stride: int) -> None:
    function, _, _, _ = bind("zero", (3, 5, 4), stride=stride)
    x = torch.full((2, 3, 5, 4), math.inf).requires_grad_()
    x.data[0, 0, 0, 0] = math.nan
    found = function(x)
    assert torch.equal(found, torch.zeros(2, 3, math.ceil(5 / stride), math.ceil(4 / stride)))
    assert not found.requires_grad
    weight = torch.ones(3, 1, 1, 1, requires_grad=True)
    (found.detach() + weight.view(3, 1, 1)).sum().backward()
    assert weight.grad is not None and bool(weight.grad.isfinite().all())


def test_the_sum_of_projections_is_the_projection_of_the_concatenation() -> None:
    function, (first,), _, _ = bind("project", (4, 5, 5))
    second = torch.flip(first, (0,))
    x, y = images((4, 5, 5)), images((4, 5, 5)).flip(0)
    together = F.conv2d(torch.relu(torch.cat((x, y), 1)), torch.cat((first, second), 1))
    torch.testing.assert_close(function(x, first) + function(y, second), together)


# What it costs --------------------------------------------------------------------------------------------------------

C, H, W, K = 6, 7, 10, 3
"""Channels, height, width and kernel of the formulas."""
P, Q = H * W, 4 * 5
"""Pixels, and pixels at stride 2: ceil(7 / 2) x ceil(10 / 2)."""

COSTS: Mapping[str, tuple[str, Mapping[str, Any], int, int, int]] = {
    # operation, parameters: number of weights, FLOPs of convolutions and matrices, all other FLOPs
    "conv": ("conv", {"kernel": 3}, K * K * C * C + 2 * C, 2 * K * K * C * C * P, C * P + 2 * C * P),
    "conv at stride 2": (
        "conv",
        {"kernel": 3, "stride": 2},
        K * K * C * C + 2 * C,
        2 * K * K * C * C * Q,
        C * P + 2 * C * Q,
    ),
    "sep_conv": (
        "sep_conv",
        {"kernel": 3},
        2 * (K * K * C + C * C + 2 * C),
        2 * (2 * K * K * C * P + 2 * C * C * P),
        2 * (C * P + 2 * C * P),
    ),
    "sep_conv at stride 2": (
        "sep_conv",
        {"kernel": 3, "stride": 2},
        2 * (K * K * C + C * C + 2 * C),
        2 * (2 * K * K * C * Q + 2 * C * C * Q),
        C * P + 2 * C * Q + C * Q + 2 * C * Q,
    ),
    "sep_conv once": (
        "sep_conv",
        {"kernel": 3, "repeat": 1},
        K * K * C + C * C + 2 * C,
        2 * K * K * C * P + 2 * C * C * P,
        3 * C * P,
    ),
    "dil_conv": (
        "dil_conv",
        {"kernel": 3, "dilation": 4},
        K * K * C + C * C + 2 * C,
        2 * K * K * C * P + 2 * C * C * P,
        3 * C * P,
    ),
    "avg_pool": ("avg_pool", {"kernel": 3}, 0, 0, 9 * C * P),
    "max_pool at stride 2": ("max_pool", {"kernel": 5, "stride": 2}, 0, 0, 25 * C * Q),
    "zero": ("zero", {"stride": 2}, 0, 0, 0),
    # hidden: 6 // 2 = 3; means, gates (ReLU 3, sigmoid 6, biases 9) and product
    "se": ("se", {"ratio": 2}, 2 * 3 * C + 3 + C, 2 * 2 * 3 * C, C * P + 3 + C + 3 + C + C * P),
    "se at stride 2": (
        "se",
        {"ratio": 2, "stride": 2},
        2 * 3 * C + 3 + C,
        2 * 2 * 3 * C,
        C * P + 3 + C + 3 + C + C * P + 4 * C * Q,
    ),
    "stem": ("stem", {"out": 8}, 9 * C * 8 + 16, 2 * 9 * C * 8 * P, 2 * 8 * P),
    "pointwise": ("pointwise", {"out": 8}, C * 8 + 16, 2 * C * 8 * P, 2 * 8 * P + 8 * P),
    "calibrate": ("calibrate", {"out": 8}, C * 8 + 16, 2 * C * 8 * P, C * P + 2 * 8 * P),
    "factorised_reduction": ("factorised_reduction", {}, C * C + 2 * C, 2 * C * C * Q, 2 * C * Q),
    "factorised_reduction to 9, ReLU": (
        "factorised_reduction",
        {"out": 9, "relu": True},
        C * 9 + 18,
        2 * C * 9 * Q,
        C * P + 2 * 9 * Q,
    ),
    "project": ("project", {}, C * C, 2 * C * C * P, C * P),
    "batch_norm": ("batch_norm", {}, 2 * C, 0, 2 * C * P),
    "rectify": ("rectify", {}, 0, 0, C * P),
}


@pytest.mark.parametrize("case", COSTS)
def test_parameters_and_flops_are_those_of_the_formulas(case: str) -> None:
    name, parameters, n_weights, matrices, others = COSTS[case]
    function, weights, operation, config = bind(name, (C, H, W), **parameters)
    assert sum(weight.numel() for weight in weights) == n_weights
    assert operation.flops(config, [(C, H, W)]) == matrices + others
    with FlopCounterMode(display=False) as counter:
        function(images((C, H, W), 2), *weights)
    # The reduction runs as a convolution three quarters of whose weights are zeros, which torch counts.
    assert counter.get_total_flops() == 2 * matrices * (4 if name == "factorised_reduction" else 1)


def test_every_operation_has_a_formula() -> None:
    assert {name for name, *_ in COSTS.values()} == set(BY_NAME)


@pytest.mark.parametrize("case", COSTS)
def test_uniform_weights_are_drawn_by_the_number_of_inputs_that_are_summed(case: str) -> None:
    name, parameters, *_ = COSTS[case]
    _, _, operation, config = bind(name, (C, H, W), **parameters)
    for spec in operation.weights(config, [(C, H, W)]):
        if len(spec.shape) > 1:
            assert (spec.init, spec.fan_in) == ("uniform", math.prod(spec.shape[1:]))
        else:
            assert spec.init == ("ones" if spec.name.startswith("scale") else "zeros")


# What users may write -------------------------------------------------------------------------------------------------

CATALOGUE = Catalogue().extended("nasforge", {"operations": builtins.nasforge_operations()})


def test_images_choose_from_these() -> None:
    named = {name for name, each in CATALOGUE.operations.items() if "image" in each.families}
    assert named == {"conv", "sep_conv", "dil_conv", "avg_pool", "max_pool", "identity", "zero", "se"}


@pytest.mark.parametrize(
    ("written", "use"),
    [
        ({"conv": {"kernel": 3}}, OperationUse("conv", (("kernel", 3),))),
        ({"sep_conv": {"kernel": 5}}, OperationUse("sep_conv", (("kernel", 5),))),
        ({"dil_conv": {"kernel": 3}}, OperationUse("dil_conv", (("kernel", 3), ("dilation", 2)))),
        ({"max_pool": {"kernel": 3}}, OperationUse("max_pool", (("kernel", 3),))),
        ("se", OperationUse("se", (("ratio", 4),))),
        ("zero", OperationUse("zero")),
        ("identity", OperationUse("identity")),
    ],
)
def test_a_use_holds_what_users_write_and_no_stride(written: object, use: OperationUse) -> None:
    assert parse_operation(written, CATALOGUE.operations, "image") == use


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        *[("conv", {"kernel": kernel}) for kernel in (2, 0, -1, 13, 4.0, "3", True, None)],
        *[("max_pool", {"kernel": kernel}) for kernel in (1, 2, 13)],
        *[("dil_conv", {"kernel": 3, "dilation": dilation}) for dilation in (1, 17, 2.5)],
        ("conv", {"kernel": 3, "stride": 3}),
        ("sep_conv", {"kernel": 3, "repeat": 3}),
        ("se", {"ratio": 0}),
        ("stem", {}),
        ("stem", {"out": 0}),
        ("factorised_reduction", {"out": 1}),
    ],
)
def test_parameters_out_of_range_are_refused(name: str, parameters: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BY_NAME[name].config.model_validate(parameters)
