"""Arguments that several commands take, and how facts are printed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from nasforge.data.files import write_bytes_atomically
from nasforge.errors import StorageError
from nasforge.plugins import Plugins, build_plugins

_EXACT = 2**53
"""Larger integers are not all doubles, which is what most readers of JSON make of numbers."""

PluginFiles = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE", help="A Python file with plugin hooks; repeatable.")
]
Profile = Annotated[str | None, typer.Option("--profile", help="A profile of the file (default: quick, if it has it).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, e.g. task.corpus=ptb", show_default=False),
]


def load_plugins(files: list[Path] | None) -> Plugins:
    """The plugins of this command; those that failed are named on standard error."""
    plugins = build_plugins(files or [])
    for failure in plugins.failures:
        typer.echo(f"warning: {failure}", err=True)
    return plugins


def check_output(path: Path | None) -> None:
    """Refuse a file of ``-o`` that cannot be, before the work is done.

    Raises:
        StorageError: its folder does not exist.
    """
    if path is not None and not path.parent.is_dir():
        raise StorageError(f"-o {path}: the folder {path.parent} does not exist; create it first")


def write_output(path: Path, content: bytes) -> None:
    """Write the file of ``-o`` and say so."""
    write_bytes_atomically(path, content, hint="")
    typer.echo(f"wrote {path}")


def alike(numbers: Mapping[str, int | None]) -> dict[str, int | str | None]:
    """Numbers as `print_json` writes them, but of one type: all as strings where a double cannot hold one of them."""
    if all(number is None or abs(number) <= _EXACT for number in numbers.values()):
        return dict(numbers)
    return {key: None if number is None else str(number) for key, number in numbers.items()}


def print_json(value: Any) -> None:
    """One JSON document; integers that a double cannot hold are written as strings."""
    typer.echo(json.dumps(_exact(value), indent=2, ensure_ascii=False, allow_nan=False))


def _exact(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT:
        return str(value)
    return value
