"""Worker processes: started, fed with jobs, listened to, stopped.

A worker that crashes takes nothing with it: its job left no files, and the run says which job and where its log is.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import nasforge
from nasforge import errors
from nasforge.data.files import make_folder, open_log
from nasforge.run.plan import Job

STOP_SECONDS = 5.0
FINISH_SECONDS = 60.0
"""For a worker to end by itself: it may just have begun to load torch."""

MEASURE = "?threads"
"""What a worker is sent instead of a job to measure steps on several numbers of threads; no job has such a name."""

LATENCY = "?latency"
"""What it is sent to measure a few architectures, where latency is limited."""

_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "MALLOC_TOP_PAD_": str(1 << 26),
}
"""glibc keeps the memory of freed tensors instead of returning it to the system at every step (other C libraries ignore
these). At width 128 a step then has 100 instead of 5,000 page faults and takes 15 % less processor time."""

_BOOT = (
    "import sys; sys.path.append(sys.argv.pop(1)); from nasforge.run.worker import main; sys.exit(main(sys.argv[1:]))"
)
"""What a worker runs, under -P: the folder that the user stands in is not searched for modules."""

_BOOT_MEMBER = "import sys; sys.path.append(sys.argv.pop(1)); from nasforge.run.member import main; main()"


def become_member() -> NoReturn:
    """Turn this process into a rank after the first (`nasforge.run.member`); to torchrun it remains the same process.

    Started anew, since the handling of memory is settled when a process begins. It takes the run's number of threads
    when it has been told which run that is.
    """
    command = [sys.executable, "-P", "-c", _BOOT_MEMBER, str(Path(nasforge.__file__).parents[1])]
    os.execve(sys.executable, command, _environment(1))


def _environment(threads: int) -> dict[str, str]:
    """Of a process that computes."""
    return {**_MALLOC, **os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


@dataclass(frozen=True)
class Message:
    """What a worker said: `body` is one JSON object, or None when it ended."""

    worker: int
    body: dict[str, Any] | None


class Worker:
    """One process; at most one job at a time."""

    def __init__(self, number: int, run: Path, threads: int, inbox: queue.Queue[Message]) -> None:
        self.number = number
        self.job: Job | None = None
        make_folder(run / "logs")
        self.log = run / "logs" / f"worker-{number}.log"
        descriptor = open_log(self.log)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, str(Path(nasforge.__file__).parents[1]), str(run)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=descriptor,
                text=True,
                env=_environment(threads),
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        assert self.process.stdout is not None
        threading.Thread(target=self._listen, args=(self.process.stdout, inbox), daemon=True).start()

    def _listen(self, lines: IO[str], inbox: queue.Queue[Message]) -> None:
        for line in lines:
            try:
                inbox.put(Message(self.number, json.loads(line)))
            except ValueError:
                # Not ours: something wrote to the descriptor behind our back. The worker's own lines still count.
                continue
        self.process.wait()
        inbox.put(Message(self.number, None))

    def give(self, job: Job) -> None:
        """Hand over a job."""
        self.job = job
        self.write(job.name)

    def write(self, line: str) -> None:
        """Send a line (see `nasforge.run.worker`)."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # The process has ended; its last message says why.

    def failure(self, body: dict[str, Any] | None) -> errors.NasforgeError:
        """The error behind a worker's end or its ``error`` message."""
        doing = f" during the job '{self.job.title}'" if self.job else ""
        if body is not None:
            kind = getattr(errors, str(body["error"]["type"]), errors.RunFailedError)
            if isinstance(kind, type) and issubclass(kind, errors.NasforgeError) and kind is not errors.SpecError:
                return kind(str(body["error"]["message"]))
            return errors.RunFailedError(str(body["error"]["message"]))
        code = self.process.returncode
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return errors.RunFailedError(f"a worker process {how}{doing}; what it wrote is in {self.log}")


class Pool:
    """A fixed number of workers and one inbox for what they say."""

    def __init__(self, run: Path, size: int, threads: int) -> None:
        self.inbox: queue.Queue[Message] = queue.Queue()
        self.workers = [Worker(number, run, threads, self.inbox) for number in range(size)]

    def idle(self) -> list[Worker]:
        """Workers without a job."""
        return [worker for worker in self.workers if worker.job is None]

    def finish(self) -> None:
        """Let idle workers end by themselves: no job comes any more. Other ranks hear of it from theirs."""
        for worker in self.workers:
            worker.write("")
        for worker in self.workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(FINISH_SECONDS)

    def stop(self) -> None:
        """End all workers; those that do not end in time are killed."""
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            try:
                worker.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            for pipe in (worker.process.stdin, worker.process.stdout):
                if pipe is not None and not pipe.closed:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        pass
