"""The run spec: everything that a run is told, validated, with the components that its names stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nasforge.components import (
    ControllerKind,
    ExecutorKind,
    ExecutorOptions,
    Options,
    SpaceKind,
    StrategyKind,
    TaskKind,
)
from nasforge.errors import Problem, SpecError
from nasforge.recipe import Recipe
from nasforge.spec.nodes import Entry, MappingNode, Mark, Node, ScalarNode, find
from nasforge.spec.overrides import apply_overrides, apply_profile, parse_override
from nasforge.spec.resolved import tagged, to_plain
from nasforge.spec.section_reader import SectionReader
from nasforge.spec.sections import FORMAT, NAMED, CompareOptions, DeriveOptions, TrainOptions
from nasforge.spec.yaml_reader import read_yaml

if TYPE_CHECKING:
    from nasforge.plugins import Plugins

DEFAULT_STRATEGY = "enas"

Value = TypeVar("Value")


@dataclass(frozen=True)
class RunSpec:
    """A validated run; two are equal if their resolved forms are.

    Attributes:
        name: of the run.
        seed: of every random stream.
        space: the ``space`` block.
        space_kind: the component that reads it.
        task: the ``task`` block.
        task_kind: the component that reads it.
        strategy: the ``strategy`` block.
        strategy_kind: the component that reads it.
        controller: the ``controller`` block.
        controller_kind: the component that reads it.
        executor: the ``executor`` block; its recipe is `search_recipe`.
        executor_kind: the component that reads it.
        search_recipe: how shared weights are trained, an instance of ``task_kind.recipe``.
        final_recipe: how single networks are trained, an instance of ``task_kind.recipe``.
        derive: from the policy to one architecture.
        train: the final training; its recipe is `final_recipe`.
        compare: what the result is compared with.
        workers: processes for independent trainings; None for two, or one on a single core.
        plugins: the distributions that the spec needs, as written.
        profile: the profile that was applied; no part of the resolved form.
        data_mark: where the data is named; no part of the resolved form.
    """

    name: str
    seed: int
    space: Options
    space_kind: SpaceKind
    task: Options
    task_kind: TaskKind
    strategy: Options
    strategy_kind: StrategyKind
    controller: Options
    controller_kind: ControllerKind
    executor: ExecutorOptions
    executor_kind: ExecutorKind
    search_recipe: Recipe
    final_recipe: Recipe
    derive: DeriveOptions
    train: TrainOptions
    compare: CompareOptions
    workers: int | None
    plugins: tuple[str, ...]
    profile: str | None = field(default=None, compare=False)
    data_mark: Mark | None = field(default=None, compare=False, repr=False)

    def resolved(self) -> dict[str, Any]:
        """Plain data of everything, defaults filled in; loading it gives an equal `RunSpec`."""
        executor = tagged(self.executor_kind.name, self.executor)
        if "recipe" in executor:
            executor["recipe"] = to_plain(self.search_recipe)
        return {
            "nasforge": FORMAT,
            "name": self.name,
            "plugins": list(self.plugins),
            "seed": self.seed,
            "space": tagged(self.space_kind.name, self.space),
            "task": tagged(self.task_kind.name, self.task),
            "strategy": tagged(self.strategy_kind.name, self.strategy),
            "controller": tagged(self.controller_kind.name, self.controller),
            "executor": executor,
            "derive": to_plain(self.derive),
            "train": {**to_plain(self.train), "recipe": to_plain(self.final_recipe)},
            "compare": to_plain(self.compare),
            "workers": self.workers,
        }


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
        UsageError: no such file or profile, or an override that is not of that form.
        SpecError: every fault that was found, in the order of places.
        PluginError: a plugin that the spec needs is installed, but failed.
    """
    root, applied, problems = _merged(source, profile, overrides, seed)
    reader = SectionReader(root, plugins)
    faults = reader.faults
    faults.extend(problems)
    sections = reader.top()
    space = reader.tagged("space", plugins.catalogue.kinds, "space kind")
    task = reader.tagged("task", plugins.catalogue.tasks, "task")
    strategy = reader.tagged("strategy", plugins.catalogue.strategies, "strategy", default=DEFAULT_STRATEGY)
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
        default=defaults.get("executor"),
        needed_by=asking,
        shares=space.component.share if space else (),
    )
    search_recipe = final_recipe = None
    if task:
        search_recipe = reader.recipe(("executor", "recipe"), task.component.recipe, task.component.search_recipe)
        final_recipe = reader.recipe(("train", "recipe"), task.component.recipe, {})
        if space and space.component.name not in task.component.kinds:
            message = f"the task '{task.component.name}' does not fit a space of kind '{space.component.name}'"
            faults.add(("task", "kind"), message, f"it fits {', '.join(task.component.kinds)}")
    if strategy and strategy.config and controller and controller.config:
        given = strategy.component.group(strategy.config)
        needed = controller.component.smallest_group(controller.config)
        if 0 < given < needed:
            message = (
                f"the strategy '{strategy.component.name}' gives the controller groups of {given}, but "
                f"'{controller.component.name}' with its options learns from groups of at least {needed}"
            )
            hint = "raise strategy.candidates_per_step, or choose another baseline for the controller"
            faults.add(("strategy",), message, hint)
    faults.raise_if_any()
    sections, space, task, strategy = _given(sections), _given(space), _given(task), _given(strategy)
    controller, executor = _given(controller), _given(executor)
    return RunSpec(
        name=sections.name,
        seed=sections.seed,
        space=_given(space.config),
        space_kind=space.component,
        task=_given(task.config),
        task_kind=task.component,
        strategy=_given(strategy.config),
        strategy_kind=strategy.component,
        controller=_given(controller.config),
        controller_kind=controller.component,
        executor=_given(executor.config),
        executor_kind=executor.component,
        search_recipe=_given(search_recipe),
        final_recipe=_given(final_recipe),
        derive=sections.derive,
        train=sections.train,
        compare=sections.compare,
        workers=sections.workers,
        plugins=sections.plugins,
        profile=applied,
        data_mark=find(root, ("task", task.component.data_key)),
    )


def _given(value: Value | None) -> Value:
    """What was validated; where it is missing, a fault was reported and raised before."""
    if value is None:
        raise AssertionError("a section has no value, but no fault was reported")
    return value


def _merged(
    source: Node | Path, profile: str | None, overrides: Sequence[str], seed: int | None
) -> tuple[Node, str | None, list[Problem]]:
    """Return the tree with profile and overrides laid on top, the profile's name, and the faults of either."""
    problems: list[Problem] = []
    root = read_yaml(source) if isinstance(source, Path) else source
    layers: list[Node] = []
    for text in overrides:
        try:
            layers.append(_spelled_out(parse_override(text)))
        except SpecError as error:
            problems += error.problems
    if seed is not None:
        mark = Mark(f"--seed {seed}", None, None, None, 1)
        layers.append(MappingNode(mark, {"seed": Entry(mark, ScalarNode(mark, seed))}))
    root = _spelled_out(root)
    applied: str | None = None
    try:
        root, applied = apply_profile(root, profile)
    except SpecError as error:
        if not isinstance(root, MappingNode):
            raise
        problems += error.problems
        root = MappingNode(root.mark, {key: entry for key, entry in root.entries.items() if key != "profiles"})
    return apply_overrides(root, layers), applied, problems


def _spelled_out(root: Node) -> Node:
    """Return the tree with bare names of sections, also in profiles, written as ``{kind: name}``.

    Before anything is merged: options in a profile then join the section that the file names, instead of replacing it.
    """
    if not isinstance(root, MappingNode):
        return root
    entries = dict(root.entries)
    for key in NAMED:
        entry = entries.get(key)
        if entry and isinstance(entry.node, ScalarNode) and isinstance(entry.node.value, str):
            mark = entry.node.mark
            entries[key] = Entry(entry.key_mark, MappingNode(mark, {"kind": Entry(mark, entry.node)}))
    profiles = entries.get("profiles")
    if profiles and isinstance(profiles.node, MappingNode):
        inner = {name: Entry(p.key_mark, _spelled_out(p.node)) for name, p in profiles.node.entries.items()}
        entries["profiles"] = Entry(profiles.key_mark, MappingNode(profiles.node.mark, inner))
    return MappingNode(root.mark, entries)
