"""Encodings by name: text that others publish becomes an architecture of a space, and back.

Every kind has the encoding ``json``, the decisions by name: what ``nasforge sample`` prints and ``architecture.json``
holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from nasforge.components import Encoding, Options, SpaceKind
from nasforge.errors import UsageError, suggest
from nasforge.graph.compile import compile_kind
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.spec.nodes import printable


class Declared(Protocol):
    """A space as it was declared; a run spec is one."""

    @property
    def space_kind(self) -> SpaceKind:
        """The component that reads the block."""

    @property
    def space(self) -> Options:
        """The validated ``space`` block."""


def read(name: str, text: str, spec: Declared, space: SearchSpace | None = None) -> Architecture:
    """The architecture that `text` describes, as one of the space.

    Args:
        name: of an encoding of the space's kind, e.g. ``enas-ptb``.
        text: what was published.
        spec: the space; a run spec will do.
        space: its decisions, where they were compiled already.

    Raises:
        UsageError: an unknown encoding, or text of another form.
        SpaceError: the space does not hold the architecture.
    """
    encoding = _encoding(name, spec.space_kind)
    return encoding.read(text, spec.space, _decisions(spec) if space is None else space)


def write(name: str, architecture: Mapping[str, str], spec: Declared, space: SearchSpace | None = None) -> str:
    """The text of `architecture`; `read` makes an equal architecture of it. Arguments as for `read`.

    Raises:
        UsageError: an unknown encoding.
        SpaceError: `architecture` is not of the space, or the encoding cannot express it.
    """
    encoding = _encoding(name, spec.space_kind)
    space = _decisions(spec) if space is None else space
    return encoding.write(space.architecture(architecture), spec.space, space)


def _encoding(name: str, kind: SpaceKind) -> Encoding:
    offered = {**_GENERAL, **kind.encodings}
    found = offered.get(name)
    if found is None:
        known = "\n".join(f"  {key}: {each.summary}" for key, each in sorted(offered.items()))
        raise UsageError(
            f"unknown encoding '{printable(name, 40)}'.{suggest(name, offered)}\nknown for a {kind.name}:\n{known}"
        )
    return found


def _read_json(text: str, config: Any, space: SearchSpace) -> Architecture:
    """A mapping of decisions to options, or one that holds it under ``decisions``."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"json: not JSON: {printable(text, 60)}") from None
    choices = data.get("decisions", data) if isinstance(data, dict) else None
    if not isinstance(choices, dict) or not all(isinstance(option, str) for option in choices.values()):
        raise UsageError(
            f"json: it must be a mapping of decisions to options, both as text, or hold one under 'decisions', "
            f"found {printable(text, 60)}"
        )
    return space.architecture(choices)


def _write_json(architecture: Mapping[str, str], config: Any, space: SearchSpace) -> str:
    return json.dumps(dict(architecture))


_GENERAL: Mapping[str, Encoding] = {
    "json": Encoding("json", "the decisions by name, as `nasforge sample` prints them", _read_json, _write_json)
}
"""The encodings that every kind has."""


def _decisions(spec: Declared) -> SearchSpace:
    return compile_kind(spec.space_kind, spec.space).space
