"""The processes that torchrun starts for one run, as their environment describes them. No torch here.

``torchrun --nproc-per-node N -m nasforge run ...`` starts the same command N times. That of rank 0 is the runner, as
always; its one worker process is rank 0 of the team. The others become ranks of the team themselves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasforge.errors import UsageError
from nasforge.spec.specs import RunSpec

TIMEOUT = "NASFORGE_GROUP_TIMEOUT"
DEFAULT_SECONDS = 600.0
_REQUIRED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Group:
    """This process among those of a run.

    Attributes:
        rank: from 0.
        size: how many there are; 1 without torchrun.
        local_rank: among those of this machine; says which CUDA device is this rank's.
        timeout_seconds: how long a rank waits for the others before it gives up.
    """

    rank: int
    size: int
    local_rank: int
    timeout_seconds: float


def group_here(environment: Mapping[str, str] = os.environ) -> Group:
    """What torchrun said in the environment of this process; a group of one where it said nothing.

    Raises:
        UsageError: it is incomplete, or no numbers.
    """
    seconds = _number(environment, TIMEOUT, DEFAULT_SECONDS)
    if seconds <= 0:
        raise UsageError(f"{TIMEOUT}={environment[TIMEOUT]}: a number of seconds above 0 is needed")
    size = int(_number(environment, "WORLD_SIZE", 1))
    if size <= 1:
        return Group(0, 1, 0, seconds)
    missing = [name for name in _REQUIRED if name not in environment]
    if missing:
        raise UsageError(
            f"WORLD_SIZE={size} in the environment asks for {size} ranks, but {', '.join(missing)} is not set; start "
            "them with torchrun, which sets all of these, or unset WORLD_SIZE"
        )
    return Group(int(_number(environment, "RANK", 0)), size, int(_number(environment, "LOCAL_RANK", 0)), seconds)


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(environment.get(name) or default)
    except ValueError:
        raise UsageError(f"{name}={environment[name]} in the environment: a number is needed") from None


def ranks_of(run: Mapping[str, Any]) -> int:
    """How many ranks a run was begun with, as its ``run.json`` says."""
    return int(run.get("ranks", 1))


def refuse_for_ranks(group: Group, spec: RunSpec, device: str) -> None:
    """Refuse what several ranks cannot do, before anything is written.

    Raises:
        UsageError: several workers, latency to be measured, or one device for all ranks.
    """
    if group.size == 1:
        return
    if spec.workers is not None and spec.workers > 1:
        raise UsageError(f"workers: {spec.workers} means nothing for {group.size} ranks, which do one job together")
    if spec.times:
        raise UsageError(f"latency_ms is measured by one process, and here are {group.size} ranks; leave it out")
    if ":" in device:
        raise UsageError(f"--device {device}: each of the {group.size} ranks takes a device of its own; use cuda")


def resume_command(path: Path, ranks: int) -> str:
    """What a user types to go on with a run."""
    starter = "nasforge" if ranks == 1 else f"torchrun --nproc-per-node {ranks} -m nasforge"
    return f"{starter} resume {path}"


def require_ranks(path: Path, run: Mapping[str, Any], group: Group) -> None:
    """Refuse to go on with another number of ranks.

    Raises:
        UsageError: there are more or fewer than the run began with.
    """
    if group.size != ranks_of(run):
        raise UsageError(
            f"{path}: this run began with {ranks_of(run)} rank(s), and here are {group.size}: batches would be of "
            f"another size, and results would not compare; continue with: {resume_command(path, ranks_of(run))}"
        )
