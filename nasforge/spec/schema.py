"""The JSON schema (draft 2020-12) of the YAML file, made of the components that are installed.

Editors complete and check files with it. It holds what the form of a file says: keys, types, bounds, names. What
depends on several values at once (a warm-up longer than the search, groups too small for the controller) only
loading a file can say; so can whether a profile completes a file that is not complete without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nasforge.components import NAMED_FAMILIES
from nasforge.spec.choices import operation_definition
from nasforge.spec.limits import Limits, bound_schema
from nasforge.spec.run_spec import DEFAULT_STRATEGY
from nasforge.spec.schema_models import (
    DEFS,
    LET,
    Schema,
    operation_schema,
    partial,
    partial_name,
    schemas_of,
)
from nasforge.spec.sections import DISTRIBUTION, FORMAT, NAMED, RunSections, TrainOptions

if TYPE_CHECKING:
    from nasforge.catalogue import Catalogue

DIALECT = "https://json-schema.org/draft/2020-12/schema"

NAME_PATTERN = "^[A-Za-z][A-Za-z0-9_-]{0,63}$"
"""The form of a run's name, which `nasforge.spec.sections` checks."""

_HAS_KIND: Schema = {"required": ["kind"]}
_RECIPES = (("executor", "search_recipe"), ("train", "recipe"))
_COLUMNS: Schema = {
    "type": "object",
    "description": "Bounds on columns of a table, by their names.",
    "additionalProperties": bound_schema(None),
}
_RECIPE: Schema = {"type": "object", "description": "how weights are trained; the task says by which keys."}


def json_schema(catalogue: Catalogue) -> Schema:
    """The schema of a file that may use every component of `catalogue`."""
    sections: dict[str, Mapping[str, Any]] = {
        "space": catalogue.kinds,
        "task": catalogue.tasks,
        "strategy": catalogue.strategies,
        "controller": catalogue.controllers,
        "executor": catalogue.executors,
    }
    components = [component for known in sections.values() for component in known.values()]
    operations = catalogue.operations.values()
    recipes = [task.recipe for task in catalogue.tasks.values()]
    stacks = [kind.stack for kind in catalogue.kinds.values() if kind.stack is not None]
    models = [
        RunSections,
        TrainOptions,
        Limits,
        *(each.config for each in (*components, *operations)),
        *recipes,
        *stacks,
    ]
    schemas, definitions = schemas_of(models)
    for family in NAMED_FAMILIES:
        definitions[operation_definition(family)] = operation_schema(catalogue.operations, schemas, family)
    for section, known in sections.items():
        for name, component in known.items():
            definitions[f"{section}.{name}"] = made = _component(name, component, schemas[component.config])
            if section == "space":
                made["properties"]["let"] = LET
    for name, task in catalogue.tasks.items():
        definitions[f"task.{name}.recipe"] = schemas[task.recipe]
        definitions[f"task.{name}.search_recipe"] = _with_defaults(schemas[task.recipe], task.search_recipe)
    definitions["limits"], definitions["columns"] = schemas[Limits], _COLUMNS
    train = schemas[TrainOptions]
    definitions["train"] = {**train, "properties": {**train["properties"], "recipe": _RECIPE}}
    definitions |= {partial_name(name): partial(schema) for name, schema in definitions.items()}

    root = schemas[RunSections]
    # A space without a task can be checked, shown and sampled.
    root["required"] = [key for key in root["required"] if key != "task"]
    _refine(root["properties"])
    definitions["profile"] = _profile(root, sections, catalogue)
    for section, known in sections.items():
        root["properties"][section] |= _section(section, known, "")
        root["properties"][section].pop("default", None)
    root["properties"]["profiles"] = {
        "description": "Named sets of changes; `quick` is taken where none is asked for.",
        "type": "object",
        "additionalProperties": {"$ref": f"{DEFS}profile"},
    }
    root["allOf"] = [
        *(
            rule
            for name, strategy in catalogue.strategies.items()
            for rule in _strategy_rules(name, strategy, catalogue.executors)
        ),
        *(_task_rule(name, task) for name, task in catalogue.tasks.items()),
        *(_share_rule(name, kind) for name, kind in catalogue.kinds.items()),
        *(_stack_rule(name, kind, schemas) for name, kind in catalogue.kinds.items()),
        *(_limits_rule(name, kind) for name, kind in catalogue.kinds.items()),
        *(_profile_rule(section, name) for section, known in sections.items() for name in known),
    ]
    return {
        "$schema": DIALECT,
        "title": "A run spec of nasforge",
        **root,
        "$defs": _reachable(root, definitions),
    }


def _component(name: str, component: Any, schema: Schema) -> Schema:
    """The block of one component, which carries its name as ``kind``."""
    properties = {
        key: value for key, value in schema.get("properties", {}).items() if key not in component.config.given
    }
    kind = {"const": name, "description": component.summary}
    if "recipe" in properties:
        properties["recipe"] = {
            "type": "object",
            "description": "How weights are trained; the task says by which keys.",
        }
    required = [key for key in schema.get("required", []) if key != "kind"]
    made = {**schema, "properties": {**properties, "kind": kind}, "required": required}
    return made if required else {key: value for key, value in made.items() if key != "required"}


def _with_defaults(recipe: Schema, defaults: Mapping[str, Any]) -> Schema:
    properties = {
        key: {**value, "default": defaults[key]} if key in defaults else value
        for key, value in recipe.get("properties", {}).items()
    }
    return {
        **recipe,
        "properties": properties,
        "required": [k for k in recipe.get("required", []) if k not in defaults],
    }


def _refine(properties: Schema) -> None:
    """What validators of the top keys check and pydantic does not tell."""
    properties["nasforge"] = {"const": FORMAT, "description": properties["nasforge"]["description"]}
    properties["name"]["pattern"] = NAME_PATTERN
    properties["train"]["$ref"] = f"{DEFS}train"
    properties["limits"]["anyOf"] = [{"$ref": f"{DEFS}limits"}, {"$ref": f"{DEFS}columns"}, {"type": "null"}]
    properties["plugins"]["items"]["pattern"] = f"^{DISTRIBUTION.pattern}$"


def _section(section: str, known: Mapping[str, Any], prefix: str, *, may_lack_kind: bool = False) -> Schema:
    """A tagged section, dispatched by its ``kind``.

    Args:
        section: its key.
        known: its components.
        prefix: of the definitions of components.
        may_lack_kind: whether a block without ``kind`` may belong to any of them.
    """
    names = sorted(known)
    refs = {name: {"$ref": f"{DEFS}{prefix}{section}.{name}"} for name in names}
    rules: list[Schema] = [{"if": _kind_is(name), "then": refs[name]} for name in names]
    if section == "strategy" and DEFAULT_STRATEGY in refs and not may_lack_kind:
        rules.append({"if": {"not": _HAS_KIND}, "then": refs[DEFAULT_STRATEGY]})
    elif may_lack_kind or section in NAMED:
        rules.append({"if": {"not": _HAS_KIND}, "then": {"anyOf": list(refs.values())}})
    block: Schema = {"type": "object", "properties": {"kind": {"enum": names}}, "allOf": rules}
    if section not in NAMED:
        return block if may_lack_kind else {**block, **_HAS_KIND}
    return {"anyOf": [{"enum": names}, block]}


def _profile(root: Schema, sections: Mapping[str, Mapping[str, Any]], catalogue: Catalogue) -> Schema:
    left_out = ("nasforge", "profiles")
    properties = {key: partial(value) for key, value in root["properties"].items() if key not in left_out}
    for section, known in sections.items():
        properties[section] |= _section(section, known, partial_name(""), may_lack_kind=True)
    return {
        "description": "Changes that are laid over the file.",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "allOf": [
            {"if": _section_is("task", name), "then": _recipes(name, partial_name(""))} for name in catalogue.tasks
        ],
    }


def _kind_is(name: str) -> Schema:
    return {"properties": {"kind": {"const": name}}, **_HAS_KIND}


def _section_is(section: str, name: str, *, default: bool = False) -> Schema:
    """Holds for a mapping whose `section` names `name`, or names nothing where it is the default."""
    block: Schema = {"type": "object", **_kind_is(name)}
    named = {"properties": {section: {"anyOf": [{"const": name}, block]}}, "required": [section]}
    if not default:
        return named
    silent = {"properties": {section: {"type": "object", "not": _HAS_KIND}}}
    return {"anyOf": [named, silent]}


_NO_TRAINING: Schema = {"properties": {key: {"type": "null"} for key in ("executor", "derive", "train")}}
"""Of a file that trains nothing."""


def _strategy_rules(name: str, strategy: Any, executors: Mapping[str, Any]) -> list[Schema]:
    """What the strategy of that name takes for a section that is absent or names no kind, and the executors it fits."""
    rules: list[Schema] = []
    condition = _section_is("strategy", name, default=name == DEFAULT_STRATEGY)
    fitting = sorted(kind for kind, executor in executors.items() if executor.source in strategy.sources)
    if fitting:
        fits = {"properties": {"executor": {"properties": {"kind": {"enum": fitting}}}}}
        rules.append({"if": condition, "then": fits})
    else:
        rules.append({"if": condition, "then": _NO_TRAINING})
    for section in ("controller", "executor") if fitting else ("controller",):
        default = strategy.defaults.get(section)
        unnamed = {"if": {"type": "object", "not": _HAS_KIND}}
        if default is None:
            then: Schema = {"required": [section], "properties": {section: {**unnamed, "then": _HAS_KIND}}}
        else:
            then = {"properties": {section: {**unnamed, "then": {"$ref": f"{DEFS}{section}.{default}"}}}}
        rules.append({"if": condition, "then": then})
    return rules


def _recipes(task: str, prefix: str) -> Schema:
    """Both recipes of a file (or profile) whose task is `task`."""
    return {
        "properties": {
            section: {"properties": {"recipe": {"$ref": f"{DEFS}{prefix}task.{task}.{which}"}}}
            for section, which in _RECIPES
        }
    }


def _task_rule(name: str, task: Any) -> Schema:
    """The recipes of a task, and the space kinds that it fits; profiles that name another task are left alone.

    A task that is a table has no recipes, nor anything else about trainings.
    """
    if not task.trains:
        fits = {"space": {"properties": {"kind": {"enum": sorted(task.kinds)}}}}
        then = {"properties": {**_NO_TRAINING["properties"], **fits}}
        return {"if": _section_is("task", name), "then": then}
    own = {"if": {"properties": {"task": {"not": _HAS_KIND}}}, "then": _recipes(name, partial_name(""))}
    properties = {
        **_recipes(name, "")["properties"],
        "space": {"properties": {"kind": {"enum": sorted(task.kinds)}}},
        "profiles": {"additionalProperties": own},
    }
    return {"if": _section_is("task", name), "then": {"properties": properties}}


def _share_rule(name: str, kind: Any) -> Schema:
    """The sharing scopes that a space kind can express."""
    executor = {"properties": {"executor": {"properties": {"share": {"enum": list(kind.share)}}}}}
    then = {"properties": {**executor["properties"], "profiles": {"additionalProperties": executor}}}
    return {"if": _section_is("space", name), "then": then}


def _stack_rule(name: str, kind: Any, schemas: Mapping[Any, Schema]) -> Schema:
    """What ``train.stack`` of a space kind takes, and no widths where the space says them."""
    stack: Any = False if kind.stack is None else {"anyOf": [schemas[kind.stack], {"type": "null"}]}
    widths: Schema = {} if kind.shapes is None else {"hidden": False}
    sections: Schema = {"train": {"properties": {"stack": stack, **widths}}, "executor": {"properties": widths}}
    then = {"properties": {**sections, "profiles": {"additionalProperties": {"properties": sections}}}}
    return {"if": _section_is("space", name), "then": then}


def _limits_rule(name: str, kind: Any) -> Schema:
    """Limits on networks, or on the columns of a table."""
    known = "limits" if kind.networks else "columns"
    own = {"limits": {"anyOf": [{"$ref": f"{DEFS}{known}"}, {"type": "null"}]}}
    partly = {"limits": {"anyOf": [{"$ref": DEFS + partial_name(known)}, {"type": "null"}]}}
    then = {"properties": {**own, "profiles": {"additionalProperties": {"properties": partly}}}}
    return {"if": _section_is("space", name), "then": then}


def _profile_rule(section: str, name: str) -> Schema:
    """A section of a profile without ``kind`` belongs to the component that the file names."""
    block = {"if": {"type": "object", "not": _HAS_KIND}, "then": {"$ref": DEFS + partial_name(f"{section}.{name}")}}
    profiles = {"additionalProperties": {"properties": {section: block}}}
    return {"if": _section_is(section, name), "then": {"properties": {"profiles": profiles}}}


def _reachable(root: Schema, definitions: Mapping[str, Schema]) -> dict[str, Schema]:
    """The definitions that `root` refers to, directly or not, by name."""
    found: dict[str, Schema] = {}
    waiting: list[Any] = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            name = value.get("$ref")
            if isinstance(name, str) and (name := name.removeprefix(DEFS)) not in found:
                found[name] = definitions[name]
                waiting.append(found[name])
    return dict(sorted(found.items()))
