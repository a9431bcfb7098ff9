"""Which backend recurrent cells run on: settled before a run's first step, recorded, the same to its end. No torch.

Backends agree up to rounding, and a search magnifies rounding; so a run never changes its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nasforge.components import Operation
from nasforge.errors import SpecError, UsageError
from nasforge.executors.native_build import NativeUnavailable, build
from nasforge.run.compile import compile_space
from nasforge.spec.specs import RunSpec

Name = Literal["native", "python", "interpreter"]


@dataclass(frozen=True)
class Settled:
    """A backend.

    Attributes:
        name: which; ``interpreter`` also where a space has no recurrent cell.
        native_build: digest of what the numbers of the native one depend on; None for the others.
    """

    name: Name
    native_build: str | None = None

    def facts(self) -> dict[str, str | None]:
        """For ``run.json``."""
        return {"backend": self.name, "native_build": self.native_build}


def settle(spec: RunSpec, operations: Mapping[str, Operation], device: str) -> tuple[Settled, str]:
    """The backend of a run that begins, and a line for the user, empty where there is nothing to say.

    Raises:
        SpecError: ``executor.backend: native`` and it cannot be had; shown at its line.
    """
    asked, graph = spec.executor.backend, compile_space(spec, "search", operations)
    if asked == "interpreter" or not graph.recurrent:
        return Settled("interpreter"), ""
    if asked == "python":
        return Settled("python"), ""
    try:
        if device != "cpu":
            raise NativeUnavailable(f"it computes on the CPU, and the device is {device}")
        native = build()
    except NativeUnavailable as reason:
        if asked == "native":
            message = f"the native backend cannot be had: {reason}; `backend: auto` takes Python then"
            raise SpecError([spec.fault(("executor", "backend"), message, key=False)]) from None
        return Settled("python"), f"recurrent cells run in Python, not natively: {reason}" if device == "cpu" else ""
    built = "" if native.seconds is None else f"native backend built and tested in {native.seconds:.1f} s"
    return Settled("native", native.key), built and f"{built} ({native.compiler}); kept in {native.path.parent}"


def library_of(run: Mapping[str, Any]) -> Path | None:
    """The native library that a run was begun with, by its ``run.json``; None for another backend.

    Raises:
        UsageError: it cannot be had here any more, or would compute other last digits.
    """
    if run["backend"] != "native":
        return None
    refused = "this run began with the native backend"
    advice = "another one would give other last digits, so the run cannot go on; begin it anew"
    try:
        native = build()
    except NativeUnavailable as reason:
        raise UsageError(f"{refused}, which cannot be had here: {reason}; {advice}") from None
    if native.key != run.get("native_build"):
        raise UsageError(
            f"{refused} of another build ({run.get('native_build')}, here {native.key}): the processor, the compiler "
            f"({native.compiler}), torch or nasforge differ; {advice}"
        )
    return native.path
