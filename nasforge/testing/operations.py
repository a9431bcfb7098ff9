"""What every operation must hold to, as checks and as a test class.

A plugin runs it by one subclass::

    class TestMine(OperationContract):
        module = "my_plugin.operations"
        operations = OPERATIONS

Operations other than activations, and those whose parameters have no defaults, also need `cases`. A shape of three
numbers, (channels, height, width), says that the operation works on images: its values then have one leading dimension,
the batch, instead of time and batch, and the memory format is checked too.
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
from nasforge.graph.uses import operation_options, parameter_set
from nasforge.resolve import resolve

_SEQUENCES = (2, 3)
"""Time steps and sequences of the values that the checks use."""
_IMAGES = (3,)
"""Images of the values that the checks use."""

Function = Callable[..., Tensor]


@dataclass(frozen=True)
class OperationCase:
    """One use of an operation.

    Attributes:
        inputs: the shape of every input, without leading dimensions; None for one that is absent.
        parameters: values of its config.
        parts: operations that it is made of, without parameters.
    """

    inputs: tuple[Shape | None, ...] = ((4,),)
    parameters: Mapping[str, Any] | None = None
    parts: tuple[Operation, ...] = ()


@dataclass(frozen=True)
class _Bound:
    """A case that is ready to run: `function` and `exported` take the inputs, then the weights.

    Among the weights are scale and offset of each batch norm, which is bound with fixed statistics: all that an
    operation may do with the batch is what its norms do.
    """

    operation: Operation
    config: Options
    function: Function
    exported: Function
    shapes: tuple[Shape, ...]
    case: OperationCase

    @property
    def of_images(self) -> bool:
        return len(self.shapes[0]) == 3

    @property
    def leading(self) -> Shape:
        """The leading dimensions of values; the last one is the batch."""
        return _IMAGES if self.of_images else _SEQUENCES

    def values(self, seed: int) -> tuple[list[Tensor | None], list[Tensor]]:
        """Random inputs with leading dimensions, and random weights, in float64."""
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        inputs = [None if shape is None else draw(*self.leading, *shape) for shape in self.case.inputs]
        return inputs, [draw(*spec.shape) for spec in parameter_set(self.operation, self.config, self.shapes)]


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
    specs, norms = operation.weights(config, shapes), operation.norms(config, shapes)
    inputs = [f"input_{i}" for i in range(len(shapes))]
    weights = [f"weight_{i}" for i in range(len(specs))]
    norm_names = [f"norm_{i}" for i in range(len(norms))]
    part_sources = [_part_source(part, operations) for part in parts]
    expression = operation.source(config, inputs, [*weights, *norm_names], part_sources)
    helpers = dict.fromkeys(text for each in (operation, *case.parts) for text in each.helpers)
    imports = "import math\n\nimport torch\nfrom torch.nn import functional as F\n"
    function = f"def function({', '.join([*inputs, *weights, *norm_names])}):\n    return {expression}\n"
    module = import_source("\n\n".join([imports, *helpers, function]), folder)
    given = len(inputs) + len(weights)
    bound, exported = (_with_norms(each, given) for each in (operation_function(use, operations), module.function))
    return _Bound(operation, config, bound, exported, shapes, case)


def _with_norms(function: Function, given: int) -> Function:
    """`function` with a norm of fixed statistics for each pair of scale and offset behind the `given` values."""

    def called(*values: Tensor | None) -> Tensor:
        pairs = list(zip(values[given::2], values[given + 1 :: 2], strict=True))
        return function(*values[:given], *(_fixed_norm(scale, offset) for scale, offset in pairs))

    return called


def _fixed_norm(scale: Tensor | None, offset: Tensor | None) -> Callable[[Tensor], Tensor]:
    assert scale is not None and offset is not None
    mean, variance = torch.full_like(scale, 0.25), torch.full_like(scale, 2.0)
    return lambda x: torch.nn.functional.batch_norm(x, mean, variance, scale, offset, False)


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
    declared = (*bound.leading, *bound.operation.shape(bound.config, bound.shapes))
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

    def result(change: Callable[[Tensor], Tensor]) -> Tensor:
        return bound.function(*(None if each is None else change(each) for each in inputs), *weights)

    whole = result(lambda value: value)
    batch, size = len(bound.leading) - 1, bound.leading[-1]
    if not bound.of_images:
        for t in range(bound.leading[0]):
            _assert_close(bound, result(lambda value, t=t: value[t]), whole[t], "one time step alone")  # type: ignore[misc]
    for i in range(size):
        found = result(lambda value, i=i: value.narrow(batch, i, 1))  # type: ignore[misc]
        _assert_close(bound, found, whole.narrow(batch, i, 1), "one example alone")


def _memory_format_is_kept(bound: _Bound) -> None:
    if not bound.of_images:
        return
    inputs, weights = bound.values(0)
    last = [None if each is None else each.contiguous(memory_format=torch.channels_last) for each in inputs]
    found = bound.function(*last, *weights)
    kept = found.is_contiguous(memory_format=torch.channels_last)
    assert kept, f"{bound.operation.name}: does not keep the memory format: strides {found.stride()} of {found.shape}"
    _assert_close(bound, bound.function(*inputs, *weights), found, "the other memory format")


def _gradients_are_finite(bound: _Bound) -> None:
    inputs, weights = bound.values(0)
    zeros = [None if each is None else torch.zeros_like(each) for each in inputs]
    for values in (inputs, zeros):
        leaves = [None if each is None else each.requires_grad_() for each in (*values, *weights)]
        result = bound.function(*leaves)
        if not result.requires_grad:
            other, _ = bound.values(1)
            constant = torch.equal(bound.function(*other, *weights), result)
            assert constant, f"{bound.operation.name}: no gradient reaches its inputs, on which its value depends"
            continue
        result.square().sum().backward()  # type: ignore[no-untyped-call]
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


def _derivative_is_that_of_autograd(bound: _Bound) -> None:
    if not bound.operation.derivative:
        return
    derivative: Function = resolve(bound.operation.derivative)(bound.config)
    for seed in range(5):
        (value,), _ = bound.values(seed)
        assert value is not None
        x = value.requires_grad_()
        y = bound.function(x)
        (expected,) = torch.autograd.grad(y.sum(), x)
        _assert_close(bound, derivative(x.detach(), y.detach()), expected, "autograd ('derivative')")


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
        _memory_format_is_kept,
        _gradients_are_finite,
        _float64_and_float32_are_kept,
        _derivative_is_that_of_autograd,
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
