"""The contract of operations, run over the built-in ones, and shown to catch what breaks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from nasforge.components import NoOptions, Operation, Options, activation
from nasforge.ops.recurrent import OPERATIONS
from nasforge.testing.operations import OperationCase, OperationContract, check_operation

BY_NAME = {each.name: each for each in OPERATIONS}
HIGHWAY = tuple(OperationCase(((4,), (8,)), parts=(BY_NAME[name],)) for name in ("tanh", "relu", "sigmoid", "identity"))


class TestRecurrent(OperationContract):
    module = "nasforge.ops.recurrent"
    operations = OPERATIONS
    cases: ClassVar[Mapping[str, Sequence[OperationCase]]] = {
        "projection": (OperationCase(parameters={"bias": False}), OperationCase(parameters={"bias": True})),
        "highway": HIGHWAY,
        "add": (OperationCase(((4,), (4,))),),
        "mask": (OperationCase(((4,), (4,))), OperationCase(((4,), None))),
        # Rows of four normal numbers have norms around 2: some are clipped, some are not.
        "clip_norm": (OperationCase(parameters={"max_norm": 2.0}), OperationCase(parameters={"max_norm": 25.0})),
    }


class Slope(Options):
    slope: float = 0.1


def leaky(config: Slope) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.where(x > 0, x, config.slope * x)


def detached(config: NoOptions) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.relu(x.detach())


def five(config: NoOptions) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.full_like(x, 5, requires_grad=False)


def in_place(config: NoOptions) -> Callable[[Tensor], Tensor]:
    return lambda x: x.detach().mul_(2) + 0 * x


def counting(config: NoOptions) -> Callable[[Tensor], Tensor]:
    calls: list[int] = []

    def function(x: Tensor) -> Tensor:
        calls.append(1)
        return x * len(calls)

    return function


def across_time(config: NoOptions) -> Callable[[Tensor], Tensor]:
    return lambda x: x - x.mean(0, keepdim=True)


def across_batch(config: NoOptions) -> Callable[[Tensor], Tensor]:
    return lambda x: x - x.mean(-2, keepdim=True)


def across_images(config: NoOptions) -> Callable[[Tensor], Tensor]:
    return lambda x: x - x.mean((0, 2, 3), keepdim=True)


def neighbours(config: NoOptions) -> Callable[[Tensor], Tensor]:
    return lambda x: x - x.roll(1, 0)


def rows_first(config: NoOptions) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.relu(x).contiguous()


def root(config: NoOptions) -> Callable[[Tensor], Tensor]:
    return lambda x: x.abs().sqrt()


def single(config: NoOptions) -> Callable[[Tensor], Tensor]:
    return lambda x: x.float()


def halves(config: NoOptions) -> Callable[[Tensor], Tensor]:
    return lambda x: x.chunk(2, -1)[0]


GOOD = activation("leaky", "a rectifier with a slope", f"{__name__}:leaky", "F.leaky_relu({x}, {slope})", config=Slope)


def _bad(function: Callable[..., object], source: str = "{x}") -> Operation:
    return activation("bad", "breaks a rule", f"{__name__}:{function.__name__}", source)


def test_an_activation_with_parameters_passes() -> None:
    check_operation(GOOD, [OperationCase(), OperationCase(parameters={"slope": 0.25})])


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (activation("bad", "", f"{__name__}:leaky", "torch.relu({x})", config=Slope), "source does not give"),
        (_bad(in_place, "2 * {x}"), "in place"),
        (_bad(counting), "keeps a state|source does not give"),
        (_bad(across_time, "{x} - {x}.mean(0, keepdim=True)"), "one time step alone"),
        (_bad(across_batch, "{x} - {x}.mean(-2, keepdim=True)"), "one example alone"),
        (_bad(detached, "torch.relu({x})"), "no gradient reaches its inputs, on which"),
        (_bad(root, "{x}.abs().sqrt()"), "gradient is not finite"),
        (_bad(single, "{x}.float()"), "float32"),
        (_bad(halves, "{x}.chunk(2, -1)[0]"), "'shape' says"),
        (replace(GOOD, flops=lambda config, shapes: -1), "'flops' must be a count"),
        (replace(GOOD, flops=lambda config, shapes: True), "'flops' must be a count"),
    ],
)
def test_each_broken_rule_is_found(operation: Operation, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_operation(operation)


IMAGES = [OperationCase(((2, 4, 4),))]
ACROSS = _bad(across_images, "{x} - {x}.mean((0, 2, 3), keepdim=True)")
NEIGHBOURS = _bad(neighbours, "{x} - {x}.roll(1, 0)")


def test_a_constant_needs_no_gradient() -> None:
    check_operation(_bad(five, "torch.full_like({x}, 5)"))


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (ACROSS, "one example alone"),
        (NEIGHBOURS, "one example alone"),
        (_bad(rows_first, "torch.relu({x})"), "memory format"),
    ],
)
def test_each_broken_rule_of_images_is_found(operation: Operation, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_operation(operation, IMAGES)
