"""The run spec: everything that a run is told, validated, with the components that its names stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nasforge.components import (
    ControllerKind,
    ExecutorKind,
    SpaceKind,
    StrategyKind,
    TaskKind,
)
from nasforge.errors import UsageError
from nasforge.spec.lets import PutIn, put_in, reserved
from nasforge.spec.limits import Limits, check_counts
from nasforge.spec.merged import Merged, Source, merged
from nasforge.spec.nodes import Entry, MappingNode, Node
from nasforge.spec.objectives import COSTS, faults_of
from nasforge.spec.section_reader import SectionReader, TaggedSection
from nasforge.spec.sections import RunSections
from nasforge.spec.specs import RunSpec, SpaceSpec, TableSpec
from nasforge.spec.validate import Faults

if TYPE_CHECKING:
    from nasforge.plugins import Plugins

DEFAULT_STRATEGY = "enas"

TABLE_STRATEGY = "black_box"
"""The strategy of files whose task trains nothing."""

TABLE_EXECUTOR = "shared_weights"
"""Whose defaults stand where a file can have no executor; nothing reads them."""

Value = TypeVar("Value")


def load_spec(
    source: Node | Path,
    plugins: Plugins,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    seed: int | None = None,
) -> RunSpec | TableSpec:
    """Read and validate what can be run; as `load_run_spec`, which takes trainings only."""
    spec = _load(Source(source, profile, overrides, seed), plugins, without_task=False)
    assert isinstance(spec, RunSpec | TableSpec)
    return spec


def load_run_spec(
    source: Node | Path,
    plugins: Plugins,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    seed: int | None = None,
) -> RunSpec:
    """Read and validate a run spec.

    Args:
        source: a YAML file, or the tree of one.
        plugins: what names stand for.
        profile: a profile of the file; None for ``quick`` if the file has it.
        overrides: ``path.to.key=value`` each; they win over the profile, a later one over an earlier one.
        seed: wins over everything.

    Raises:
        UsageError: no such file or profile, an override that is not of that form, or a search in a table.
        SpecError: every fault that was found, in the order of places.
        PluginError: a plugin that the spec needs is installed, but failed.
    """
    spec = load_spec(source, plugins, profile=profile, overrides=overrides, seed=seed)
    if isinstance(spec, TableSpec):
        raise UsageError(f"{spec.name} searches a table and trains nothing: `nasforge run` does that, and nothing else")
    return spec


def load_space_spec(
    source: Node | Path,
    plugins: Plugins,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
) -> SpaceSpec:
    """Read and validate a spec that may lack a task; with one it is a `RunSpec`. Otherwise as `load_run_spec`."""
    return _load(Source(source, profile, overrides, None), plugins, without_task=True)


def _load(given: Source, plugins: Plugins, *, without_task: bool) -> SpaceSpec:
    source = merged(given)
    root, names = _with_names(source)
    reader = SectionReader(root, plugins, names.faulty)
    faults = reader.faults
    faults.extend([*source.problems, *names.problems])
    sections = reader.top(without_task=without_task)
    space = reader.tagged("space", plugins.catalogue.kinds, "space kind")
    if space:
        faults.extend(reserved(names, space.component.config))
    task = reader.tagged("task", plugins.catalogue.tasks, "task")
    trains = task is None or task.component.trains
    default = DEFAULT_STRATEGY if trains else TABLE_STRATEGY
    strategy = reader.tagged("strategy", plugins.catalogue.strategies, "strategy", default=default)
    # Where the strategy is not known, neither is what may be left out.
    defaults: Mapping[Any, str] = strategy.component.defaults if strategy else {}
    asking = f"the strategy '{strategy.component.name}'" if strategy else ""
    controller = reader.tagged(
        "controller",
        plugins.catalogue.controllers,
        "controller",
        default=defaults.get("controller"),
        needed_by=asking,
    )
    executor = reader.tagged(
        "executor",
        plugins.catalogue.executors,
        "executor",
        default=defaults.get("executor") if trains else TABLE_EXECUTOR,
        needed_by=asking,
        shares=space.component.share if space else (),
    )
    stack = reader.stack(space.component) if space else None
    search_recipe = final_recipe = None
    if task:
        search_recipe = reader.recipe(("executor", "recipe"), task.component.recipe, task.component.search_recipe)
        final_recipe = reader.recipe(("train", "recipe"), task.component.recipe, {})
        if space and space.component.name not in task.component.kinds:
            message = f"the task '{task.component.name}' does not fit a space of kind '{space.component.name}'"
            faults.add(("task", "kind"), message, f"it fits {', '.join(task.component.kinds)}")
    _check_training(reader, space, task, strategy, executor)
    if sections and sections.compare.correlation:
        _check_correlation(reader, space, task, executor)
    looks_up = space is not None and not space.component.networks
    limits = None if looks_up else reader.limits()
    columns = reader.columns() if looks_up else {}
    if limits and space and space.config:
        check_counts(limits, space.component, space.config, faults)
    if looks_up and task is None and columns:
        faults.add(("limits",), "limits on columns need the task that names the table", at_key=True)
    if sections:
        _check_objectives(sections, task, limits, looks_up, faults)
    if strategy and strategy.config and controller and controller.config:
        _check_group(strategy, controller, faults)
    if sections and sections.derive.proposals == "beam" and controller and not controller.component.most_likely:
        can = sorted(name for name, kind in plugins.catalogue.controllers.items() if kind.most_likely)
        message = f"`proposals: beam` needs a policy, which the controller '{controller.component.name}' has not"
        faults.add(("derive", "proposals"), message, f"set proposals: sample, or a controller of {', '.join(can)}")
    elif sections and sections.derive.proposals == "beam" and executor and executor.component.source != "shared":
        message = "`proposals: beam` would propose what has no score: here candidates are those that were trained"
        faults.add(("derive", "proposals"), message, "set proposals: sample")
    elif sections and sections.derive.proposals == "beam" and limits and limits.latency_ms is not None:
        message = "`proposals: beam` would measure the latency of thousands of architectures"
        faults.add(("derive", "proposals"), message, "set proposals: sample")
    if strategy and strategy.config and executor and executor.config and _fit(strategy, executor) and trains:
        for key, message in strategy.component.refusal(strategy.config, executor.config).items():
            faults.add(("strategy", key), message)
    faults.raise_if_any(names.otherwise)
    sections, space, strategy = _given(sections), _given(space), _given(strategy)
    controller, executor = _given(controller), _given(executor)
    alone = SpaceSpec(
        name=sections.name,
        seed=sections.seed,
        space=_given(space.config),
        space_kind=space.component,
        let=names.let,
        executor=_given(executor.config),
        executor_kind=executor.component,
        train=sections.train,
        stack=stack,
        plugins=sections.plugins,
        limits=limits,
        objectives=sections.objectives,
        latency=sections.latency,
        profile=source.profile,
        tree=root,
    )
    if task is None:
        return alone
    if not trains:
        return TableSpec(
            **{each.name: getattr(alone, each.name) for each in fields(alone)},
            task=_given(task.config),
            task_kind=task.component,
            strategy=_given(strategy.config),
            strategy_kind=strategy.component,
            controller=_given(controller.config),
            controller_kind=controller.component,
            compare=sections.compare,
            columns=columns,
        )
    return RunSpec(
        **{each.name: getattr(alone, each.name) for each in fields(alone)},
        task=_given(task.config),
        task_kind=task.component,
        strategy=_given(strategy.config),
        strategy_kind=strategy.component,
        controller=_given(controller.config),
        controller_kind=controller.component,
        search_recipe=_given(search_recipe),
        final_recipe=_given(final_recipe),
        derive=sections.derive,
        compare=sections.compare,
        workers=sections.workers,
    )


def _check_training(
    reader: SectionReader,
    space: TaggedSection[SpaceKind] | None,
    task: TaggedSection[TaskKind] | None,
    strategy: TaggedSection[StrategyKind] | None,
    executor: TaggedSection[ExecutorKind] | None,
) -> None:
    """What means nothing without networks, and strategies that do not fit the task or the executor."""
    faults = reader.faults
    if strategy is None:
        return
    kind = strategy.component
    if task is None or task.component.trains:
        _check_executor(reader, strategy, executor, task)
        return
    if "table" not in kind.sources:
        message = f"the strategy '{kind.name}' does not fit the task '{task.component.name}', which trains nothing"
        known = sorted(name for name, each in reader.strategies.items() if "table" in each.sources)
        faults.add(("strategy",), message, f"it fits {', '.join(known)}")
    for key in ("executor", "derive", "train"):
        if reader.wrote(key):
            message = f"`{key}` would mean nothing: the task '{task.component.name}' trains nothing"
            faults.add((key,), message, "leave it out", at_key=True)


def _fit(strategy: TaggedSection[StrategyKind], executor: TaggedSection[ExecutorKind]) -> bool:
    return executor.component.source in strategy.component.sources


def _check_executor(
    reader: SectionReader,
    strategy: TaggedSection[StrategyKind],
    executor: TaggedSection[ExecutorKind] | None,
    task: TaggedSection[TaskKind] | None,
) -> None:
    """Strategies that do not fit a task which trains, or the executor."""
    kind = strategy.component
    if kind.sources <= {"table"} and task is not None:
        message = f"the strategy '{kind.name}' does not fit the task '{task.component.name}', which trains networks"
        known = sorted(name for name, each in reader.strategies.items() if each.sources - {"table"})
        reader.faults.add(("strategy",), message, f"it fits {', '.join(known)}")
    # A strategy with faults of its own may be a default that nobody meant.
    elif executor is not None and strategy.config is not None and not _fit(strategy, executor):
        does = "shares weights" if executor.component.source == "shared" else "trains each child from scratch"
        message = f"the strategy '{kind.name}' does not fit the executor '{executor.component.name}', which {does}"
        fitting = sorted(name for name, each in reader.executors.items() if each.source in kind.sources)
        others = sorted(name for name, each in reader.strategies.items() if executor.component.source in each.sources)
        hint = f"it fits {', '.join(fitting)}; with {executor.component.name} go the strategies {', '.join(others)}"
        reader.faults.add(("executor", "kind"), message, hint)


def _check_correlation(
    reader: SectionReader,
    space: TaggedSection[SpaceKind] | None,
    task: TaggedSection[TaskKind] | None,
    executor: TaggedSection[ExecutorKind] | None,
) -> None:
    why = ""
    if task and not task.component.trains:
        why = f"the task '{task.component.name}' trains nothing"
    elif space and not space.component.networks:
        why = f"a space of kind '{space.component.name}' has no networks"
    elif executor and executor.component.source != "shared":
        why = f"the scores of the executor '{executor.component.name}' are trainings"
    if why:
        message = f"`correlation` would compare proxies with trainings, but {why}"
        reader.faults.add(("compare", "correlation"), message, "leave it out", at_key=True)


def _check_objectives(
    sections: RunSections, task: TaggedSection[TaskKind] | None, limits: Limits | None, looks_up: bool, faults: Faults
) -> None:
    """Objectives that the task does not have (those of a table are checked with it); latency that no one asks for."""
    names = {objective.name for objective in sections.objectives}
    if sections.latency is not None and (looks_up or not ((limits and limits.latency_ms) or "latency_ms" in names)):
        message = "`latency` would mean nothing: neither `limits` nor `objectives` ask for latency_ms"
        faults.add(("latency",), message, "leave it out", at_key=True)
    if task is None or not task.component.trains or not sections.objectives:
        return
    if task.component.metric is None:
        message = f"the task '{task.component.name}' does not say what it measures, which objectives need"
        faults.add(("objectives",), message, "its plugin would say it by TaskKind.metric", at_key=True)
        return
    for place, message, hint in faults_of(sections.objectives, *task.component.metric, COSTS):
        faults.add(("objectives", place), message, hint)


def _check_group(
    strategy: TaggedSection[StrategyKind], controller: TaggedSection[ControllerKind], faults: Faults
) -> None:
    given = strategy.component.group(strategy.config)
    needed = controller.component.smallest_group(controller.config)
    if 0 < given < needed:
        message = (
            f"the strategy '{strategy.component.name}' gives the controller groups of {given}, but "
            f"'{controller.component.name}' with its options learns from groups of at least {needed}"
        )
        key = "batch" if "batch" in type(strategy.config).model_fields else "candidates_per_step"
        hint = f"raise strategy.{key}, or choose another update for the controller"
        faults.add(("strategy",), message, hint)


def _with_names(source: Merged) -> tuple[Node, PutIn]:
    """The tree with the named choices of its space put in."""
    root = source.root
    space = root.entries.get("space") if isinstance(root, MappingNode) else None
    if space is None or not isinstance(root, MappingNode):
        return root, PutIn(root, {})
    names = put_in(space.node, written=(source.written,), explained="let" in root.entries)
    return MappingNode(root.mark, {**root.entries, "space": Entry(space.key_mark, names.block)}), names


def _given(value: Value | None) -> Value:
    """What was validated; where it is missing, a fault was reported and raised before."""
    if value is None:
        raise AssertionError("a section has no value, but no fault was reported")
    return value
