"""The catalogue: every registered component by name, and which plugin owns it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from pydantic import ValidationError

from nasforge.components import (
    ControllerKind,
    ExecutorKind,
    ExecutorOptions,
    Family,
    Operation,
    Options,
    SpaceKind,
    StrategyKind,
    TaskKind,
)
from nasforge.errors import PluginError
from nasforge.recipe import Recipe
from nasforge.spec.nodes import printable

SectionName = Literal["operations", "kinds", "controllers", "executors", "strategies", "tasks"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True)
class Section:
    """One kind of component.

    Attributes:
        name: the attribute of `Catalogue`.
        hook: the hook that collects it.
        component: the dataclass that is registered.
        word: what messages call one of them.
    """

    name: SectionName
    hook: str
    component: type[Any]
    word: str


SECTIONS: tuple[Section, ...] = (
    Section("operations", "nasforge_operations", Operation, "operation"),
    Section("kinds", "nasforge_space_kinds", SpaceKind, "space kind"),
    Section("controllers", "nasforge_controllers", ControllerKind, "controller"),
    Section("executors", "nasforge_executors", ExecutorKind, "executor"),
    Section("strategies", "nasforge_strategies", StrategyKind, "strategy"),
    Section("tasks", "nasforge_tasks", TaskKind, "task"),
)


@dataclass(frozen=True)
class Catalogue:
    """Components by name; immutable.

    Attributes:
        operations: what nodes compute.
        kinds: space kinds.
        controllers: controllers.
        executors: executors.
        strategies: strategies.
        tasks: tasks.
        owners: section name -> component name -> the plugin that registered it.
    """

    operations: Mapping[str, Operation] = field(default_factory=dict)
    kinds: Mapping[str, SpaceKind] = field(default_factory=dict)
    controllers: Mapping[str, ControllerKind] = field(default_factory=dict)
    executors: Mapping[str, ExecutorKind] = field(default_factory=dict)
    strategies: Mapping[str, StrategyKind] = field(default_factory=dict)
    tasks: Mapping[str, TaskKind] = field(default_factory=dict)
    owners: Mapping[SectionName, Mapping[str, str]] = field(default_factory=dict)

    def owner(self, section: SectionName, name: str) -> str:
        """The plugin that registered `name`.

        Raises:
            KeyError: nobody did.
        """
        return self.owners[section][name]

    def extended(self, owner: str, components: Mapping[SectionName, Sequence[object]]) -> Catalogue:
        """A catalogue with the components of one more plugin: all of them, or an error.

        Args:
            owner: what messages call the plugin.
            components: what its hooks returned, by section.

        Raises:
            PluginError: every component that is not what its hook collects, or whose name is taken.
        """
        faults: list[str] = []
        shelves: dict[str, Mapping[str, Any]] = {}
        owners = dict(self.owners)
        for section in SECTIONS:
            shelf: dict[str, Any] = dict(getattr(self, section.name))
            names = dict(self.owners.get(section.name, {}))
            for component in components.get(section.name, ()):
                found = component_faults(component, section)
                faults += found
                name = getattr(component, "name", None)
                if found or not isinstance(name, str):
                    continue
                if name in shelf:
                    faults.append(
                        f"{section.word} '{name}' is registered by '{names[name]}' and again by '{owner}'; "
                        "names must be unique"
                    )
                    continue
                shelf[name] = component
                names[name] = owner
            shelves[section.name] = MappingProxyType(shelf)
            owners[section.name] = MappingProxyType(names)
        if faults:
            raise PluginError("; ".join(faults))
        return replace(self, owners=MappingProxyType(owners), **shelves)


def component_faults(component: object, section: Section) -> list[str]:
    """What is wrong with a component that the hook of `section` returned; empty if nothing is."""
    if not isinstance(component, section.component):
        found = printable(repr(component), 60)
        return [f"{section.hook}() must return a list of {section.component.__name__}, found {found} in it"]
    data: Any = component
    if not isinstance(data.name, str) or not _NAME.fullmatch(data.name):
        found = printable(repr(data.name), 60)
        return [f"{section.word}: the name must be a letter followed by letters, digits and _, found {found}"]
    where = f"{section.word} '{data.name}'"
    faults: list[str] = []
    if not isinstance(data.summary, str) or not data.summary.strip() or "\n" in data.summary:
        faults.append(f"the summary of {where} must be one line of text")
    model = ExecutorOptions if isinstance(component, ExecutorKind) else Options
    if not _is_options(data.config, model):
        faults.append(f"the config of {where} must be a subclass of nasforge.components.{model.__name__}")
    if isinstance(component, SpaceKind):
        if not callable(component.build) or not callable(component.references):
            faults.append(f"build and references of {where} must be functions")
        if not component.share:
            faults.append(f"{where} must name at least one sharing scope")
    elif not isinstance(data.build, str) or not _DOTTED.fullmatch(data.build):
        found = printable(repr(data.build), 60)
        faults.append(f"the build of {where} must be a dotted name 'package.module:factory', found {found}")
    if isinstance(component, Operation):
        faults += _operation_faults(component, where)
    if isinstance(component, StrategyKind):
        faults += [
            f"{name} of {where} must be a function"
            for name in ("passes", "evaluations", "group", "uniform", "refusal")
            if not callable(getattr(component, name))
        ]
    if isinstance(component, ControllerKind):
        faults += [
            f"{name} of {where} must be a function"
            for name in ("smallest_group", "refusal")
            if not callable(getattr(component, name))
        ]
    if isinstance(component, TaskKind):
        if not isinstance(component.prepare, str) or not _DOTTED.fullmatch(component.prepare):
            found = printable(repr(component.prepare), 60)
            faults.append(f"the prepare of {where} must be a dotted name 'package.module:function', found {found}")
        faults += _recipe_faults(component, where)
    return faults


def _operation_faults(operation: Operation, where: str) -> list[str]:
    faults: list[str] = []
    families: Any = operation.families
    if not isinstance(families, tuple) or not families or not all(each in get_args(Family) for each in families):
        known = ", ".join(get_args(Family))
        faults.append(f"the families of {where} must be a tuple of at least one of {known}, found {families!r}")
    if _is_options(operation.config):
        fields = operation.config.model_fields
        faults += [
            f"the config of {where} names '{name}' in 'given', which must be a field with a default"
            for name in sorted(operation.config.given)
            if name not in fields or fields[name].is_required()
        ]
        # Identity is replaced by a factorised reduction where a cell halves its inputs.
        of_images = isinstance(families, tuple) and "image" in families and operation.name != "identity"
        if of_images and "stride" not in operation.config.given:
            faults.append(f"the config of {where} must have the field 'stride', 1 or 2, in 'given': it is for images")
    return faults


def _recipe_faults(task: TaskKind, where: str) -> list[str]:
    if not _is_options(task.recipe, Recipe):
        return [f"the recipe of {where} must be a subclass of nasforge.recipe.Recipe"]
    try:
        task.recipe.model_validate(dict(task.search_recipe))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return [f"the search_recipe of {where}: {'.'.join(map(str, first['loc']))}: {first['msg']}"]
    return []


def _is_options(model: object, base: type[Options] = Options) -> bool:
    return isinstance(model, type) and issubclass(model, base)
