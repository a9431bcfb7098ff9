"""What a user sees while a run works: bars where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import sys
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from nasforge.data.files import discard_standard_output
from nasforge.run.pareto import shown
from nasforge.run.plan import Job
from nasforge.run.runner import Observer
from nasforge.spec.specs import RunSpec

PLAIN_SECONDS = 20.0
"""Between two lines of progress of one job where there is no terminal."""


def observer_for(spec: RunSpec, run: Path, *, quiet: bool) -> View:
    """The view that fits where the output goes."""
    if quiet:
        return QuietView(spec, run)
    return BarView(spec, run) if sys.stdout.isatty() else PlainView(spec, run)


class _LastingConsole(Console):
    """A run outlives the reader of its output (``| head``): what nobody reads is dropped; rich would end the run."""

    def on_broken_pipe(self) -> None:
        """Called by rich. What Python still flushes at its end must not meet the closed pipe either."""
        self.quiet = True
        discard_standard_output()


class View(Observer):
    """Keeps what every view shows: what is running, how far it is, the best candidate so far."""

    def __init__(self, spec: RunSpec, run: Path) -> None:
        self.spec = spec
        self.run = run
        self.console = _LastingConsole(highlight=False, soft_wrap=True, emoji=False)
        self._jobs: Sequence[Job] = ()
        self._fractions: dict[str, float] = {}
        self._before = 0.0
        self._began = time.monotonic()
        self._best: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to close."""

    @abstractmethod
    def line(self, text: str) -> None:
        """Print one line of the log."""

    def started(self, jobs: Sequence[Job], finished: Sequence[Job]) -> None:
        """See `Observer`."""
        self._jobs = jobs
        self._fractions = {job.name: 1.0 for job in finished}
        self._before = self._done()
        spec = self.spec
        profile = f", profile {spec.profile}" if spec.profile else ""
        self.line(f"nasforge: {spec.name} ({spec.space_kind.name}, {spec.strategy_kind.name}{profile}) in {self.run}")
        self.line(f"{len(jobs)} jobs" + (f", {len(finished)} of them finished before" if finished else ""))
        if spec.executor_kind.source == "shared":
            self.line("Scores with shared weights are proxies: they rank candidates and are not the result.")
        else:
            self.line(f"Scores of the search ({spec.scored_by}) rank candidates and are not the result.")

    def noted(self, text: str) -> None:
        """See `Observer`."""
        self.line(text)

    def job_started(self, job: Job) -> None:
        """See `Observer`."""
        self.line(f"{job.title}: started")

    def job_finished(self, job: Job, seconds: float) -> None:
        """See `Observer`."""
        self._fractions[job.name] = 1.0
        self.line(f"{job.title}: finished in {_duration(seconds)}{self._time_left()}")

    def ticked(self, job: Job, tick: Mapping[str, Any]) -> None:
        """See `Observer`."""
        if tick["fraction"] is not None:
            self._fractions[job.name] = float(tick["fraction"])

    def happened(self, job: Job, event: Mapping[str, Any]) -> None:
        """See `Observer`."""
        text = self.told(job, event["kind"], event["facts"])
        if text:
            self.line(f"{job.title}: {text}")

    def told(self, job: Job, kind: str, facts: Mapping[str, Any]) -> str:
        """An event in words; empty where it is not worth a line."""
        if kind == "epoch":
            valid = "not finite" if facts["valid"] is None else f"{facts['valid']:.1f}"
            skipped = f", {facts['skipped']} steps skipped (not finite)" if facts["skipped"] else ""
            loss = "-" if facts["loss"] is None else f"{facts['loss']:.3f}"
            return f"epoch {facts['epoch'] + 1}: training loss {loss}, valid {valid}{skipped}"
        if kind == "weight_steps" and facts["skipped"]:
            return f"epoch {facts['epoch'] + 1}: {facts['skipped']} weight steps skipped so far (not finite)"
        if kind == "controller_step" and facts["step"] % 10 == 0:
            return (
                f"epoch {facts['epoch'] + 1}, controller step {facts['step']}: reward {facts['reward']:.3f}, "
                f"baseline {facts['baseline']:.3f}, entropy {facts['entropy']:.2f} nats"
            )
        if kind == "evaluation" and (facts["query"] + 1) % 25 == 0 and facts["best"] is not None:
            return f"{facts['query'] + 1} proposals scored, best reward {facts['best']:.3f} ({self._label})"
        if kind in ("evaluation", "rung") and "failed" in facts:
            return f"training of {facts['digest'][:10]} failed, the search goes on: {facts['failed']}"
        if kind == "candidate" and facts["proxy"] is not None:
            return self._candidate(job, facts)
        return ""

    def _candidate(self, job: Job, facts: Mapping[str, Any]) -> str:
        best = self._best.get(job.name)
        lower = facts["direction"] == "min"
        if best is not None and (facts["proxy"] >= best if lower else facts["proxy"] <= best):
            return ""
        self._best[job.name] = facts["proxy"]
        return f"best candidate so far {facts['digest'][:10]}, {self._label} {facts['proxy']:.1f} (not the result)"

    @property
    def _label(self) -> str:
        """What scores of the search are."""
        return "proxy" if self.spec.executor_kind.source == "shared" else self.spec.scored_by

    def _done(self) -> float:
        total = sum(job.cost for job in self._jobs) or 1.0
        return sum(job.cost * self._fractions.get(job.name, 0.0) for job in self._jobs) / total

    def _time_left(self) -> str:
        """``; about ... left``, from the share of the work that is done; empty where too little is known."""
        done = self._done()
        gained = done - self._before
        if gained < 0.01 or done >= 1:
            return ""
        return f"; about {_duration((time.monotonic() - self._began) * (1 - done) / gained)} left"

    def conclude(self, result: Mapping[str, Any]) -> None:
        """Show the verdict and where everything is."""
        rows = [("searched", result["best"])]
        if result["baseline"] is not None:
            rows.append(("random search", result["baseline"]))
        rows += [(reference["name"], reference) for reference in result["references"]]
        metric = result["best"]["trained"]["metric"]
        self.console.print()
        self.console.print(
            f"{'trained from scratch':<22}{'parameters':>12}{'valid ' + metric:>19}{'test ' + metric:>18}"
        )
        for title, row in rows:
            trained = row["trained"]
            values = [_score(trained, split) for split in ("valid", "test")]
            self.console.print(f"{title:<22}{row['parameters']:>12,}{values[0]:>19}{values[1]:>18}")
        self.console.print()
        self.console.print(result["verdict"]["text"], markup=False)
        policy = result.get("policy") or {"text": "", "alarms": []}
        for text in (policy["text"], policy.get("on_random_weights", {"text": ""})["text"]):
            if text:
                self.console.print(text, markup=False)
        for alarm in policy["alarms"]:
            self.console.print(f"warning: {alarm}", markup=False)
        if result["correlation"]:
            self.console.print(result["correlation"]["text"], markup=False)
        pareto = result["pareto"]
        if pareto is not None:
            of, random = ", ".join(pareto["objectives"]), pareto["baseline"]
            beside = "" if random is None else f" (random search: {random['hypervolume']:.4g})"
            self.console.print(
                f"\nPareto front: {len(pareto['front'])} of {pareto['scored']} architectures, {of} "
                f"({self.spec.scored_by}); "
                f"hypervolume {pareto['hypervolume']:.4g}{beside}; {self.run}/pareto.png",
                markup=False,
            )
            for line in shown(pareto["front"], pareto["objectives"]):
                self.console.print(line, markup=False)
        note = result["data"].get("note")
        if note:
            self.console.print(
                f"The data are {result['data']['name']} ({note}): no other results compare.", markup=False
            )
        files = ", ".join(sorted(path.name for path in (self.run / "best").iterdir()))
        self.console.print(
            f"\n{self.run}/best: {files}\n"
            f"{self.run}/result.json: all figures\nnasforge show {self.run}: the architecture",
            markup=False,
        )


def _score(trained: Mapping[str, Any], split: str) -> str:
    score, error = trained[split], trained.get(f"{split}_standard_error")
    if score is None:
        return "-"
    return f"{score:.2f}" if error is None else f"{score:.2f} ± {error:.2f}"


class QuietView(View):
    """Prints the verdict only."""

    def line(self, text: str) -> None:
        """Nothing."""


class PlainView(View):
    """Lines, for files and pipes."""

    def __init__(self, spec: RunSpec, run: Path) -> None:
        super().__init__(spec, run)
        self._last: dict[str, float] = {}

    def line(self, text: str) -> None:
        """Print, at once."""
        self.console.print(text, markup=False)

    def ticked(self, job: Job, tick: Mapping[str, Any]) -> None:
        """A line now and then."""
        super().ticked(job, tick)
        now = time.monotonic()
        if now - self._last.setdefault(job.name, now) >= PLAIN_SECONDS:
            self._last[job.name] = now
            progress = f"{tick['phase']}, {tick['done']}/{tick['total']}{_facts(tick['facts'])}"
            self.line(f"{job.title}: {progress}{self._time_left()}")


class BarView(View):
    """A bar for each running job and one for the whole run, with the log above them."""

    def __init__(self, spec: RunSpec, run: Path) -> None:
        super().__init__(spec, run)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[shown]}", markup=False),
            TimeElapsedColumn(),
            console=self.console,
            refresh_per_second=4,
        )
        self._bars: dict[str, TaskID] = {}
        self._rates: dict[str, tuple[str, float, int]] = {}
        self._whole = self._progress.add_task("whole run", total=1.0, shown="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def line(self, text: str) -> None:
        """Print above the bars."""
        self._progress.console.print(text, markup=False)

    def job_started(self, job: Job) -> None:
        """See `Observer`."""
        self._bars[job.name] = self._progress.add_task(job.title, total=None, shown="")

    def ticked(self, job: Job, tick: Mapping[str, Any]) -> None:
        """See `Observer`."""
        super().ticked(job, tick)
        phase, now = tick["phase"], time.monotonic()
        began = self._rates.get(job.name)
        if began is None or began[0] != phase:
            self._rates[job.name] = began = (phase, now, tick["done"])
        seconds, steps = now - began[1], tick["done"] - began[2]
        speed = f", {steps / seconds:.1f}/s" if seconds > 1 and steps > 0 else ""
        self._progress.update(
            self._bars[job.name],
            description=f"{job.title}: {phase}",
            completed=tick["done"],
            total=tick["total"],
            shown=_facts(tick["facts"]).lstrip(", ") + speed,
        )
        self._progress.update(self._whole, completed=self._done(), shown=self._time_left().lstrip("; "))

    def job_finished(self, job: Job, seconds: float) -> None:
        """See `Observer`."""
        self._progress.remove_task(self._bars.pop(job.name))
        super().job_finished(job, seconds)
        self._progress.update(self._whole, completed=self._done())


def _facts(facts: Mapping[str, float]) -> str:
    return "".join(f", {name} {value:.4g}" for name, value in facts.items())


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
