"""The time loop in C++ behind the interface of `nasforge.executors.loops`: bound by ctypes, on the CPU.

`cell.cpp` multiplies matrices with the BLAS inside of torch, whose ``sgemm_`` and ``dgemm_`` it gets as pointers.
"""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from nasforge.executors.kernels import OWN, Kernel
from nasforge.executors.loops import Loops, PythonLoops, Run
from nasforge.executors.lowering import Cell, CellNode
from nasforge.executors.native_build import NativeUnavailable
from nasforge.executors.recurrence import run_cell
from nasforge.executors.workspace import WorkspacePool

_LAYOUT = 1
_TYPES = {torch.float32: ("float", "sgemm_"), torch.float64: ("double", "dgemm_")}


class _Node(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("source", "activation", "is_source", "is_leaf")),
        *((name, ctypes.c_void_p) for name in ("weight", "gates", "state", "masked", "gradient")),
        ("touched", ctypes.c_int64),
    )


class _Run(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("steps", "batch", "width", "nodes", "leaves", "keep")),
        ("limit", ctypes.c_double),
        ("gemm", ctypes.c_void_p),
        ("node", ctypes.POINTER(_Node)),
        *((name, ctypes.c_void_p) for name in ("mask", "projected", "history", "history_masked", "norms")),
        *((name, ctypes.c_void_p) for name in ("given", "carry", "total", "through")),
    )


class NativeLoops(Loops):
    """In C++ for float32 and float64 on the CPU and the activations of nasforge; in torch calls for all else.

    Args:
        path: the library.

    Raises:
        NativeUnavailable: it cannot be loaded, or is not the one that this module knows, or torch's BLAS is not found.
    """

    def __init__(self, path: Path) -> None:
        self._other = PythonLoops()
        try:
            library = ctypes.CDLL(str(path))
            layout = library.nasforge_layout()
            if layout != _LAYOUT:
                raise NativeUnavailable(f"{path} has layout {layout}, {_LAYOUT} is needed")
            blas = _blas()
            self._gemm = {
                dtype: ctypes.cast(getattr(blas, name), ctypes.c_void_p) for dtype, (_, name) in _TYPES.items()
            }
            self._forward, self._backward = (
                {dtype: getattr(library, f"nasforge_{way}_{name}") for dtype, (name, _) in _TYPES.items()}
                for way in ("forward", "backward")
            )
        except (OSError, AttributeError) as error:
            raise NativeUnavailable(
                f"{error}; delete {path}, so that it is built anew, or use executor.backend: python"
            ) from error
        for function in (*self._forward.values(), *self._backward.values()):
            function.argtypes, function.restype = (ctypes.POINTER(_Run),), None

    def lacks(self, cell: Cell) -> str:
        """See `Loops`."""
        return "" if _covers(cell) else "an activation of a plugin has no form in C++"

    def forward(self, run: Run) -> None:
        """See `Loops`."""
        if not _fits(run):
            self._other.forward(run)
            return
        self._forward[run.history.dtype](ctypes.byref(self._described(run)))

    def backward(self, run: Run, gradient: Tensor) -> Tensor:
        """See `Loops`."""
        if not _fits(run):
            return self._other.backward(run, gradient)
        described, space, n_nodes = self._described(run), run.workspace, len(run.cell.nodes)
        carry, total, through = (space.gradient(n_nodes + k) for k in range(3))
        for i in range(n_nodes):
            described.node[i].gradient = space.gradient(i).data_ptr()
        described.given = gradient.data_ptr()
        described.carry, described.total, described.through = (each.data_ptr() for each in (carry, total, through))
        self._backward[run.history.dtype](ctypes.byref(described))
        return carry.clone()

    def _described(self, run: Run) -> _Run:
        cell, space = run.cell, run.workspace
        steps, batch, _ = run.projected.shape
        masked = run.mask is not None
        sources = {node.source for node in cell.nodes}
        nodes = (_Node * len(cell.nodes))()
        for i, (node, weight) in enumerate(zip(cell.nodes, run.weights, strict=True)):
            buffers, to = space.nodes[i], nodes[i]
            to.source, to.activation = node.source, _CODES[type(node.kernel)]
            to.is_source, to.is_leaf = i in sources, i in cell.leaves
            to.weight, to.gates, to.state = weight.data_ptr(), buffers.gates.data_ptr(), buffers.state.data_ptr()
            to.masked = buffers.masked.data_ptr() if masked and i in sources else None
        return _Run(
            steps=steps,
            batch=batch,
            width=cell.width,
            nodes=len(cell.nodes),
            leaves=len(cell.leaves),
            keep=run.keep,
            limit=cell.limit or 0.0,
            gemm=self._gemm[run.history.dtype],
            node=nodes,
            mask=run.mask.data_ptr() if run.mask is not None else None,
            projected=run.projected.data_ptr(),
            history=run.history.data_ptr(),
            history_masked=space.history_masked.data_ptr() if masked else None,
            norms=space.norms.data_ptr(),
        )


_CODES: dict[type[Kernel], int] = {
    OWN[f"nasforge.ops.recurrent_torch:{name}"]: code
    for code, name in enumerate(("tanh", "relu", "sigmoid", "identity"))
}
"""As `cell.cpp` numbers them."""


def _covers(cell: Cell) -> bool:
    return all(type(node.kernel) in _CODES for node in cell.nodes)


def _fits(run: Run) -> bool:
    """Whether the C++ loop can do this run; the same for its forward and its backward."""
    tensors = [run.projected, run.history, *run.weights, *([] if run.mask is None else [run.mask])]
    steps, batch, width = len(run.projected), run.history.shape[1], run.cell.width
    # In C++ nothing is broadcast, and nothing is looked at twice.
    shapes = [(steps, batch, 2 * width), (steps + 1, batch, width), *[(width, 2 * width)] * len(run.weights)]
    shapes += [] if run.mask is None else [(batch, width)]
    return [tuple(each.shape) for each in tensors] == shapes and (
        _covers(run.cell)
        and run.history.dtype in _TYPES
        and all(
            each.is_contiguous() and each.device.type == "cpu" and each.dtype == run.history.dtype for each in tensors
        )
    )


def _blas() -> ctypes.CDLL:
    """The library that brings torch's BLAS: symbols of what it is linked with are found as well."""
    folder = Path(torch.__file__).parent / "lib"
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        if (folder / name).exists():
            return ctypes.CDLL(str(folder / name))
    raise NativeUnavailable(f"{folder} holds no libtorch_cpu")


# The self-test --------------------------------------------------------------------------------------------------------


def self_test(path: Path) -> None:
    """Compare a library with the loop in Python: outputs, gradients, closed gates, and what is not a number.

    Raises:
        NativeUnavailable: they differ, or it cannot be loaded.
    """
    loops = NativeLoops(path)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 2e-4)):
        for limit in (None, 0.7):
            for masked in (False, True):
                found, expected = (_results(each, dtype, limit, masked) for each in (loops, PythonLoops()))
                for one, other in zip(found, expected, strict=True):
                    if not torch.allclose(one, other, rtol=tolerance, atol=tolerance):
                        raise NativeUnavailable(
                            f"it differs from the loop in Python by {(one - other).abs().max():.2g}"
                        )
        _test_ends(loops, dtype)


def _cell(dtype: torch.dtype, width: int, limit: float | None) -> Cell:
    """One node of every activation; two leaves, one node that two read."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> nn.Parameter:
        return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64).mul(0.4).to(dtype))

    sources = (-1, 0, 1, 1)
    kernels = [kernel() for kernel in _CODES]
    nodes = tuple(CellNode(s, k, drawn(width, 2 * width)) for s, k in zip(sources, kernels, strict=True))
    return Cell(width, nodes, drawn(width, 2 * width), drawn(2 * width), (2, 3), limit)


def _results(loops: Loops, dtype: torch.dtype, limit: float | None, masked: bool) -> list[Tensor]:
    steps, batch, width = 4, 3, 19
    cell = _cell(dtype, width, limit)
    generator = torch.Generator().manual_seed(1)
    inputs, state, weight = (
        torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)
        for shape in ((steps, batch, width), (batch, width), (steps, batch, width))
    )
    mask = (torch.rand(batch, width, generator=generator) > 0.4).to(dtype) * 1.5 if masked else None
    assert cell.bias is not None
    leaves = [inputs.requires_grad_(), state.requires_grad_(), cell.from_x, cell.bias, *(n.weight for n in cell.nodes)]
    output = run_cell(cell, loops, WorkspacePool(), inputs, state, mask)
    with torch.no_grad():
        unkept = run_cell(cell, loops, WorkspacePool(), inputs, state, mask)
    return [output.detach(), unkept, *torch.autograd.grad((output * weight).sum(), leaves)]


def _test_ends(loops: Loops, dtype: torch.dtype) -> None:
    cell = _cell(dtype, 19, None)
    state = torch.full((2, 19), 0.25, dtype=dtype)
    for size in (1e3, -1e3):
        with torch.no_grad():
            for node in cell.nodes:
                node.weight.zero_()
            assert cell.bias is not None
            # So large that it is seen through a gate that is not quite closed.
            cell.bias[:19], cell.bias[19:] = 1e30, size
            node = replace(cell.nodes[-1], source=-1)
            single = Cell(19, (node,), cell.from_x, cell.bias, (0,), None)
            inputs = torch.zeros(1, 2, 19, dtype=dtype)
            output = run_cell(single, loops, WorkspacePool(), inputs, state, None)[0]
            if not torch.equal(output, torch.full_like(state, 1e30) if size > 0 else state):
                raise NativeUnavailable("its gates do not close and open exactly")
            inputs[0, 0, 0] = float("nan")
            if not run_cell(single, loops, WorkspacePool(), inputs, state, None)[0, 0].isnan().all():
                raise NativeUnavailable("it hides what is not a number")


def main(arguments: list[str]) -> int:
    """The self-test as a process: the last argument is the library."""
    try:
        self_test(Path(arguments[-1]))
    except NativeUnavailable as error:
        print(error)
        return 1
    return 0
