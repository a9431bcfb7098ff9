"""Latency of architectures on this machine: measured once each, kept in the run directory, and as a limit.

What is timed is one evaluation of the final network with fresh weights: the shape that a run exports (``train.hidden``,
``train.stack``), in float32, batch norms with fixed statistics, no gradients, on the device and with the threads of the
run. The reading is the median of some calls after some that warm up (`nasforge.spec.sections.LatencyOptions`).

Readings stand in ``latency.jsonl`` by canonical digest, and whoever asks again, a resumed run included, gets the first
one. So a run takes the same decisions however often it is interrupted; two runs need not. Workers of one run measure
one after the other, but what else the machine does, their trainings included, is in the readings.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock

from nasforge.data.files import append_line, write_bytes_atomically
from nasforge.errors import CorruptRunError, RunFailedError
from nasforge.executors.network import Network
from nasforge.graph.canonical import canonical_digest
from nasforge.graph.limits import Bound
from nasforge.graph.supergraph import Supergraph
from nasforge.seeds import stream
from nasforge.space.architecture import Architecture
from nasforge.space.rule import Rule
from nasforge.space.search_space import SearchSpace
from nasforge.spec.sections import LatencyOptions
from nasforge.tasks.base import Task

PROBES = 50
"""Architectures that are measured before training, at most, to find one that is within a limit."""

FEW = 5
"""Of these at least so many are measured, so that their spread can be told."""

MOST_REFUSED = 500
"""New readings in a row that break the limit, after which a search ends: 10,000, as for other limits, take too long."""

DIGITS = 3
"""After the point of a reading in milliseconds."""


def median_ms(
    call: Callable[[], object],
    options: LatencyOptions,
    *,
    clock: Callable[[], float] = time.perf_counter,
    wait: Callable[[], object] = lambda: None,
) -> float:
    """Milliseconds of a call: the median after the warm-up.

    Args:
        call: what is timed.
        options: how often it is called.
        clock: reads seconds.
        wait: returns when the device has done what it was given.
    """
    seconds: list[float] = []
    for _ in range(options.warm_up + options.calls):
        wait()
        begin = clock()
        call()
        wait()
        seconds.append(clock() - begin)
    return round(1000 * statistics.median(seconds[options.warm_up :]), DIGITS)


class LatencyMeter:
    """Latencies of the architectures of one run.

    Args:
        task: whose networks are timed.
        graph: of the space; says which architectures are one network.
        fresh: makes the final network of an architecture.
        options: how it is timed.
        path: the file of the readings; a lock stands beside it.
        device: where networks run.
    """

    def __init__(
        self,
        task: Task,
        graph: Supergraph,
        fresh: Callable[[Architecture], Network],
        options: LatencyOptions,
        path: Path,
        *,
        device: str = "cpu",
    ) -> None:
        self._task, self._graph, self._fresh, self._options = task, graph, fresh, options
        self._path, self._device = path, device
        self._readings: dict[str, float] = {}
        self._digests: dict[tuple[tuple[str, str], ...], str] = {}

    def __call__(self, architecture: Mapping[str, str]) -> float:
        """Milliseconds; equal for all architectures whose networks are equal but for the numbering of nodes.

        Raises:
            PluginError: the task does not say what an evaluation is.
            CorruptRunError: the file of readings is damaged.
            StorageError: it cannot be written.
        """
        choices = tuple(architecture.items())
        digest = self._digests.get(choices)
        if digest is None:
            digest = self._digests[choices] = canonical_digest(self._graph, architecture)
        if digest not in self._readings:
            with FileLock(self._path.with_suffix(".lock")):
                self._read()
                if digest not in self._readings:
                    self._measure(digest, Architecture(choices))
        return self._readings[digest]

    def _measure(self, digest: str, architecture: Architecture) -> None:
        call = self._task.evaluation(self._fresh(architecture), self._options.batch)
        cuda = self._device.startswith("cuda")
        reading = median_ms(call, self._options, wait=torch.cuda.synchronize if cuda else lambda: None)
        line = {"canonical_digest": digest, "ms": reading, "threads": torch.get_num_threads(), "device": self._device}
        append_line(self._path, json.dumps(line))
        self._readings[digest] = reading

    def _read(self) -> None:
        """Take over what any worker has measured. A line that was torn by a kill is cut off."""
        data = self._path.read_bytes() if self._path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            write_bytes_atomically(self._path, whole)
        try:
            for line in whole.splitlines():
                entry = json.loads(line)
                self._readings[entry["canonical_digest"]] = float(entry["ms"])
        except (ValueError, KeyError, TypeError):
            raise CorruptRunError(f"{self._path}: damaged; delete it to measure anew, or start a new run") from None


class LatencyRule:
    """A limit on latency after all other limits: only what keeps those is measured. For `SearchSpace.limited`.

    Args:
        bound: of milliseconds.
        others: the other limits; None for none.
        meter: gives the readings.
    """

    def __init__(self, bound: Bound, others: Rule | None, meter: Callable[[Mapping[str, str]], float]) -> None:
        self._bound, self._others, self._meter = bound, others, meter
        self._refused: dict[tuple[tuple[str, str], ...], float] = {}

    def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
        """As `nasforge.space.rule.Rule`.

        Raises:
            RunFailedError: of many architectures in a row, each measured for the first time, none is within.
        """
        violations = () if self._others is None else self._others.violations(architecture)
        if violations:
            return violations
        reading = self._meter(architecture)
        said = self._bound.broken(reading)
        if not said:
            self._refused.clear()
            return ()
        self._refused[tuple(architecture.items())] = reading
        if len(self._refused) >= MOST_REFUSED:
            readings = self._refused.values()
            spread = f"from {min(readings):,} to {max(readings):,} ms, median {statistics.median(readings):,.3f}"
            raise RunFailedError(
                f"of {len(readings)} different architectures in a row none is within limits.latency_ms: {spread}. "
                "Widen the limit, or change the space"
            )
        return (f"latency_ms: {said}",)


@dataclass(frozen=True)
class Probe:
    """What a few architectures drawn uniformly within the other limits take, in milliseconds.

    Attributes:
        readings: all of them.
        within: how many are within the limit on latency.
    """

    readings: tuple[float, ...]
    within: int


def probe(space: SearchSpace, bound: Bound, meter: Callable[[Mapping[str, str]], float]) -> Probe:
    """Measure until a few are known and one is within the limit, `PROBES` at most.

    Args:
        space: with all limits but that on latency.
        bound: that limit.
        meter: gives the readings.
    """
    rng = stream(0, "latency")
    readings: list[float] = []
    within = 0
    while len(readings) < PROBES and (len(readings) < FEW or not within):
        readings.append(meter(space.sample(rng)))
        within += not bound.broken(readings[-1])
    return Probe(tuple(readings), within)
