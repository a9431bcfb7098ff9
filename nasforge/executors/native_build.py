"""Building the time loop in C++ (`cell.cpp`): once for a machine, kept in the cache folder. No torch here.

What lies in the cache has passed its self-test: a library is put there only after that.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from filelock import FileLock

from nasforge.data.files import make_folder, sha256_of, write_bytes_atomically, write_text_atomically
from nasforge.data.folders import cache_folder
from nasforge.errors import NasforgeError

SOURCE = Path(__file__).with_name("cell.cpp")

FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
"""No -ffast-math: it would assume that nothing is NaN. -march=native is why the key holds the processor."""

COMPILE_SECONDS = 120.0
TEST_SECONDS = 120.0

_SELF_TEST = (
    "import sys; sys.path.append(sys.argv.pop(1)); from nasforge.executors.native import main; sys.exit(main(sys.argv))"
)


class NativeUnavailable(Exception):
    """The native loop cannot be had; the text says why."""


@dataclass(frozen=True)
class Native:
    """A built library.

    Attributes:
        path: the file.
        key: digest of everything that its numbers depend on: source, flags, compiler, processor, torch.
        compiler: its first line of ``--version``.
        seconds: what building and testing took; None where it was there.
    """

    path: Path
    key: str
    compiler: str
    seconds: float | None


def build(test: Callable[[Path], None] | None = None) -> Native:
    """The library for this machine, built where it is not there yet; safe beside other processes that do the same.

    Args:
        test: raises `NativeUnavailable` for a library that does not work; by default the self-test, in a process of its
            own.

    Raises:
        NativeUnavailable: no compiler, or one that refuses, or a library that fails its test, or no place for it.
    """
    compiler = _compiler()
    version = _version_of(compiler)
    key = _key(version)
    path = cache_folder() / "native" / f"cell-{key}.so"
    if _is_whole(path):
        return Native(path, key, version, None)
    begin = time.monotonic()
    try:
        make_folder(path.parent)
        with FileLock(path.with_suffix(".lock")):
            if not _is_whole(path):
                _build_at(path, compiler, test or _self_test)
    except (NasforgeError, OSError) as error:
        raise NativeUnavailable(str(error)) from error
    return Native(path, key, version, time.monotonic() - begin)


def _build_at(path: Path, compiler: list[str], test: Callable[[Path], None]) -> None:
    # In the cache folder rather than in that for temporary files, from which some systems load nothing.
    with tempfile.TemporaryDirectory(prefix=".build-", dir=path.parent) as folder:
        fresh = Path(folder) / "cell.so"
        done = _run([*compiler, *FLAGS, "-o", str(fresh), str(SOURCE)], COMPILE_SECONDS)
        if done.returncode != 0:
            raise NativeUnavailable(f"{' '.join(compiler)} failed: {_last_line(done)}")
        test(fresh)
        library = fresh.read_bytes()
        write_bytes_atomically(path, library)
        # After it: without its digest a library counts for nothing.
        write_text_atomically(_digest_file(path), hashlib.sha256(library).hexdigest() + "\n")


def _digest_file(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _is_whole(path: Path) -> bool:
    """Whether a library is there as it was built: a damaged one would take down whoever loads it."""
    try:
        return _digest_file(path).read_text("ascii").strip() == sha256_of(path)
    except (OSError, ValueError):
        return False


def _self_test(path: Path) -> None:
    packages = str(Path(__file__).parents[2])
    done = _run([sys.executable, "-P", "-c", _SELF_TEST, packages, str(path)], TEST_SECONDS)
    if done.returncode != 0:
        raise NativeUnavailable(f"its self-test failed: {_last_line(done)}")


def _compiler() -> list[str]:
    """The compiler, with the arguments that $CXX may give it (``ccache g++``)."""
    if os.name == "nt":
        raise NativeUnavailable("it is not built on Windows")
    told = os.environ.get("CXX", "").strip()
    if told:
        for command in ([told], shlex.split(told)):
            if shutil.which(command[0]):
                return command
        raise NativeUnavailable(f"$CXX is '{told}', and no such program is found")
    for name in ("c++", "g++", "clang++"):
        found = shutil.which(name)
        if found:
            return [found]
    raise NativeUnavailable("there is no C++ compiler (c++, g++, clang++ or $CXX)")


def _version_of(compiler: list[str]) -> str:
    done = _run([*compiler, "--version"], COMPILE_SECONDS)
    if done.returncode != 0 or not done.stdout.strip():
        raise NativeUnavailable(f"{' '.join(compiler)} --version failed: {_last_line(done)}")
    return done.stdout.splitlines()[0].strip()


def _key(compiler_version: str) -> str:
    parts = [SOURCE.read_text("utf-8"), *FLAGS, compiler_version, _processor(), metadata.version("torch")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """What -march=native looks at: a cache folder may be shared by different machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("vendor_id", "model name", "cpu family", "model", "flags", "Features", "CPU part")
    return platform.machine() + "\n".join(dict.fromkeys(line for line in lines if line.split("\t")[0] in wanted))


def _run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NativeUnavailable(f"{command[0]} did not end within {seconds:.0f} seconds") from error
    except OSError as error:
        raise NativeUnavailable(f"{command[0]} cannot be started: {error.strerror}") from error


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    errors = [line for line in said if "error" in line.lower()]
    return (errors or said or [f"exit code {done.returncode}"])[-1]
