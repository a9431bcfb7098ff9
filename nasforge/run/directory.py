"""The run directory: what is in it, who owns it, and what of it is finished.

::

    run.json          format version, status, arguments, versions, host, clock readings
    space.yaml        byte copy of the file that the user gave;  resolved.yaml  defaults filled, profile applied
    journal.jsonl     every event of the finished jobs, in the order of the plan
    timing.jsonl      when jobs began and ended and how fast they were
    checkpoints/JOB/  what a finished job left: result.json, journal.jsonl, weights, manifest.json with sha256
    checkpoints/JOB.part/N/  where a job was between two of its steps; gone once it is finished
    logs/             what worker processes wrote to their standard error
    result.json       the verdict;  best/  what a user takes home

A job's folder appears whole or not at all; a run goes on with the jobs without one, each where its last part was taken.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nasforge.data.files import (
    make_folder,
    make_new_folder,
    remove_folder,
    write_folder_atomically,
    write_json_atomically,
)
from nasforge.errors import CorruptRunError, RunLockedError, UsageError
from nasforge.spec.nodes import printable

FORMAT = 1
_RUN_KEYS: Mapping[str, type] = {
    "status": str,
    "name": str,
    "versions": dict,
    "threads": int,
    "device": str,
    "base": str,
    "data": str,
    "plugin_files": list,
}
_LOCK = ".lock"
_BEFORE_RUN_FILE = (_LOCK, "space.yaml", "resolved.yaml")
"""What a run that begins writes before ``run.json``."""
_TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{16}")
"""Of `nasforge.data.files`, where a process was killed while it wrote."""
_FEW = 3
_PART = re.compile(r"\d{8}")
_PLAIN = re.compile(r"[a-z0-9_]{1,40}\.[a-z]{1,20}")
"""Names of files in a checkpoint: no path leads out of it."""
_JOB_NAME = re.compile(r"[a-z0-9_-]{1,80}")


class RunDirectory:
    """Paths and small reads and writes of one run directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / _LOCK)

    @property
    def run_file(self) -> Path:
        """``run.json``."""
        return self.path / "run.json"

    def lock(self) -> None:
        """Own the directory until this process ends.

        Raises:
            RunLockedError: another process owns it.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            owner = self.read_run() if self.run_file.exists() else {}
            who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
            raise RunLockedError(
                f"{self.path}: another process works on this run ({who}); wait for it or stop it"
            ) from None

    def unlock(self) -> None:
        """Let go of the directory."""
        self._lock.release()

    def read_run(self) -> dict[str, Any]:
        """The contents of ``run.json``.

        Raises:
            UsageError: the directory holds no run.
            CorruptRunError: the file is damaged or of a newer format.
        """
        if not self.run_file.is_file():
            raise UsageError(f"{self.path}: no run here (there is no run.json)")
        run = _read_json(self.run_file)
        if not isinstance(run, dict) or not isinstance(run.get("format"), int):
            raise CorruptRunError(f"{self.run_file}: not a run description")
        wrong = [key for key, kind in _RUN_KEYS.items() if not isinstance(run.get(key), kind)]
        if wrong:
            raise CorruptRunError(f"{self.run_file}: damaged; missing or of a wrong type: {', '.join(wrong)}")
        if run["format"] > FORMAT:
            raise CorruptRunError(
                f"{self.run_file}: format {run['format']} is newer than this nasforge reads ({FORMAT})"
            )
        return run

    def write_run(self, run: Mapping[str, Any]) -> None:
        """Replace ``run.json``."""
        write_json_atomically(self.run_file, dict(run))

    def job_folder(self, job: str) -> Path:
        """Where a finished job's files lie."""
        if not _JOB_NAME.fullmatch(job):
            raise ValueError(f"not a job name: {job!r}")
        return self.path / "checkpoints" / job

    def finished(self, job: str) -> bool:
        """Whether the job's folder is there."""
        return (self.job_folder(job) / "manifest.json").is_file()

    def save_job(self, job: str, files: Mapping[str, bytes]) -> None:
        """Write a finished job's files, with a manifest of their sha256, all at once."""
        make_folder(self.path / "checkpoints")
        _write_with_manifest(self.job_folder(job), files)
        remove_folder(self._parts_folder(job))

    def job_files(self, job: str) -> tuple[str, ...]:
        """The names of the files that a finished job left."""
        manifest = _read_json(self.job_folder(job) / "manifest.json")
        return tuple(manifest) if isinstance(manifest, dict) else ()

    def read_job_file(self, job: str, name: str) -> bytes:
        """A file of a finished job, checked against the manifest.

        Raises:
            CorruptRunError: the file or its manifest is missing or damaged.
        """
        return self._checked(self.job_folder(job), name)

    def _checked(self, folder: Path, name: str) -> bytes:
        manifest = _read_json(folder / "manifest.json")
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise CorruptRunError(f"{folder / name}: cannot be read ({error.strerror})") from None
        if not isinstance(manifest, dict) or manifest.get(name) != hashlib.sha256(content).hexdigest():
            raise CorruptRunError(
                f"{folder / name}: its sha256 is not the recorded one; delete {folder} to repeat this job with "
                f"`nasforge resume {self.path}`"
            )
        return content

    def _parts_folder(self, job: str) -> Path:
        folder = self.job_folder(job)
        return folder.with_name(f"{folder.name}.part")

    def parts(self, job: str) -> tuple[int, ...]:
        """The numbers of a job's checkpoints, from the oldest on."""
        folder = self._parts_folder(job)
        if not folder.is_dir():
            return ()
        return tuple(sorted(int(entry.name) for entry in folder.iterdir() if _PART.fullmatch(entry.name)))

    def save_part(self, job: str, number: int, files: Mapping[str, bytes], *, kept: int) -> None:
        """Write a checkpoint of a job, all at once; of those before it the last ``kept - 1`` stay."""
        folder = self._parts_folder(job)
        make_folder(folder)
        _write_with_manifest(folder / f"{number:08d}", files)
        for old in self.parts(job)[:-kept]:
            remove_folder(folder / f"{old:08d}")

    def read_part(self, job: str, number: int) -> dict[str, bytes]:
        """The files of a checkpoint, checked against its manifest.

        Raises:
            CorruptRunError: one of them, or the manifest, is missing or damaged.
        """
        folder = self._parts_folder(job) / f"{number:08d}"
        manifest = _read_json(folder / "manifest.json")
        names = manifest if isinstance(manifest, dict) else {}
        if not names or not all(_PLAIN.fullmatch(name) for name in names):
            raise CorruptRunError(f"{folder / 'manifest.json'}: not a manifest")
        return {name: self._checked(folder, name) for name in names}

    def read_job_result(self, job: str) -> dict[str, Any]:
        """``result.json`` of a finished job."""
        try:
            result = json.loads(self.read_job_file(job, "result.json"))
        except ValueError:
            raise CorruptRunError(f"{self.job_folder(job) / 'result.json'}: not JSON") from None
        if not isinstance(result, dict):
            raise CorruptRunError(f"{self.job_folder(job) / 'result.json'}: not a result")
        return result


def _write_with_manifest(folder: Path, files: Mapping[str, bytes]) -> None:
    manifest = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    write_folder_atomically(folder, {**files, "manifest.json": (json.dumps(manifest, indent=2) + "\n").encode()})


def claim(path: Path) -> RunDirectory:
    """Make `path` a run directory that this process owns.

    Taken over are an empty folder, and one that holds nothing but what a run leaves that ends before it has written its
    ``run.json``. A user's own ``space.yaml`` is told apart by the lock file, which a run makes before all others.

    Raises:
        UsageError: it holds anything else; of a run, the message gives the resume command. Nothing was written.
        RunLockedError: another process is just making it.
    """
    directory = RunDirectory(path)
    _refuse_what_is_there(directory)
    make_folder(path)
    directory.lock()
    try:
        _refuse_what_is_there(directory)  # another process may have come and gone
    except UsageError:
        directory.unlock()
        raise
    return directory


def _refuse_what_is_there(directory: RunDirectory) -> None:
    path = directory.path
    if directory.run_file.exists():
        raise UsageError(f"{path}: there is a run already; continue it with `nasforge resume {path}`")
    if not path.is_dir():
        return
    names = sorted(entry.name for entry in path.iterdir())
    if "checkpoints" in names:
        raise UsageError(f"{path}: there are checkpoints of another run, but no run.json; choose another --run-dir")
    ours = _LOCK in names
    foreign = [name for name in names if not ours or not (name in _BEFORE_RUN_FILE or _TEMPORARY.fullmatch(name))]
    if foreign:
        listed = ", ".join(printable(name, 60) for name in foreign[:_FEW]) + (", ..." if len(foreign) > _FEW else "")
        raise UsageError(f"{path}: the folder is not empty (it holds {listed}); choose another --run-dir")


def claim_next(runs: Path, name: str) -> RunDirectory:
    """Make and own ``runs/NAME-0001`` or what follows the highest number there; runs that begin together differ."""
    make_folder(runs)
    pattern = re.compile(re.escape(name) + r"-(\d{4,})")
    while True:
        taken = [int(match[1]) for entry in runs.iterdir() if (match := pattern.fullmatch(entry.name))]
        path = runs / f"{name}-{max(taken, default=0) + 1:04d}"
        if make_new_folder(path):
            return claim(path)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise CorruptRunError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise CorruptRunError(f"{path}: not JSON") from None
