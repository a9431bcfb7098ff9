"""The native loop: its arithmetic, what it refuses, and how it is built and kept."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nasforge.executors import native as native_module
from nasforge.executors import native_build
from nasforge.executors.kernels import Kernel
from nasforge.executors.loops import Loops, PythonLoops
from nasforge.executors.lowering import Cell, CellNode
from nasforge.executors.native import _CODES, NativeLoops, self_test
from nasforge.executors.native_build import NativeUnavailable, build
from nasforge.executors.recurrence import run_cell
from nasforge.executors.workspace import WorkspacePool

TANH, RELU, SIGMOID, IDENTITY = _CODES


def one_node(kernel: type[Kernel], width: int, dtype: torch.dtype) -> Cell:
    """h' = lerp(h, f(x), 1): the candidate alone, for a gate that is wide open."""
    zeros = nn.Parameter(torch.zeros(width, 2 * width, dtype=dtype))
    from_x = torch.zeros(width, 2 * width, dtype=dtype)
    from_x[:, :width] = torch.eye(width, dtype=dtype)
    bias = torch.zeros(2 * width, dtype=dtype)
    bias[width:] = 1e3
    return Cell(width, (CellNode(-1, kernel(), zeros),), nn.Parameter(from_x), nn.Parameter(bias), (0,), None)


def values(loops: Loops, kernel: type[Kernel], x: Tensor) -> Tensor:
    with torch.no_grad():
        cell = one_node(kernel, len(x), x.dtype)
        return run_cell(cell, loops, WorkspacePool(), x[None, None], torch.zeros_like(x)[None], None)[0, 0]


@pytest.mark.parametrize("kernel", [TANH, SIGMOID, RELU, IDENTITY])
def test_activations_are_exact_to_a_few_units_in_the_last_place_everywhere(native: Loops, kernel: type[Kernel]) -> None:
    size = torch.logspace(-30, 2.5, 2000, dtype=torch.float64)
    x = torch.cat([-size.flip(0), torch.zeros(1, dtype=torch.float64), size]).float()
    exact = values(PythonLoops(), kernel, x.double())
    found = values(native, kernel, x).double()
    error = ((found - exact).abs() / exact.abs().clamp_min(1e-31)).max()
    assert error < 4e-7
    ends = torch.tensor([-1e3, 1e3, float("-inf"), float("inf"), -0.0])
    assert torch.equal(values(native, kernel, ends[:2]), values(PythonLoops(), kernel, ends[:2]))
    assert values(native, kernel, torch.tensor([float("nan"), 1.0])).isnan().tolist() == [True, True]


def test_more_than_64_nodes(native: Loops) -> None:
    width, dtype = 3, torch.float64
    generator = torch.Generator().manual_seed(0)

    def weight() -> nn.Parameter:
        return nn.Parameter(torch.randn(width, 2 * width, generator=generator, dtype=dtype) * 0.5)

    nodes = [CellNode(-1, TANH(), weight())]
    nodes += [CellNode(i // 2, (TANH, SIGMOID)[i % 2](), weight()) for i in range(99)]
    leaves = tuple(sorted(set(range(100)) - {node.source for node in nodes}))
    cell = Cell(width, tuple(nodes), weight(), None, leaves, 0.5)
    inputs, state = torch.randn(5, 2, width, generator=generator, dtype=dtype), torch.zeros(2, width, dtype=dtype)
    found, expected = (
        torch.autograd.grad(
            run_cell(cell, loops, WorkspacePool(), inputs, state, None).square().sum(), [n.weight for n in nodes]
        )
        for loops in (native, PythonLoops())
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)


def test_what_it_cannot_do_runs_in_python_with_the_same_numbers(native: Loops) -> None:
    x = torch.linspace(-1, 1, 5)
    half = x.to(torch.bfloat16)
    assert torch.equal(values(native, TANH, half), values(PythonLoops(), TANH, half))

    class Cube(Kernel):
        keeps_input = True

        def forward(self, x: Tensor) -> None:
            x.pow_(3)

        def backward(self, gradient: Tensor, y: Tensor, x: Tensor | None) -> None:
            raise AssertionError("nobody goes backward")

    assert torch.equal(values(native, Cube, x), x**3)
    cell = one_node(TANH, 2, torch.float32)
    assert native.lacks(cell) == ""
    assert "plugin" in native.lacks(replace(cell, nodes=(CellNode(-1, Cube(), cell.nodes[0].weight),)))


# Building ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NASFORGE_CACHE", str(tmp_path))
    return tmp_path / "native"


def compiler(folder: Path, body: str) -> Path:
    path = folder / "c++"
    path.write_text(f"#!/bin/sh\nif [ $1 = --version ]; then echo 'c++ 1.0'; exit 0; fi\n{body}\n")
    path.chmod(0o755)
    return path


def accept(path: Path) -> None:
    """A self-test that everything passes."""


def test_it_is_built_once_tested_and_then_found(cache: Path, native: Loops) -> None:
    tested: list[Path] = []
    first = build(tested.append)
    assert first.seconds is not None and len(tested) == 1
    second = build(tested.append)
    assert (second.path, second.key, second.seconds, len(tested)) == (first.path, first.key, None, 1)
    assert first.path.parent == cache
    self_test(second.path)
    assert sorted(path.suffix for path in cache.iterdir()) == [".lock", ".sha256", ".so"]


@pytest.mark.parametrize("damage", ["cut", "garbage", "no digest"])
def test_a_damaged_library_is_built_anew(cache: Path, native: Loops, damage: str) -> None:
    first = build(accept)
    whole = first.path.read_bytes()
    if damage == "no digest":
        first.path.with_suffix(".sha256").unlink()
    else:
        first.path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"rubbish")
    tested: list[Path] = []
    again = build(tested.append)
    assert again.seconds is not None and len(tested) == 1
    assert again.path.read_bytes() == whole or damage == "no digest"
    self_test(again.path)
    assert build(tested.append).seconds is None


def test_a_mask_of_another_shape_is_broadcast_by_the_loop_in_python(native: Loops) -> None:
    cell = one_node(TANH, 4, torch.float32)
    with torch.no_grad():
        cell.nodes[0].weight.normal_(generator=torch.Generator().manual_seed(0))
        x, state = torch.ones(2, 3, 4), torch.ones(3, 4)
        for mask in (torch.full((1, 4), 0.5), torch.full((3, 1), 0.5), torch.full((4,), 0.5)):
            found, expected = (
                run_cell(cell, each, WorkspacePool(), x, state, mask) for each in (native, PythonLoops())
            )
            assert torch.equal(found, expected)


def test_cxx_may_have_arguments_and_must_be_there(
    cache: Path, native: Loops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    wrapper = tmp_path / "wrap"
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("CXX", f"{wrapper} {shutil.which('c++') or 'g++'}")
    build(accept)
    assert "-shared" in log.read_text()
    monkeypatch.setenv("CXX", "nosuch -O1")
    with pytest.raises(NativeUnavailable, match="CXX is 'nosuch -O1', and no such program"):
        build(accept)


def test_flags_compiler_and_torch_are_in_the_key(
    cache: Path, native: Loops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {build(accept).key}
    with monkeypatch.context() as patch:
        patch.setattr(native_build, "FLAGS", (*native_build.FLAGS, "-g0"))
        keys.add(build(accept).key)
    with monkeypatch.context() as patch:
        patch.setattr(native_build.metadata, "version", lambda name: "9.9")
        keys.add(build(accept).key)
    with monkeypatch.context() as patch:
        patch.setattr(native_build, "_processor", lambda: "another")
        keys.add(build(accept).key)
    monkeypatch.setenv("CXX", str(compiler(tmp_path, f'exec {shutil.which("c++") or "c++"} "$@"')))
    keys.add(build(accept).key)
    assert len(keys) == 5


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo 'x.cpp:1: error: no such thing' >&2; exit 1", "error: no such thing"),
        ("while [ $1 != -o ]; do shift; done; echo rubbish > $2", "self-test failed"),
        ("sleep 60", "did not end within"),
    ],
)
def test_a_build_that_fails_says_why_and_leaves_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    monkeypatch.setenv("CXX", str(compiler(tmp_path, body)))
    if "sleep" in body:
        monkeypatch.setattr(native_build, "COMPILE_SECONDS", 0.5)
    with pytest.raises(NativeUnavailable, match=said):
        build()
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_without_a_compiler_or_a_place_it_says_so(cache: Path, native: Loops, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(native_build.shutil, "which", lambda name: None)
        with pytest.raises(NativeUnavailable, match="no C\\+\\+ compiler"):
            build()
    cache.parent.joinpath("native").write_text("a file")
    with pytest.raises(NativeUnavailable, match="native"):
        build(accept)


def test_the_self_test_finds_wrong_numbers_open_gates_and_hidden_nan(
    native: Loops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = native_build.SOURCE.read_text("utf-8")
    faults = {
        "differs": ("return T(1) - y * y;", "return T(1) - y;"),
        "gates": ("x = x > 89.0f ? 89.0f : x;", "x = x > 80.0f ? 80.0f : x;"),
        "not a number": ("out[j] = c < T(0.5)", "out[j] = c != c ? T(0) : c < T(0.5)"),
        "layout": ("return 1;", "return 2;"),
    }
    for said, (old, new) in faults.items():
        assert old in source
        broken = tmp_path / "cell.cpp"
        broken.write_text(source.replace(old, new))
        monkeypatch.setattr(native_build, "SOURCE", broken)
        monkeypatch.setenv("NASFORGE_CACHE", str(tmp_path / said))
        with pytest.raises(NativeUnavailable, match=said):
            build(self_test)


def test_a_library_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cell.so").write_bytes(b"\x7fELF")
    with pytest.raises(NativeUnavailable):
        NativeLoops(tmp_path / "cell.so")
    assert native_module.main(["-c", str(tmp_path / "cell.so")]) == 1
