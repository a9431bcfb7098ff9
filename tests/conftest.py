"""What the tests of every folder share: `helpers` can be imported, and one tiny corpus and its task."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nasforge.executors.loops import Loops
    from nasforge.tasks.language_model import LanguageModel

sys.path.insert(0, str(Path(__file__).parent))
# Tensors here are tiny: threads only wait for one another, and one thread always adds in one order.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three files of `helpers.write_corpus`."""
    from helpers import write_corpus

    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def task(corpus_folder: Path) -> LanguageModel:
    """A language model task on the tiny corpus; tasks are not changed by use."""
    from helpers import language_model

    return language_model(corpus_folder)


@pytest.fixture(scope="session")
def native() -> Loops:
    """The time loop in C++. Only a machine without a compiler may lack it."""
    import shutil

    from nasforge.executors.native import NativeLoops
    from nasforge.executors.native_build import build

    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        pytest.skip("no C++ compiler")
    return NativeLoops(build().path)


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A finished run of the toy space, and what the command printed."""
    from toy import nasforge, write_toy

    folder = tmp_path_factory.mktemp("toy")
    done = nasforge("run", write_toy(folder), "--run-dir", "first", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "first", done
