"""The runner: gives jobs to workers in the order of the plan, keeps what they leave, writes the result.

It never touches a tensor: everything that computes happens in worker processes (`nasforge.run.worker`).
"""

from __future__ import annotations

import json
import os
import queue
import socket
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasforge.data.files import (
    append_line,
    make_folder,
    write_bytes_atomically,
    write_json_atomically,
    write_text_atomically,
)
from nasforge.errors import RunFailedError
from nasforge.graph.picture import architecture_picture
from nasforge.graph.png import png_bytes
from nasforge.graph.supergraph import Supergraph
from nasforge.graph.svg import svg
from nasforge.plugins import Plugins
from nasforge.run import threads
from nasforge.run.compile import at_limits, compile_space
from nasforge.run.directory import RunDirectory
from nasforge.run.group import ranks_of
from nasforge.run.pareto_picture import pareto_png
from nasforge.run.plan import Job, ready
from nasforge.run.pool import LATENCY, MEASURE, Message, Pool
from nasforge.run.result import build_result, to_json
from nasforge.run.spec_of_run import jobs_of
from nasforge.run.start import n_workers, now, versions
from nasforge.space.architecture import Architecture
from nasforge.spec.specs import RunSpec


class Observer(ABC):
    """Who watches a run. Called by the runner, in its thread, never inside a computation."""

    @abstractmethod
    def started(self, jobs: Sequence[Job], finished: Sequence[Job]) -> None:
        """The run begins; `finished` were done before (a resumed run)."""

    @abstractmethod
    def noted(self, text: str) -> None:
        """Something about the whole run is worth one line."""

    @abstractmethod
    def job_started(self, job: Job) -> None:
        """A worker took a job."""

    @abstractmethod
    def ticked(self, job: Job, tick: Mapping[str, Any]) -> None:
        """A job got on (see `nasforge.strategies.base.Tick`)."""

    @abstractmethod
    def happened(self, job: Job, event: Mapping[str, Any]) -> None:
        """A job reported an event (see `nasforge.strategies.base.Event`)."""

    @abstractmethod
    def job_finished(self, job: Job, seconds: float) -> None:
        """A job's files are in place."""


class Runner:
    """One process's work on a run directory that it owns.

    Args:
        directory: locked by this process.
        spec: the run's spec.
        plugins: for compiling the space.
        observer: who watches.
    """

    def __init__(self, directory: RunDirectory, spec: RunSpec, plugins: Plugins, observer: Observer) -> None:
        self._directory = directory
        self._spec = spec
        self._observer = observer
        self._jobs = jobs_of(spec)
        self._started: dict[str, float] = {}
        self._supergraph: Supergraph = compile_space(spec, "final", plugins.catalogue.operations)

    def run(self) -> dict[str, Any]:
        """Do what is not finished and return the result.

        Raises:
            NasforgeError: a job failed, or the winner's final training has no finite score; what is finished stays, and
                the status says ``failed``.
            KeyboardInterrupt: passed on, with the status ``interrupted``.
        """
        finished = [job for job in self._jobs if self._directory.finished(job.name)]
        self._observer.started(self._jobs, finished)
        self._status("running", pid=os.getpid(), host=socket.gethostname())
        try:
            self._settle_threads()
            self._observer.noted(threads.said(self._directory.read_run()))
            self._probe_latency(finished)
            self._do({job.name for job in finished})
            result = self._conclude()
            if result["status"] == "failed":
                raise RunFailedError(
                    f"the final training of the searched network ended with a score that is not finite; its "
                    f"architecture and all other figures are in {self._directory.path / 'result.json'}. Try a lower "
                    "train.recipe.learning_rate, or a lower train.recipe.clip_norm, or another seed"
                )
        except KeyboardInterrupt:
            self._status("interrupted")
            raise
        except Exception:
            self._status("failed")
            raise
        self._status("done", ended=now())
        return result

    def _settle_threads(self) -> None:
        """Have a worker measure, alone, where ``--threads auto`` asks for it; what is recorded then stays."""
        run = self._directory.read_run()
        if run.get("threads_chosen", {}).get("reason") != "":
            return
        self._observer.noted("threads of each worker process: measuring steps on 1, 2, 4 ...")
        seconds = self._ask(MEASURE, "seconds", 1)
        chosen = threads.pick({int(number): float(took) for number, took in seconds.items()})
        reason = {"by": chosen.by, "reason": chosen.reason}
        self._directory.write_run({**run, "threads": chosen.number, "threads_chosen": reason})

    def _probe_latency(self, finished: Sequence[Job]) -> None:
        """Have a worker measure a few architectures, alone, before anything is trained, where latency is limited.

        Raises:
            SpecError: none of them is within the limit; shown at its line.
        """
        limits = self._spec.limits
        if limits is None or limits.latency_ms is None or finished:
            return
        said = self._ask(LATENCY, "probe", int(self._directory.read_run()["threads"]))
        readings, within = said["readings"], int(said["within"])
        text = (
            f"of {len(readings)} architectures that were drawn uniformly and measured, {within or 'none'} "
            f"{'is' if within < 2 else 'are'} within limits.latency_ms: from {min(readings):,} to {max(readings):,} "
            f"ms, median {statistics.median(readings):,.3f}"
        )
        if not within:
            raise at_limits(self._spec, f"{text}. Widen the limit, or change the space")
        self._observer.noted(f"latency: {text}")

    def _ask(self, question: str, key: str, n_threads: int) -> Any:
        """What a worker that does nothing else answers."""
        pool = Pool(self._directory.path, 1, n_threads)
        try:
            pool.workers[0].write(question)
            while (message := _next(pool.inbox)) is None:
                pass
            if message.body is None or key not in message.body:
                raise pool.workers[0].failure(message.body)
            return message.body[key]
        finally:
            pool.stop()

    def _do(self, finished: set[str]) -> None:
        self._write_journal(finished)
        left = [job for job in self._jobs if job.name not in finished]
        run = self._directory.read_run()
        together = ranks_of(run) > 1
        if not left and not together:
            return
        # Ranks do one job together. Where none is left, the others still wait to be told so.
        size = 1 if together else min(n_workers(self._spec), len(left))
        pool = Pool(self._directory.path, size, int(run["threads"]))
        try:
            while len(finished) < len(self._jobs):
                taken = {worker.job.name for worker in pool.workers if worker.job}
                for worker, job in zip(pool.idle(), ready(self._jobs, finished, taken), strict=False):
                    worker.give(job)
                    self._started[job.name] = time.monotonic()
                    self._time({"job": job.name, "started": now()})
                    self._observer.job_started(job)
                message = _next(pool.inbox)
                if message is not None:
                    self._heed(pool, message, finished)
            if together:
                pool.finish()
        finally:
            pool.stop()

    def _heed(self, pool: Pool, message: Message, finished: set[str]) -> None:
        worker, body = pool.workers[message.worker], message.body
        if body is None or "error" in body:
            raise worker.failure(body)
        job = worker.job
        if job is None:
            return
        if "tick" in body:
            self._observer.ticked(job, body["tick"])
        elif "event" in body:
            self._observer.happened(job, body["event"])
        elif "note" in body:
            self._observer.noted(str(body["note"]))
        elif "done" in body:
            worker.job = None
            seconds = time.monotonic() - self._started[job.name]
            finished.add(job.name)
            self._write_journal(finished)
            self._time({"job": job.name, "ended": now(), "seconds": round(seconds, 3)})
            self._observer.job_finished(job, seconds)

    def _write_journal(self, finished: set[str]) -> None:
        """All events so far, in the order of the plan, whichever worker was faster: equal runs have equal journals."""
        parts = [{"event": "run", "name": self._spec.name, "seed": self._spec.seed, "profile": self._spec.profile}]
        text = "".join(json.dumps(part) + "\n" for part in parts).encode()
        for job in self._jobs:
            if job.name not in finished:
                break
            text += self._directory.read_job_file(job.name, "journal.jsonl")
        write_bytes_atomically(self._directory.path / "journal.jsonl", text)

    def _conclude(self) -> dict[str, Any]:
        directory, spec = self._directory, self._spec
        search = directory.read_job_result("search")
        result = build_result(
            spec,
            self._jobs,
            directory,
            size=self._supergraph.space.size,
            data=search["data"],
            versions=versions(),
        )
        best = directory.path / "best"
        make_folder(best)
        for name in directory.job_files("search-train"):
            if name not in ("result.json", "journal.jsonl"):
                write_bytes_atomically(best / name, directory.read_job_file("search-train", name))
        self._write_architecture(best, self._supergraph.space.architecture(result["best"]["decisions"]), result)
        if result["pareto"] is not None:
            metric = result["best"]["trained"]["metric"]
            picture = pareto_png(result["pareto"], f"{spec.name}: scores of the search", f"{metric} ({spec.scored_by})")
            write_bytes_atomically(directory.path / "pareto.png", picture)
        write_text_atomically(directory.path / "result.json", to_json(result))
        return result

    def _write_architecture(self, best: Path, architecture: Architecture, result: Mapping[str, Any]) -> None:
        described = {
            "nasforge": 1,
            "digest": result["best"]["digest"],
            "canonical_digest": result["best"]["canonical_digest"],
            "decisions": dict(architecture),
            "space": self._spec.space_block(),
        }
        write_json_atomically(best / "architecture.json", described)
        trained = result["best"]["trained"]
        title = (
            f"{self._spec.name}: test {trained['metric']} {trained['test']:.2f}" if trained["test"] else self._spec.name
        )
        picture = architecture_picture(self._supergraph, architecture, title=title)
        write_text_atomically(best / "cell.svg", svg(picture))
        write_bytes_atomically(best / "cell.png", png_bytes(picture))

    def _status(self, status: str, **more: Any) -> None:
        self._directory.write_run({**self._directory.read_run(), "status": status, **more})

    def _time(self, entry: Mapping[str, Any]) -> None:
        append_line(self._directory.path / "timing.jsonl", json.dumps(entry), durable=False)


def _next(inbox: queue.Queue[Message]) -> Message | None:
    """The next message, or None after a moment, so that a Ctrl-C is never kept waiting."""
    try:
        return inbox.get(timeout=0.5)
    except queue.Empty:
        return None
