"""What is recorded when a run begins: enough for anybody to do it, or to go on with it, and where it was made."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from nasforge import __version__
from nasforge.data.files import write_bytes_atomically, write_text_atomically
from nasforge.run.backend import Settled
from nasforge.run.directory import FORMAT, RunDirectory
from nasforge.run.threads import Choice, usable_cores
from nasforge.spec.resolved import to_yaml
from nasforge.spec.specs import RunSpec, TableSpec

VERSIONED = ("torch", "numpy", "pydantic", "networkx")


def start_run(
    directory: RunDirectory,
    spec: RunSpec | TableSpec,
    *,
    source: bytes,
    arguments: Mapping[str, Any],
    device: str,
    threads: Choice,
    ranks: int,
    base: Path,
    data: str,
    backend: Settled,
    plugin_files: Sequence[Path],
    checkpoint_seconds: float | None = None,
) -> None:
    """Write what a run needs to be done, or gone on with, by anybody: ``space.yaml``, ``resolved.yaml``, ``run.json``.

    Args:
        directory: claimed by this process.
        spec: what is to be done.
        source: the bytes of the user's file.
        arguments: of the command line, for the record.
        device: e.g. ``cpu``.
        threads: per worker process.
        ranks: processes that train together, each with `threads`.
        base: the folder that relative paths in the spec start from.
        data: what identifies the data (`TaskKind.prepare`).
        backend: what recurrent cells run on.
        plugin_files: plugin files named on the command line.
        checkpoint_seconds: between two checkpoints of a job; None for the default.
    """
    write_bytes_atomically(directory.path / "space.yaml", source)
    write_text_atomically(directory.path / "resolved.yaml", to_yaml(spec.resolved()))
    directory.write_run(
        {
            "format": FORMAT,
            "status": "started",
            "name": spec.name,
            "seed": spec.seed,
            "profile": spec.profile,
            "arguments": dict(arguments),
            "device": device,
            "threads": threads.number,
            "threads_chosen": {"by": threads.by, "reason": threads.reason},
            "ranks": ranks,
            "workers": n_workers(spec) if ranks == 1 else 1,
            **backend.facts(),
            "base": str(base),
            "data": data,
            **({} if checkpoint_seconds is None else {"checkpoint_seconds": checkpoint_seconds}),
            "plugin_files": [str(path) for path in plugin_files],
            "versions": versions(),
            "git_commit": git_commit(base),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": now(),
        }
    )


def n_workers(spec: RunSpec | TableSpec) -> int:
    """Processes that train side by side: as told, else two where there are two cores."""
    return spec.workers if spec.workers is not None else min(2, usable_cores())


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that numbers depend on."""
    libraries = {name: metadata.version(name) for name in VERSIONED}
    return {"nasforge": __version__, "python": platform.python_version(), **libraries}


def git_commit(folder: Path) -> str | None:
    """The commit of the repository that the space file stands in; None where there is none, or no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--verify", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def now() -> str:
    """The time in UTC, to the millisecond; for ``run.json`` and ``timing.jsonl`` only."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
