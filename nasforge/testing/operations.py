"""What every operation must hold to, as checks and as a test class.

A plugin runs it by one subclass::

    class TestMine(OperationContract):
        module = "my_plugin.operations"
        operations = OPERATIONS

Operations other than activations, and those whose parameters have no defaults, also need `cases`.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from nasforge.components import Operation, Options, Shape
from nasforge.data.files import write_text_atomically
from nasforge.executors.resolve import operation_function
from nasforge.graph.supergraph import OperationUse
from nasforge.graph.uses import operation_options

_LEADING = (3, 2)
"""Time steps and sequences of the values that the checks use."""

Function = Callable[..., Tensor]


@dataclass(frozen=True)
class OperationCase:
    """One use of an operation.

    Attributes:
        inputs: the shape of every input, without time and batch; None for one that is absent.
        parameters: values of its config.
        parts: operations that it is made of, without parameters.
    """

    inputs: tuple[Shape | None, ...] = ((4,),)
    parameters: Mapping[str, Any] | None = None
    parts: tuple[Operation, ...] = ()


@dataclass(frozen=True)
class _Bound:
    """A case that is ready to run: `function` and `exported` take the inputs, then the weights."""

    operation: Operation
    config: Options
    function: Function
    exported: Function
    shapes: tuple[Shape, ...]
    case: OperationCase

    def values(self, seed: int, leading: Shape = _LEADING) -> tuple[list[Tensor | None], list[Tensor]]:
        """Random inputs with leading dimensions, and random weights, in float64."""
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        inputs = [None if shape is None else draw(*leading, *shape) for shape in self.case.inputs]
        return inputs, [draw(*spec.shape) for spec in self.operation.weights(self.config, self.shapes)]


def check_operation(operation: Operation, cases: Sequence[OperationCase] = (OperationCase(),)) -> None:
    """Run every check of one operation.

    Args:
        operation: what is checked.
        cases: uses of it; by default one input of four features and default parameters.

    Raises:
        AssertionError: a check fails; the message names the operation and the rule.
    """
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            bound = _bind(operation, case, Path(folder))
        for check in CHECKS.values():
            check(bound)


def import_source(source: str, folder: Path, name: str = "exported_source") -> ModuleType:
    """Write `source` into `folder` as a module and import it, without entering it among the imported modules."""
    path = folder / f"{name}.py"
    write_text_atomically(path, source)
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def _bind(operation: Operation, case: OperationCase, folder: Path) -> _Bound:
    operations = {each.name: each for each in (operation, *case.parts)}
    parts = tuple(OperationUse(part.name) for part in case.parts)
    use = OperationUse(operation.name, tuple((case.parameters or {}).items()), parts)
    config = operation_options(use, operations)
    # An input that is absent is a mask: it has the shape of what it would mask.
    present = next(shape for shape in case.inputs if shape is not None)
    shapes = tuple(present if shape is None else shape for shape in case.inputs)
    specs = operation.weights(config, shapes)
    inputs = [f"input_{i}" for i in range(len(shapes))]
    weights = [f"weight_{i}" for i in range(len(specs))]
    expression = operation.source(config, inputs, weights, [_part_source(part, operations) for part in parts])
    helpers = dict.fromkeys(text for each in (operation, *case.parts) for text in each.helpers)
    imports = "import math\n\nimport torch\nfrom torch.nn import functional as F\n"
    function = f"def function({', '.join([*inputs, *weights])}):\n    return {expression}\n"
    module = import_source("\n\n".join([imports, *helpers, function]), folder)
    return _Bound(operation, config, operation_function(use, operations), module.function, shapes, case)


def _part_source(part: OperationUse, operations: Mapping[str, Operation]) -> Callable[[str], str]:
    def source(value: str) -> str:
        return operations[part.name].source(operation_options(part, operations), [value], [], [])

    return source


def _function_equals_exported_source(bound: _Bound) -> None:
    for seed in range(5):
        inputs, weights = bound.values(seed)
        _assert_close(bound, bound.exported(*inputs, *weights), bound.function(*inputs, *weights), "source")


def _shape_is_as_declared(bound: _Bound) -> None:
    inputs, weights = bound.values(0)
    found = tuple(bound.function(*inputs, *weights).shape)
    declared = (*_LEADING, *bound.operation.shape(bound.config, bound.shapes))
    assert found == declared, f"{bound.operation.name}: gives the shape {found}, but 'shape' says {declared}"


def _flops_is_a_count(bound: _Bound) -> None:
    flops = bound.operation.flops(bound.config, bound.shapes)
    assert type(flops) is int and flops >= 0, f"{bound.operation.name}: 'flops' must be a count, gives {flops!r}"


def _calls_leave_nothing_behind(bound: _Bound) -> None:
    inputs, weights = bound.values(0)
    before = [None if each is None else each.clone() for each in (*inputs, *weights)]
    first = bound.function(*inputs, *weights).clone()
    for old, new in zip(before, (*inputs, *weights), strict=True):
        same = new is None if old is None else new is not None and torch.equal(old, new)
        assert same, f"{bound.operation.name}: changes its inputs or weights in place"
    bound.function(*bound.values(1)[0], *weights)
    second = bound.function(*inputs, *weights)
    assert torch.equal(first, second), f"{bound.operation.name}: equal calls give different values, so it keeps a state"


def _leading_dimensions_are_independent(bound: _Bound) -> None:
    inputs, weights = bound.values(0)
    whole = bound.function(*inputs, *weights)
    for t in range(_LEADING[0]):
        at_t = [None if each is None else each[t] for each in inputs]
        _assert_close(bound, bound.function(*at_t, *weights), whole[t], "one time step alone")


def _gradients_are_finite(bound: _Bound) -> None:
    inputs, weights = bound.values(0)
    zeros = [None if each is None else torch.zeros_like(each) for each in inputs]
    for values in (inputs, zeros):
        leaves = [None if each is None else each.requires_grad_() for each in (*values, *weights)]
        bound.function(*leaves).square().sum().backward()  # type: ignore[no-untyped-call]
        gradients = [each.grad for each in leaves if each is not None and each.grad is not None]
        assert gradients, f"{bound.operation.name}: no gradient reaches its inputs"
        finite = all(bool(gradient.isfinite().all()) for gradient in gradients)
        assert finite, f"{bound.operation.name}: a gradient is not finite"


def _float64_and_float32_are_kept(bound: _Bound) -> None:
    inputs, weights = bound.values(0)
    for dtype in (torch.float64, torch.float32):
        values = [None if each is None else each.to(dtype) for each in (*inputs, *weights)]
        found = bound.function(*values).dtype
        assert found == dtype, f"{bound.operation.name}: turns {dtype} into {found}"


def _assert_close(bound: _Bound, found: Tensor, expected: Tensor, what: str) -> None:
    same = found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-10, atol=1e-12, equal_nan=True)
    assert same, f"{bound.operation.name}: {what} does not give what 'build' gives:\n{found}\n{expected}"


CHECKS: Mapping[str, Callable[[_Bound], None]] = {
    check.__name__.removeprefix("_"): check
    for check in (
        _function_equals_exported_source,
        _shape_is_as_declared,
        _flops_is_a_count,
        _calls_leave_nothing_behind,
        _leading_dimensions_are_independent,
        _gradients_are_finite,
        _float64_and_float32_are_kept,
    )
}
"""The checks of one use of an operation, by name."""


def _test_name(operation: Operation, case: OperationCase) -> str:
    return operation.name + "".join(f"-{key}={value}" for key, value in (case.parameters or {}).items())


class OperationContract:
    """Tests of the protocol in `nasforge.components.Operation`.

    Attributes:
        module: the dotted name of the module that declares the operations.
        operations: what is tested.
        cases: uses by the operation's name, where the default of `check_operation` does not fit.
    """

    module: ClassVar[str]
    operations: ClassVar[Sequence[Operation]]
    cases: ClassVar[Mapping[str, Sequence[OperationCase]]] = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each check of each use of each operation."""
        if "case" in metafunc.fixturenames:
            uses = [(each, case) for each in self.operations for case in self.cases.get(each.name, (OperationCase(),))]
            metafunc.parametrize(("operation", "case"), uses, ids=[_test_name(*use) for use in uses])

    @pytest.mark.parametrize("check", CHECKS)
    def test_operation(self, operation: Operation, case: OperationCase, check: str, tmp_path: Path) -> None:
        """Each of `CHECKS`."""
        CHECKS[check](_bind(operation, case, tmp_path))

    def test_names_differ(self) -> None:
        """A catalogue has no two operations of one name."""
        names = [each.name for each in self.operations]
        assert len(set(names)) == len(names)

    def test_declaring_does_not_import_torch(self) -> None:
        """The command line lists operations without waiting for torch."""
        code = f"import sys, {self.module}; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
