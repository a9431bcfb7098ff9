"""What is kept in the middle of a job, and that a run goes on there to the same bytes."""

from __future__ import annotations

import hashlib
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy import nasforge, write_toy

from nasforge.errors import CorruptRunError
from nasforge.run.directory import RunDirectory
from nasforge.run.keeper import KEPT, SHARE, Keeper, StoppedError
from nasforge.run.state import SKELETON, TENSORS, from_files, to_files
from nasforge.strategies.base import Event, Report, Tick

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.floats(width=32), max_size=3).map(torch.tensor),
)
STATES = st.dictionaries(
    st.text(max_size=5).filter(lambda key: not key.startswith("$")),
    st.recursive(
        LEAVES,
        lambda parts: st.one_of(
            st.lists(parts, max_size=3),
            st.lists(parts, max_size=3).map(tuple),
            st.dictionaries(st.text(max_size=5).filter(lambda key: not key.startswith("$")), parts, max_size=3),
        ),
    ),
    max_size=4,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b) or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


@given(STATES)
def test_a_state_comes_back_as_it_was(state: dict[str, Any]) -> None:
    assert same(from_files(to_files(state)), state)


@pytest.mark.parametrize("value", [{1: 2}, {"$tensor": "a"}, {"a": {3}}, {"a": object()}, {"a": {"b": b"c"}}])
def test_what_has_no_place_in_a_state_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        to_files(value)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {SKELETON: b"{}"},
        {SKELETON: b"[]", TENSORS: to_files({})[TENSORS]},
        {SKELETON: b'{"a": {"$tensor": "b"}}', TENSORS: to_files({})[TENSORS]},
        {SKELETON: b"{", TENSORS: to_files({})[TENSORS]},
        {SKELETON: b"{}", TENSORS: b"\x80\x04K\x01."},
        {SKELETON: b"[" * 100_000, TENSORS: to_files({})[TENSORS]},
    ],
)
def test_other_files_are_no_state(files: dict[str, bytes]) -> None:
    with pytest.raises(CorruptRunError, match="not a state"):
        from_files(files)


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("nasforge.run.keeper.time.monotonic", lambda: self.now)


def keeper(path: Path, **options: Any) -> Keeper:
    told: list[Report] = []
    return Keeper(RunDirectory(path), "search", tell=told.append, **options)


def test_the_last_checkpoints_are_kept_with_what_was_reported(tmp_path: Path) -> None:
    job = keeper(tmp_path, seconds=0)
    for n in range(4):
        job(Event("step", {"n": n}))
        job(Tick("work", n, 4))
        job.step(lambda n=n: {"n": n, "weights": torch.tensor([float(n)])})  # type: ignore[misc]
    assert RunDirectory(tmp_path).parts("search") == tuple(range(1, 5))[-KEPT:]
    again = keeper(tmp_path)
    state = again.restored()
    assert state is not None and state["n"] == 3 and state["weights"].tolist() == [3.0]
    assert again.events == [Event("step", {"n": n}) for n in range(4)]


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_taken(tmp_path: Path) -> None:
    job = keeper(tmp_path, seconds=0)
    for n in range(2):
        job.step(lambda n=n: {"n": n, "weights": torch.ones(3)})  # type: ignore[misc]
    newest = tmp_path / "checkpoints" / "search.part" / "00000002"
    for name in (SKELETON, TENSORS, "manifest.json"):
        content = (newest / name).read_bytes()
        (newest / name).write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
        said: list[str] = []
        again = keeper(tmp_path, note=said.append)
        state = again.restored()
        assert state is not None and state["n"] == 0
        assert len(said) == 1 and "damaged" in said[0] and name in said[0]
        (newest / name).write_bytes(content)
    again = keeper(tmp_path, seconds=0)
    assert again.restored() is not None
    again.step(lambda: {"n": 2})
    assert RunDirectory(tmp_path).parts("search") == (2, 3)


def test_saving_takes_no_more_than_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    job = keeper(tmp_path, seconds=10)

    def slow() -> dict[str, Any]:
        clock.now += 3.0
        return {}

    saving = 0.0
    for _ in range(2000):
        clock.now += 1.0
        before = clock.now
        job.step(slow)
        saving += clock.now - before
    assert 0.5 * SHARE < saving / clock.now <= SHARE * 1.1


def test_before_what_has_no_steps_a_checkpoint_is_kept_at_once(tmp_path: Path) -> None:
    job = keeper(tmp_path, seconds=1000)
    job.step(lambda: {"n": 1})
    job.keep(lambda: {"n": 2})
    assert keeper(tmp_path).restored() == {"n": 2}


def test_a_job_that_is_told_to_stop_keeps_a_checkpoint_and_ends(tmp_path: Path) -> None:
    job = keeper(tmp_path, seconds=1000)
    job.step(lambda: {})
    assert RunDirectory(tmp_path).parts("search") == ()
    job.stop = True
    with pytest.raises(StoppedError):
        job.step(lambda: {"n": 7})
    assert keeper(tmp_path).restored() == {"n": 7}


def test_a_job_that_nobody_waits_for_keeps_nothing(tmp_path: Path) -> None:
    job = keeper(tmp_path, seconds=0, wanted=lambda: False)
    with pytest.raises(StoppedError):
        job.step(lambda: {})
    assert RunDirectory(tmp_path).parts("search") == ()


def test_a_finished_job_has_no_checkpoints(tmp_path: Path) -> None:
    keeper(tmp_path, seconds=0).step(lambda: {})
    RunDirectory(tmp_path).save_job("search", {"result.json": b"{}"})
    assert RunDirectory(tmp_path).parts("search") == ()


def digests(run: Path) -> dict[str, str]:
    """Of everything but clock readings."""
    return {
        str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(run.rglob("*"))
        if file.is_file() and file.name not in ("run.json", "timing.jsonl", ".lock") and "logs" not in file.parts
    }


def stop_at(run: Path, job: str, number: int, how: signal.Signals, arguments: list[str], cwd: Path) -> str:
    """Run nasforge until `job` has its checkpoint `number`, then signal it; what it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nasforge", *arguments], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if max(RunDirectory(run).parts(job), default=0) >= number:
            process.send_signal(how)
            break
        time.sleep(0.002)
    _, said = process.communicate(timeout=60)
    # A run that is asked to end says 130, whichever signal asked it.
    assert process.returncode in (-how, 128 + how, 130), said.decode()
    return said.decode()


def test_a_run_that_is_killed_in_the_middle_of_jobs_ends_with_the_same_bytes(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    # Long enough that jobs are still going on when a checkpoint of theirs is seen.
    longer = ["strategy.epochs=8", "train.epochs=6", "derive.shortlist=1"]
    whole = nasforge("run", space, *longer, "--run-dir", "whole", "-q", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    killed = tmp_path / "killed"
    begin = ["run", str(space), *longer, "--run-dir", "killed", "-q", "--checkpoint-seconds", "0"]
    stop_at(killed, "search", 5, signal.SIGKILL, begin, tmp_path)
    assert not RunDirectory(killed).finished("search")
    before = max(RunDirectory(killed).parts("search"))
    # Not SIGINT: whoever runs the tests in the background of a shell has it ignored, and children inherit that.
    said = stop_at(killed, "search", before + 3, signal.SIGTERM, ["resume", "killed", "-q"], tmp_path)
    assert "nasforge resume killed" in said
    stop_at(killed, "search-train", 4, signal.SIGKILL, ["resume", "killed", "-q"], tmp_path)
    done = nasforge("resume", "killed", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert digests(killed) == digests(tmp_path / "whole")


def test_the_option_means_something(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    refused = nasforge("run", space, "--checkpoint-seconds", "-1", cwd=tmp_path)
    assert refused.returncode == 2
    assert not os.path.exists(tmp_path / "runs")
