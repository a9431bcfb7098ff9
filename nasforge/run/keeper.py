"""What a job tells while it works, and what it keeps of itself, so that a stopped run goes on in the middle of it.

A checkpoint is the state of the job between two of its steps, with all that it has reported so far: whoever goes on
reports the same once. It appears whole or not at all; the last two are kept, and none once the job is finished.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from nasforge.errors import CorruptRunError
from nasforge.run.directory import RunDirectory
from nasforge.run.state import from_files, to_files
from nasforge.strategies.base import Event, Report

KEPT = 2
"""Checkpoints of a job that are kept: should the last one be damaged, there is one before."""

SHARE = 0.03
"""The largest share of the time that saving takes: where it takes long, it is done less often."""

CHECKPOINT_SECONDS = 60.0
"""Between two checkpoints of a job, unless told otherwise."""


class StoppedError(Exception):
    """The job was asked to stop, and has kept what it had."""


class Keeper:
    """Of one job; called with every report.

    Args:
        directory: where checkpoints are kept; None keeps none (of a team, whose ranks hold different parts).
        job: its name.
        tell: is given every report at once.
        note: is given a sentence that is worth a line for the user.
        seconds: between two checkpoints; 0 for one after every step.
        wanted: whether the runner is still there; a job that nobody waits for keeps nothing and ends.

    Attributes:
        events: all that was reported to be kept, that before a resumption included.
        stop: set from outside: keep a checkpoint after this step, and end.
    """

    def __init__(
        self,
        directory: RunDirectory | None,
        job: str,
        *,
        tell: Callable[[Report], None],
        note: Callable[[str], None] = lambda text: None,
        seconds: float = CHECKPOINT_SECONDS,
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self.events: list[Event] = []
        self.stop = False
        self._directory, self._job = directory, job
        self._tell, self._note, self._wanted = tell, note, wanted
        self._seconds = seconds
        self._number = 0
        self._due = time.monotonic() + seconds

    def __call__(self, report: Report) -> None:
        """Tell a report, and keep it if it is an event."""
        if isinstance(report, Event):
            self.events.append(report)
        self._tell(report)

    def restored(self) -> Mapping[str, Any] | None:
        """The state of the newest checkpoint that is not damaged, None where there is none; asked once, at the begin.

        Damaged ones are told and passed over: what was done since the one before is done again.
        """
        if self._directory is None:
            return None
        for number in sorted(self._directory.parts(self._job), reverse=True):
            self._number = max(self._number, number)
            try:
                kept = from_files(self._directory.read_part(self._job, number))
                events = [Event(kind, facts) for kind, facts in kept["events"]]
                state: Mapping[str, Any] = kept["state"]
            except (CorruptRunError, KeyError, TypeError, ValueError) as error:
                self._note(f"a checkpoint of {self._job} is damaged and passed over: {error}")
                continue
            self.events = events
            return state
        return None

    def step(self, state: Callable[[], Mapping[str, Any]]) -> None:
        """After every step of the job: keep a checkpoint if it is time.

        Args:
            state: gives the state of the job.

        Raises:
            StoppedError: the job is to end here.
        """
        if not self._wanted():
            raise StoppedError
        if self.stop or time.monotonic() >= self._due:
            self.keep(state)
        if self.stop:
            raise StoppedError

    def keep(self, state: Callable[[], Mapping[str, Any]]) -> None:
        """Keep a checkpoint now: what comes next takes long and has no steps."""
        if self._directory is None:
            return
        began = time.monotonic()
        kept = {"state": state(), "events": [(event.kind, event.facts) for event in self.events]}
        self._number += 1
        self._directory.save_part(self._job, self._number, to_files(kept), kept=KEPT)
        ended = time.monotonic()
        # Saving before the first interval has passed would be more than its share, too.
        self._due = ended + (max(self._seconds, (ended - began) / SHARE) if self._seconds else 0.0)
