"""The plugin as nasforge sees it: what it registers, and that each function equals its formula."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from nasforge_activations.declarations import OPERATIONS, nasforge_operations
from pydantic import ValidationError
from torch import Tensor

from nasforge.components import Operation
from nasforge.testing.operations import import_source

BY_NAME = {operation.name: operation for operation in OPERATIONS}

FORMULAS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2,
    "swish": lambda x: x / (1 + torch.exp(-x)),
    "softsign": lambda x: x / (1 + x.abs()),
    "sine": lambda x: torch.exp(1j * x).imag,
    "leaky_relu": lambda x: torch.where(x < 0, 0.01 * x, x),
}


def built(operation: Operation, **parameters: float) -> Callable[[Tensor], Tensor]:
    module, _, name = operation.build.partition(":")
    function: Callable[[Tensor], Tensor] = getattr(importlib.import_module(module), name)(
        operation.config.model_validate(parameters)
    )
    return function


def inputs() -> Tensor:
    return torch.linspace(-6, 6, 121, dtype=torch.float64).reshape(11, 11)


def test_five_activations_are_registered() -> None:
    assert [operation.name for operation in nasforge_operations()] == list(FORMULAS)
    assert {operation.families for operation in OPERATIONS} == {("activation",)}


def test_registration_imports_no_torch() -> None:
    code = "import sys, nasforge_activations.declarations as d; d.nasforge_operations(); print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", FORMULAS)
def test_a_function_equals_its_formula(name: str) -> None:
    torch.testing.assert_close(built(BY_NAME[name])(inputs()), FORMULAS[name](inputs()))


@pytest.mark.parametrize("name", FORMULAS)
def test_the_exported_expression_equals_the_function(name: str, tmp_path: Path) -> None:
    operation = BY_NAME[name]
    text = operation.source(operation.config(), ["x"], [], [])
    source = f"import torch\nfrom torch.nn import functional as F\n\n\ndef exported(x):\n    return {text}\n"
    value = import_source(source, tmp_path).exported(inputs())
    torch.testing.assert_close(value, built(operation)(inputs()), rtol=0, atol=0)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_function_is_element_wise_and_differentiable(name: str) -> None:
    function, x = built(BY_NAME[name]), inputs().requires_grad_()
    torch.testing.assert_close(function(x)[3, 4:5], function(x[3, 4:5]), rtol=0, atol=0)
    assert torch.autograd.gradcheck(function, (x[::3, ::4] + 0.01,))


def test_the_slope_is_used_and_written_into_the_expression() -> None:
    operation = BY_NAME["leaky_relu"]
    x = inputs()
    torch.testing.assert_close(built(operation, slope=0.25)(x), torch.where(x < 0, 0.25 * x, x))
    assert operation.source(operation.config.model_validate({"slope": 0.25}), ["h"], [], []) == "F.leaky_relu(h, 0.25)"


@pytest.mark.parametrize("slope", [-0.1, 1.5, "0.1", True, float("nan"), None])
def test_a_slope_outside_zero_to_one_is_refused(slope: object) -> None:
    with pytest.raises(ValidationError):
        BY_NAME["leaky_relu"].config.model_validate({"slope": slope})
