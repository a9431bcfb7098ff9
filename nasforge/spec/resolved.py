"""A validated spec as plain data again, in the form in which users write it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from nasforge.graph.supergraph import OperationUse
from nasforge.spec.expectation import written


def to_plain(value: Any) -> Any:
    """Return plain data that validates to `value` again: models as mappings with all their keys, tuples as lists.

    Raises:
        TypeError: a value that YAML has no form for.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case OperationUse():
            return {value.name: {key: to_plain(v) for key, v in value.parameters}} if value.parameters else value.name
        case BaseModel():
            fields = type(value).model_fields
            return {written(name, field): to_plain(getattr(value, name)) for name, field in fields.items()}
        case dict():
            return {str(key): to_plain(v) for key, v in value.items()}
        case list() | tuple():
            return [to_plain(v) for v in value]
    raise TypeError(f"a {type(value).__name__} cannot be written as YAML")


def tagged(kind: str, config: BaseModel) -> dict[str, Any]:
    """`config` as plain data with ``kind`` first."""
    return {"kind": kind, **to_plain(config)}
