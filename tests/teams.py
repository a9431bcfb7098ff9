"""Teams of two processes of this machine, for tests of what ranks do together."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
import torch.multiprocessing

from nasforge.executors.team import Team

SIZE = 2
Work = Callable[[Team, Path], Any]


def _rank(rank: int, work: Work, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    # In a file: a port that is free now may not be a moment later.
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=SIZE, timeout=timedelta(seconds=60)
    )
    torch.save(work(Team(rank, SIZE), folder), folder / f"{work.__name__}-{rank}.pt")
    distributed.destroy_process_group()


def on_two(work: Work, folder: Path) -> None:
    """Do `work` on each of two ranks; an assertion that fails on one of them fails here."""
    # Forked: torch is loaded already, and test modules cannot be imported by their names.
    torch.multiprocessing.start_processes(_rank, (work, folder), nprocs=SIZE, start_method="fork")


def of_two(work: Work, folder: Path) -> list[Any]:
    """What `work` returns on each of two ranks."""
    on_two(work, folder)
    return [torch.load(folder / f"{work.__name__}-{rank}.pt") for rank in range(SIZE)]
