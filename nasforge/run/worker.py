"""A worker process: reads job names, does the jobs, reports in JSON lines.

Started by `nasforge.run.pool`; where torchrun started several ranks it is the first of them (`nasforge.run.member`).
A line on standard input is the name of a job, an empty one says that there is none left, and `MEASURE` asks for the
time of steps. Standard output carries one JSON object a line: ``{"tick": ...}``, ``{"event": ...}``, and for each job
one ``{"done": NAME}`` or ``{"error": {"type", "message"}}``; in between ``{"note": TEXT}``; to `MEASURE`, ``{"seconds":
{THREADS: SECONDS}}``; to `LATENCY`, ``{"probe": {"readings": [MILLISECONDS, ...], "within": NUMBER}}``. What
libraries print goes to standard error, which the runner keeps in ``logs/``. When the runner is gone, the next report
fails and the process ends. SIGTERM says: keep a checkpoint of the job after this step, and end.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from nasforge.errors import NasforgeError, RunFailedError
from nasforge.run.directory import RunDirectory
from nasforge.run.group import group_here
from nasforge.run.keeper import CHECKPOINT_SECONDS, Keeper, StoppedError
from nasforge.run.plan import Job
from nasforge.run.pool import LATENCY, MEASURE
from nasforge.run.start import n_workers
from nasforge.strategies.base import Event, Report, Tick

TICK_SECONDS = 0.25


class _Reporter:
    """Writes reports."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._last_tick = 0.0

    def send(self, message: dict[str, Any]) -> None:
        self._out.write(json.dumps(message, allow_nan=False) + "\n")
        self._out.flush()

    def __call__(self, report: Report) -> None:
        if isinstance(report, Event):
            self.send({"event": {"kind": report.kind, "facts": dict(report.facts)}})
            return
        now = time.monotonic()
        if now - self._last_tick >= TICK_SECONDS or report.done == report.total:
            self._last_tick = now
            self.send({"tick": _tick(report)})


def _tick(tick: Tick) -> dict[str, Any]:
    return {
        "phase": tick.phase,
        "done": tick.done,
        "total": tick.total,
        "facts": {name: value for name, value in tick.facts.items() if math.isfinite(value)},
        "fraction": tick.fraction,
    }


def main(arguments: list[str]) -> int:
    """Serve until standard input ends."""
    # The runner decides when to stop: a Ctrl-C at the terminal is meant for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Descriptor 1 is for reports only: whatever else writes to it, C code too, goes to standard error instead.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with contextlib.redirect_stdout(sys.stderr):
        reporter = _Reporter(out)
        directory = RunDirectory(Path(arguments[0]))
        with _reported(reporter), contextlib.suppress(StoppedError):
            _serve(directory, reporter)
    if group_here().size > 1:
        from nasforge.run.member import leave

        leave(0)
    return 0


def _serve(directory: RunDirectory, reporter: _Reporter) -> None:
    from nasforge.run.jobs import probe_latency
    from nasforge.run.member import END, joined, open_workshop

    runner = os.getppid()
    working: list[Keeper] = []

    def stop(number: int, frame: object) -> None:
        if not working:
            raise StoppedError
        working[0].stop = True

    signal.signal(signal.SIGTERM, stop)
    group = group_here()
    with joined(group) as team:
        shop, jobs = open_workshop(team, group, directory.path)
        for line in sys.stdin:
            name = team.announce(line.strip())
            if name == END:
                break
            if name == MEASURE:
                from nasforge.run.measure import step_seconds

                reporter.send({"seconds": step_seconds(shop, n_workers(shop.spec))})
                continue
            if name == LATENCY:
                reporter.send({"probe": asdict(probe_latency(shop))})
                continue
            job = jobs[name]
            keeper = Keeper(
                directory if team.size == 1 else None,
                job.name,
                tell=reporter,
                note=lambda text: reporter.send({"note": text}),
                seconds=float(directory.read_run().get("checkpoint_seconds", CHECKPOINT_SECONDS)),
                wanted=lambda: os.getppid() == runner,
            )
            working.append(keeper)
            files = shop.run(job, keeper)
            if os.getppid() != runner:
                return  # The runner was killed; whoever resumes the run does this job.
            directory.save_job(job.name, {**files, "journal.jsonl": _journal(job, keeper.events)})
            reporter.send({"done": job.name})
            working.clear()
            if keeper.stop:
                return


def _journal(job: Job, events: list[Event]) -> bytes:
    lines = (
        json.dumps({"job": job.name, "event": event.kind, **event.facts}, allow_nan=False) + "\n" for event in events
    )
    return "".join(lines).encode()


@contextlib.contextmanager
def _reported(reporter: _Reporter) -> Iterator[None]:
    """Tell the runner why the process ends; a bug leaves its traceback on standard error."""
    try:
        yield
    except NasforgeError as error:
        reporter.send({"error": {"type": type(error).__name__, "message": str(error)}})
    except BrokenPipeError:
        pass
    except Exception as error:
        name = f"{type(error).__name__}: {error}"
        reporter.send({"error": {"type": RunFailedError.__name__, "message": f"unexpected {name} (see logs/)"}})
        raise
