"""Rules on the source of nasforge: one module writes files (P2), nothing executes what it reads (P12)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import nasforge

ROOT = Path(nasforge.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))

_WRITING = {"write_text", "write_bytes", "save_file", "touch", "tofile", "symlink_to", "hardlink_to", "rename"}
_WRITING_OF = {
    "os": {"replace", "rename", "renames", "link", "symlink", "truncate", "mkfifo"},
    "shutil": {"copy", "copy2", "copyfile", "copytree", "move", "make_archive", "unpack_archive"},
    "np": {"save", "savez", "savez_compressed", "savetxt", "memmap"},
    "numpy": {"save", "savez", "savez_compressed", "savetxt", "memmap"},
    "tempfile": {"mkstemp", "NamedTemporaryFile", "TemporaryFile"},
}
_BANNED_MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
_BANNED_CALLS = {"torch.load", "torch.save", "eval", "exec", "joblib.load", "joblib.dump", "os.system", "os.popen"}
_BANNED_CALLS |= {"torch.export.load", "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load"}
_BANNED_MODULES |= {"torch.distributed.checkpoint"}


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return "?"


def _opens_for_writing(call: ast.Call, name: str) -> bool:
    if name in {"open", "io.open", "gzip.open"}:
        position = 1
    elif name.endswith(".open") and name not in {"os.open", "tarfile.open", "webbrowser.open"}:
        position = 0  # Path.open
    else:
        return False
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"] + call.args[position : position + 1]
    return any(
        not (isinstance(mode, ast.Constant) and isinstance(mode.value, str)) or bool(set(mode.value) & set("wax+"))
        for mode in modes
        # A member of an archive is opened by a variable, not by a mode.
        if position == 1 or isinstance(mode, ast.Constant)
    )


def writers(source: str) -> list[str]:
    """Return the calls in `source` that write to the file system, as `line: name`."""
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = _dotted(call.func)
        owner, _, last = name.rpartition(".")
        path_replace = (
            owner and last == "replace" and len(call.args) == 1 and not call.keywords and owner != "dataclasses"
        )
        flags = name == "os.open" and "O_RDONLY" not in ast.unparse(call)
        if (
            (owner and last in _WRITING)
            or last in _WRITING_OF.get(owner, set())
            or name == "save_file"
            or path_replace
            or flags
            or _opens_for_writing(call, name)
        ):
            found.append(f"{call.lineno}: {name}")
    return found


def banned(source: str) -> list[str]:
    """Return what in `source` could execute foreign data or hide an error, as `line: what`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name in _BANNED_MODULES]
        elif isinstance(node, ast.ImportFrom):
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [n for n in [node.module or "", *full] if n in _BANNED_MODULES | _BANNED_CALLS]
        elif isinstance(node, ast.Call):
            names = [n for n in [_dotted(node.func)] if n in _BANNED_CALLS]
            names += [k.arg for k in node.keywords if k.arg == "allow_pickle"]
            shell = [k.value for k in node.keywords if k.arg == "shell"]
            names += ["shell" for value in shell if not (isinstance(value, ast.Constant) and value.value is False)]
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            names = ["bare except"]
        found += [f"{getattr(node, 'lineno', 0)}: {name}" for name in names]
    return found


def test_one_module_writes_files() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): calls
        for path in SOURCES
        if path != ROOT / "data" / "files.py" and (calls := writers(path.read_text(encoding="utf-8")))
    }
    assert found == {}, "write through nasforge.data.files"


def test_nothing_executes_what_it_reads() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): names
        for path in SOURCES
        if (names := banned(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_the_rule_finds_the_writer() -> None:
    assert writers((ROOT / "data" / "files.py").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "line",
    [
        "open(p, 'w')",
        "open(p, mode='ab')",
        "open(p, 'r+')",
        "open(p, mode)",
        "p.open('xb')",
        "Path(p).open(mode='w')",
        "p.write_text(t)",
        "Path(p).write_bytes(b)",
        "os.replace(a, b)",
        "os.rename(a, b)",
        "p.rename(q)",
        "p.replace(q)",
        "np.save(p, a)",
        "safetensors.torch.save_file(t, p)",
        "save_file(t, p)",
        "shutil.copy(a, b)",
        "os.open(p, os.O_WRONLY)",
    ],
)
def test_each_way_to_write_is_found(line: str) -> None:
    assert len(writers(line)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "open(p)",
        "open(p, 'rb')",
        "p.open()",
        "p.open('rb')",
        "'a'.replace('b', 'c')",
        "replace(x, a=1)",
        "z.open(info)",
    ],
)
def test_reading_is_not_taken_for_writing(line: str) -> None:
    assert writers(line) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "from torch import load",
        "torch.load(p)",
        "torch.save(x, p)",
        "eval(s)",
        "exec(s)",
        "yaml.load(t, L)",
        "np.load(p, allow_pickle=True)",
        "subprocess.run(c, shell=True)",
        "try:\n    f()\nexcept:\n    pass",
    ],
)
def test_each_banned_thing_is_found(line: str) -> None:
    assert len(banned(line)) == 1


@pytest.mark.parametrize("line", ["model.eval()", "'pickle'", "try:\n    f()\nexcept ValueError:\n    pass"])
def test_harmless_lines_are_not_banned(line: str) -> None:
    assert banned(line) == []
