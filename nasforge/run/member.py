"""Ranks: how they find one another, agree that they can work together, and what those after the first do.

A rank after the first is started by `nasforge.run.pool.become_member`. It hears from rank 0 which job is next, does its
part of it, and writes nothing: not into the run directory, and to the terminal only errors.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import torch

from nasforge.errors import NasforgeError, RunFailedError, UsageError
from nasforge.executors.loops import Loops, PythonLoops
from nasforge.executors.native import NativeLoops
from nasforge.executors.native_build import NativeUnavailable
from nasforge.executors.recurrent import RecurrentBackend
from nasforge.executors.team import ALONE, Team
from nasforge.plugins import build_plugins
from nasforge.run.backend import library_of
from nasforge.run.directory import RunDirectory
from nasforge.run.group import Group, group_here
from nasforge.run.jobs import Workshop
from nasforge.run.keeper import Keeper
from nasforge.run.plan import Job
from nasforge.run.spec_of_run import jobs_of, training_of
from nasforge.run.start import versions
from nasforge.strategies.base import Report

END = ""
"""What is announced instead of a job when none is left: others thus tell an end from a first rank that died."""


@contextmanager
def joined(group: Group) -> Iterator[Team]:
    """The team of a group, for as long as the context lasts.

    Raises:
        RunFailedError: the other ranks do not come.
    """
    if group.size == 1:
        yield ALONE
        return
    import torch.distributed as distributed

    backend = "gloo"
    if torch.cuda.is_available() and distributed.is_nccl_available():
        # Numbers that every rank is told lie on the CPU, gradients where the network is.
        backend = "cpu:gloo,cuda:nccl"
        # Else a rank that has gone ends the others by a signal, with a trace of C++.
        os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
    try:
        distributed.init_process_group(backend, timeout=timedelta(seconds=group.timeout_seconds))
    except (RuntimeError, ValueError) as error:
        why = str(error).partition("\n")[0]
        raise RunFailedError(
            f"rank {group.rank} of {group.size}: the ranks did not find one another within {group.timeout_seconds:g} s "
            f"({why})"
        ) from error
    try:
        yield Team(group.rank, group.size)
    finally:
        distributed.destroy_process_group()


def open_workshop(team: Team, group: Group, path: Path | None) -> tuple[Workshop, dict[str, Job]]:
    """What a process needs to do the jobs of a run, and these by name; all ranks make sure that theirs are the same.

    Args:
        team: of this process.
        group: the same, as the environment says.
        path: the run directory; None on ranks after the first, which are told.

    Raises:
        UsageError: a rank cannot take part; all raise the same.
    """
    directory = _meet(team, path)
    run = directory.read_run()
    torch.set_num_threads(int(run["threads"]))
    plugins = build_plugins([Path(name) for name in run["plugin_files"]])
    spec = training_of(directory, plugins)
    device = _own_device(team, group, str(run["device"]))
    backend = _own_backend(team, run)
    shop = Workshop(spec, plugins, directory, base=Path(run["base"]), device=device, backend=backend, team=team)
    if team.size > 1:
        facts = json.dumps(dict(shop.task.facts()), sort_keys=True)
        _agree(team, "" if team.announce(facts) == facts else "its data is not that of rank 0; give all ranks the same")
    return shop, {job.name: job for job in jobs_of(spec)}


def _meet(team: Team, path: Path | None) -> RunDirectory:
    """The directory of the run, which every rank sees."""
    said = ""
    if path is not None:
        if team.size == 1:
            return RunDirectory(path)
        run = RunDirectory(path).read_run()
        said = json.dumps({"path": str(path.resolve()), "started": run["started"], "versions": versions()})
    told: dict[str, Any] = json.loads(team.announce(said))
    directory = RunDirectory(Path(told["path"]))
    _agree(team, _problem(directory, told))
    return directory


def _problem(directory: RunDirectory, told: dict[str, Any]) -> str:
    mine = versions()
    if mine != told["versions"]:
        theirs = told["versions"].items()
        differ = ", ".join(f"{name} {mine[name]}, not {other}" for name, other in theirs if mine[name] != other)
        return f"it has other versions than rank 0 ({differ}); ranks must be equal to the bit"
    try:
        if directory.read_run().get("started") == told["started"]:
            return ""
    except NasforgeError:
        pass
    return f"it does not see the run directory {directory.path}; ranks need one file system for all of them"


def _agree(team: Team, problem: str) -> None:
    """Go on only if no rank has a problem; the first one is raised on all."""
    has = team.share(team.size, lambda rank: (float(bool(problem)),), 1)
    bad = [rank for rank, (flag,) in enumerate(has) if flag]
    if bad:
        told = team.announce(f"rank {bad[0]} of {team.size} on {socket.gethostname()}: {problem}", bad[0])
        raise UsageError(told)


def _own_backend(team: Team, run: Mapping[str, Any]) -> RecurrentBackend | None:
    """How recurrent cells run here, as the run was begun with; None for the interpreter."""
    loops: Loops = PythonLoops()
    problem = ""
    try:
        library = library_of(run)
        loops = loops if library is None else NativeLoops(library)
    except (UsageError, NativeUnavailable) as reason:
        problem = str(reason)
    if team.size > 1:
        _agree(team, problem)
    elif problem:
        raise UsageError(problem)
    return None if run["backend"] == "interpreter" else RecurrentBackend(loops)


def _own_device(team: Team, group: Group, device: str) -> str:
    if team.size == 1 or device == "cpu":
        return device
    there = torch.cuda.device_count()
    _agree(
        team,
        "" if group.local_rank < there else f"torch finds {there} CUDA device(s) here, one for each rank is needed",
    )
    torch.cuda.set_device(group.local_rank)
    return f"{device}:{group.local_rank}"


def leave(code: int) -> NoReturn:
    """End this process, which was in a group, at once.

    One that ended in the usual way was now and then aborted at its very end ("terminate called without an active
    exception"), by threads of torch that were still there.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> NoReturn:
    """Do this rank's part of every job until rank 0 has none left."""
    # What libraries print must not get between the lines of rank 0.
    os.dup2(2, 1)
    try:
        _serve(group_here())
    except NasforgeError as error:
        print(error, file=sys.stderr)
        leave(error.exit_code)
    leave(0)


def _serve(group: Group) -> None:
    with joined(group) as team:
        shop, jobs = open_workshop(team, group, None)
        while (name := team.announce()) != END:
            shop.run(jobs[name], Keeper(None, name, tell=_unheard))


def _unheard(report: Report) -> None:
    """Rank 0 reports."""
