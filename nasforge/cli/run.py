"""``nasforge run`` and ``nasforge resume``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nasforge.cli.common import Overrides, PluginFiles, Profile, load_plugins
from nasforge.cli.progress import observer_for
from nasforge.cli.table import begin_table, work_on_table
from nasforge.components import Precision
from nasforge.errors import DataError, SpecError, UsageError
from nasforge.plugins import Plugins
from nasforge.resolve import resolve
from nasforge.run.backend import library_of, settle
from nasforge.run.compile import compile_space, refuse_what_cannot_be_trained, require_within_limits
from nasforge.run.directory import RunDirectory, claim, claim_next
from nasforge.run.group import Group, group_here, refuse_for_ranks, require_ranks, resume_command
from nasforge.run.pool import become_member
from nasforge.run.runner import Runner
from nasforge.run.spec_of_run import spec_of
from nasforge.run.start import n_workers, start_run, versions
from nasforge.run.threads import asked, choose
from nasforge.spec.run_spec import load_spec
from nasforge.spec.specs import RunSpec, TableSpec

RUNS = Path("runs")


def run(
    file: Annotated[Path, typer.Argument(metavar="SPACE.yaml", help="What to search, and how.", show_default=False)],
    overrides: Overrides = None,
    profile: Profile = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="Where to work (default: runs/NAME-0001 ...).")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of everything random.")] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, or cuda where torch finds one.")] = "cpu",
    threads: Annotated[
        str,
        typer.Option(
            "--threads",
            metavar="N|rule|auto",
            help="Threads of each worker process: a number; rule, by the sizes in the file, 1 for small networks; "
            "or auto, measured first, which gives up that equal runs are equal to the last digit.",
        ),
    ] = "rule",
    checkpoint_seconds: Annotated[
        float | None,
        typer.Option(
            "--checkpoint-seconds",
            min=0,
            help="How often a search or a training is kept in the middle, so that `nasforge resume` goes on there "
            "(default: 60; less often where that would take 3 % of the time; 0: after every step).",
        ),
    ] = None,
    plugin: PluginFiles = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print the verdict only.")] = False,
) -> None:
    """Search, derive, train from scratch, compare with random search and references, report.

    Under torchrun all processes train one network at a time together, with batches of N times the size.
    """
    group = group_here()
    if group.rank > 0:
        become_member()
    wanted = asked(threads)
    plugins = load_plugins(plugin)
    spec = load_spec(file, plugins, profile=profile, overrides=overrides or (), seed=seed)
    arguments = {
        "file": str(file),
        "overrides": list(overrides or ()),
        "profile": spec.profile,
        "seed": seed,
        "device": device,
        "threads": threads,
    }
    plugin_files = [path.resolve() for path in plugin or ()]

    def claimed() -> RunDirectory:
        return claim(run_dir) if run_dir else claim_next(RUNS, spec.name)

    if isinstance(spec, TableSpec):
        if checkpoint_seconds is not None:
            raise UsageError("--checkpoint-seconds means nothing for a table: its search takes seconds")
        begin_table(spec, plugins, claimed, source=file, arguments=arguments, plugin_files=plugin_files, group=group)
        return
    check_device(device, spec.executor.precision)
    refuse_for_ranks(group, spec, device)
    if checkpoint_seconds is not None and group.size > 1:
        raise UsageError("--checkpoint-seconds means nothing under torchrun: ranks keep whole jobs only")
    chosen = choose(wanted, spec, n_workers(spec) if group.size == 1 else 1, group.size, device)
    require_within_limits(spec, compile_space(spec, "final", plugins.catalogue.operations))
    base = file.resolve().parent
    data = prepare(spec, plugins, base)
    backend, said = settle(spec, plugins.catalogue.operations, device)
    if said:
        typer.echo(said, err=True)
    directory = claimed()
    start_run(
        directory,
        spec,
        source=file.read_bytes(),
        arguments=arguments,
        device=device,
        threads=chosen,
        ranks=group.size,
        base=base,
        data=data,
        backend=backend,
        checkpoint_seconds=checkpoint_seconds,
        plugin_files=plugin_files,
    )
    _work(directory, spec, plugins, quiet, group)


def resume(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory.", show_default=False)],
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print the verdict only.")] = False,
) -> None:
    """Continue a run: what is finished stays, the rest goes on from its last checkpoint, to the same result."""
    directory = RunDirectory(run_dir)
    facts = directory.read_run()
    group = group_here()
    if group.rank > 0:
        become_member()
    directory.lock()
    if (run_dir / "result.json").exists() and facts["status"] == "done":
        raise UsageError(f"{run_dir}: this run is done; `nasforge show {run_dir}` shows what it found")
    require_ranks(run_dir, facts, group)
    library_of(facts)
    changed = _changed(facts["versions"], versions())
    if changed:
        typer.echo(
            f"warning: the run began with other versions ({changed}); results may differ in the last digits", err=True
        )
    plugins = load_plugins([Path(name) for name in facts["plugin_files"]])
    spec = spec_of(directory, plugins)
    if isinstance(spec, TableSpec):
        work_on_table(directory, spec, plugins, Path(facts["base"]))
        return
    if prepare(spec, plugins, Path(facts["base"])) != facts["data"]:
        raise UsageError(
            f"{run_dir}: the data is not what this run began with (its sha256 differs); put the old data back, or "
            "start a new run"
        )
    _work(directory, spec, plugins, quiet, group)


def _work(directory: RunDirectory, spec: RunSpec, plugins: Plugins, quiet: bool, group: Group) -> None:
    observer = observer_for(spec, directory.path, quiet=quiet)
    try:
        with observer:
            result = Runner(directory, spec, plugins, observer).run()
    except KeyboardInterrupt:
        why = "" if group.size == 1 else " (torchrun stops every rank when one has ended)"
        command = resume_command(directory.path, group.size)
        typer.echo(f"\nStopped{why}. What was done is kept; continue with: {command}", err=True)
        raise
    finally:
        directory.unlock()
    observer.conclude(result)


def prepare(spec: RunSpec, plugins: Plugins, base: Path) -> str:
    """Have the task check its data, before anything is written; returns what identifies the data.

    Raises:
        UsageError: the executor cannot train the space.
        SpecError: the data is missing, wrong or too small; shown at the line that names it.
    """
    refuse_what_cannot_be_trained(spec, plugins.catalogue.operations)
    shapes = None if spec.space_kind.shapes is None else spec.space_kind.shapes(spec.space)
    try:
        identity: str = resolve(spec.task_kind.prepare)(
            spec.task, (spec.search_recipe, spec.final_recipe), base, shapes
        )
    except DataError as error:
        raise SpecError([spec.fault(("task", spec.task_kind.data_key), str(error), key=False)]) from error
    return identity


def check_device(device: str, precision: Precision = "float32") -> None:
    """Refuse a device that is not there, or does not compute in `precision`, before anything is written.

    Raises:
        UsageError: an unknown name, no such device, or one that cannot.
    """
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise UsageError(f"--device {device}: use cpu, cuda or cuda:N")
    if kind == "cuda":
        # Only now is torch worth its three seconds.
        import torch

        count = torch.cuda.device_count()
        if int(index or 0) >= count:
            raise UsageError(f"--device {device}: torch finds {count} CUDA device(s) here; use --device cpu")
        if precision == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise UsageError(f"--device {device} has no units for bfloat16; use executor.precision: float32")


def _changed(then: dict[str, Any], now: dict[str, str]) -> str:
    return ", ".join(f"{name} {old}, now {now.get(name)}" for name, old in then.items() if now.get(name) != old)
