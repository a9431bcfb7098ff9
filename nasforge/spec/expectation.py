"""What a pydantic model expects at a place, and what was found there, in the user's words."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from nasforge.spec.choices import ChooseCount, ChooseForm, ChooseWidth
from nasforge.spec.nodes import printable

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """Where a pydantic error stands.

    Attributes:
        path: keys and indices as the user writes them.
        annotation: the type of the value there; `Any` where it is not known.
        constraints: what stands beside the type: bounds and lengths.
        holder: the model whose key is the last one of `path`, None at the root or inside a list.
        branch: the first union on the way: its path and the name that pydantic gives to the alternative it tried.
    """

    path: KeyPath
    annotation: Any
    constraints: tuple[Any, ...]
    holder: type[BaseModel] | None
    branch: tuple[KeyPath, str] | None


def locate(model: type[BaseModel], loc: Iterable[str | int]) -> Place:
    """Find the place of the location `loc` of a pydantic error of `model`.

    A location also names the alternatives of unions that were tried; those are no keys, so types must be followed.
    """
    path: KeyPath = ()
    annotation: Any = model
    constraints: tuple[Any, ...] = ()
    holder: type[BaseModel] | None = None
    branch: tuple[KeyPath, str] | None = None
    for step in loc:
        core, _, _ = _unwrap(annotation, constraints)
        alternatives = _alternatives(core)
        if alternatives:
            branch = branch or (path, str(step))
            annotation = next((a for a in alternatives if _is_called(a, step)), Any)
            constraints, holder = (), None
            continue
        path, holder = (*path, step), None
        annotation, constraints, arguments = Any, (), get_args(core)
        if _is_model(core):
            holder = core
            field = {written(name, info): info for name, info in core.model_fields.items()}.get(str(step))
            if field is not None:
                annotation, constraints = field.annotation, tuple(field.metadata)
        elif get_origin(core) is tuple and isinstance(step, int) and arguments:
            annotation = arguments[0] if arguments[-1] is Ellipsis else arguments[min(step, len(arguments) - 1)]
        elif get_origin(core) in (list, dict):
            annotation = arguments[-1]
    return Place(path, annotation, constraints, holder, branch)


def written(name: str, field: FieldInfo) -> str:
    """The key that the user writes for a field."""
    return field.alias or name


def keys_of(annotation: Any) -> list[str]:
    """The keys that a value of this type may have, where it is a model; else none."""
    core, _, _ = _unwrap(annotation, ())
    if not _is_model(core):
        return []
    given = getattr(core, "given", ())
    return [written(name, field) for name, field in core.model_fields.items() if name not in given]


def forms_of(annotation: Any) -> list[str]:
    """The choose-forms that a value of this type may be, such as ``a choice of several, {choose: 1, from: [2, 3]}``."""
    core, _, _ = _unwrap(annotation, ())
    each = _alternatives(core) or (core,)
    return [_noun(core, ()) for core in (_unwrap(one, ())[0] for one in each) if _is_form(core)]


def searched_numbers(model: type[BaseModel]) -> Iterator[str]:
    """The keys of a model, and of the models in it, at which an architecture can choose a number."""
    for name, field in model.model_fields.items():
        core, _, _ = _unwrap(field.annotation, ())
        for each in _alternatives(core) or (core,):
            if _is_form(each) and issubclass(each, ChooseCount | ChooseWidth):
                yield written(name, field)
            elif _is_model(each):
                yield from searched_numbers(each)


def choices_of(annotation: Any) -> list[str]:
    """The words of which a value of this type is one, where it is a literal; else none."""
    core, _, _ = _unwrap(annotation, ())
    return [choice for choice in get_args(core) if isinstance(choice, str)] if get_origin(core) is Literal else []


def expectation(annotation: Any, constraints: Sequence[Any] = ()) -> str:
    """A noun phrase such as ``a whole number of at least 1, or null``; empty where the type has no plain word."""
    core, found, nullable = _unwrap(annotation, constraints)
    alternatives = _alternatives(core)
    phrases = [expectation(alternative) for alternative in alternatives] if alternatives else [_noun(core, found)]
    if not all(phrases):
        return ""
    return " or ".join(phrases) + (", or null" if nullable else "")


def shown(value: object) -> str:
    """A found value as YAML would write it, on one line, shortened."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return printable(repr(value), 60)


def _noun(core: Any, constraints: Sequence[Any]) -> str:
    plain: Mapping[Any, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    origin, arguments = get_origin(core), get_args(core)
    if core in (int, float):
        return plain[core] + _bounds(constraints)
    if core in plain:
        return plain[core]
    if origin is Literal:
        shown = [repr(choice) for choice in arguments]
        return shown[0] if len(shown) == 1 else "one of " + ", ".join(shown)
    if origin in (tuple, list):
        if origin is tuple and arguments[-1] is not Ellipsis:
            return f"a list of {len(arguments)} values"
        least = next((c.min_length for c in constraints if isinstance(c, annotated_types.MinLen)), 0)
        return f"a list of at least {least} value{'s' if least > 1 else ''}" if least else "a list"
    if _is_form(core):
        return f"a choice of several, {core.example}"
    if origin is dict or _is_model(core):
        return "a mapping"
    return ""


def _bounds(constraints: Sequence[Any]) -> str:
    low, high = "", ""
    for constraint in constraints:
        if isinstance(constraint, annotated_types.Ge):
            low = f"of at least {constraint.ge:g}"
        elif isinstance(constraint, annotated_types.Gt):
            low = f"above {constraint.gt:g}"
        elif isinstance(constraint, annotated_types.Le):
            high = f"at most {constraint.le:g}"
        elif isinstance(constraint, annotated_types.Lt):
            high = f"below {constraint.lt:g}"
    text = " and ".join(part for part in (low, high) if part)
    return f" {'of ' if high.startswith('at') and not low else ''}{text}" if text else ""


def _unwrap(annotation: Any, constraints: Sequence[Any]) -> tuple[Any, tuple[Any, ...], bool]:
    """Return the type without ``Annotated`` and null, its constraints, and whether it may be null."""
    found, nullable = list(_flat(constraints)), False
    while True:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            found += _flat(arguments[1:])
            annotation = arguments[0]
        elif origin in (Union, types.UnionType) and types.NoneType in arguments:
            nullable = True
            annotation = Union[tuple(a for a in arguments if a is not types.NoneType)]  # noqa: UP007 - made at run time
        else:
            return annotation, tuple(found), nullable


def _flat(constraints: Iterable[Any]) -> Iterable[Any]:
    for constraint in constraints:
        yield from constraint.metadata if isinstance(constraint, FieldInfo) else (constraint,)


def _alternatives(core: Any) -> tuple[Any, ...]:
    return get_args(core) if get_origin(core) in (Union, types.UnionType) else ()


def _is_called(alternative: Any, step: str | int) -> bool:
    """Whether `step` is what pydantic calls an alternative of a union; a bounded number is ``constrained-int``."""
    name = getattr(_unwrap(alternative, ())[0], "__name__", None)
    return name is not None and step in (name, f"constrained-{name}")


def _is_model(core: Any) -> bool:
    return isinstance(core, type) and issubclass(core, BaseModel)


def _is_form(core: Any) -> bool:
    return isinstance(core, type) and issubclass(core, ChooseForm)
