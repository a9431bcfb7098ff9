"""A validated spec as plain data again, in the form in which users write it."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel

from nasforge.components import Options
from nasforge.graph.limits import Bound
from nasforge.graph.supergraph import Open, OperationUse
from nasforge.spec.choices import Choose
from nasforge.spec.expectation import written
from nasforge.spec.limits import plain_bound
from nasforge.spec.objectives import Objective
from nasforge.spec.scalars import resolve_scalar


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
        case Open():
            return {"use": value.name} if value.name else {"choose": 1, "from": to_plain(value.values)}
        case Objective():
            return str(value)
        case Bound():
            return plain_bound(value)
        case Choose() if value.use:
            return {"use": value.use}
        case BaseModel():
            fields = {key: each for key, each in type(value).model_fields.items() if key not in _given(value)}
            return {written(name, field): to_plain(getattr(value, name)) for name, field in fields.items()}
        case dict():
            return {str(key): to_plain(v) for key, v in value.items()}
        case list() | tuple():
            return [to_plain(v) for v in value]
    raise TypeError(f"a {type(value).__name__} cannot be written as YAML")


def _given(value: BaseModel) -> frozenset[str]:
    return value.given if isinstance(value, Options) else frozenset()


def tagged(kind: str, config: BaseModel) -> dict[str, Any]:
    """`config` as plain data with ``kind`` first."""
    return {"kind": kind, **to_plain(config)}


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.2 would read as something else; PyYAML itself thinks in YAML 1.1."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    try:
        plain = resolve_scalar(value) == value
    except ValueError:
        plain = False
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


def _number(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    # PyYAML takes 1e-06 for text (YAML 1.1) and would tag it; with a point in it both versions read a number.
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    written = f"{mantissa}.0{e}{exponent}" if e and "." not in mantissa else text
    return dumper.represent_scalar("tag:yaml.org,2002:float", written)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _number)


def to_yaml(data: dict[str, Any]) -> str:
    """Plain data as YAML that `nasforge.spec.yaml_reader` reads back to equal data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
