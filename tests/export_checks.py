"""How the tests of exported files run them: the formatter on them, and a process that has no nasforge."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

NO_NASFORGE = """
import sys

class NoNasforge:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "nasforge":
            raise ImportError("the exported model reached for nasforge")

sys.meta_path.insert(0, NoNasforge())
"""


def ruff(source: str, *arguments: str) -> None:
    """Run ruff on an exported file; it must find nothing."""
    if importlib.util.find_spec("ruff") is None:
        pytest.skip("ruff is not installed")
    ruff = [sys.executable, "-m", "ruff", *arguments, "--isolated", "--line-length", "120", "--no-cache"]
    command = [*ruff, "--stdin-filename", "model.py", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def formatted(source: str) -> None:
    """The file is laid out as the formatter does, and the linter finds nothing."""
    ruff(source, "format", "--check")
    ruff(source, "check")


def alone(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run python in `folder` without the path of this checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
