"""The spec and the jobs of a run directory: the same for the runner, its workers and whoever reads a run later."""

from __future__ import annotations

from dataclasses import replace

from nasforge.components import ExecutorOptions, FromScratchOptions
from nasforge.errors import CorruptRunError
from nasforge.plugins import Plugins
from nasforge.run.directory import RunDirectory
from nasforge.run.plan import Job, judges_policy, plan_jobs
from nasforge.spec.run_spec import load_spec
from nasforge.spec.specs import RunSpec, TableSpec


def spec_of(directory: RunDirectory, plugins: Plugins) -> RunSpec | TableSpec:
    """The spec of ``resolved.yaml``: nothing of it depends on profiles or overrides any more."""
    spec = load_spec(directory.path / "resolved.yaml", plugins)
    return replace(spec, profile=directory.read_run().get("profile"))


def training_of(directory: RunDirectory, plugins: Plugins) -> RunSpec:
    """The spec of a run that trains.

    Raises:
        CorruptRunError: it searches a table.
    """
    spec = spec_of(directory, plugins)
    if isinstance(spec, TableSpec):
        raise CorruptRunError(f"{directory.path / 'resolved.yaml'}: searches a table, which no worker does")
    return spec


def passes_of_a_training(executor: ExecutorOptions) -> int:
    """By what `StrategyKind.passes` is to be multiplied: the epochs of a training from scratch, else 1."""
    return executor.epochs if isinstance(executor, FromScratchOptions) else 1


def jobs_of(spec: RunSpec) -> tuple[Job, ...]:
    """The plan of a run of `spec`."""
    references: list[str] = []
    if spec.compare.references:
        references = [*spec.task_kind.references, *spec.space_kind.references(spec.space, spec.stack)]
    return plan_jobs(
        strategy=spec.strategy_kind.name,
        search_epochs=spec.strategy_kind.passes(spec.strategy) * passes_of_a_training(spec.executor),
        shortlist=spec.derive.shortlist,
        short_epochs=spec.derive.short_epochs,
        train_epochs=spec.train.epochs,
        baseline=spec.compare.random,
        references=references,
        sample=spec.compare.correlation,
        policy=judges_policy(spec),
    )
