"""Arguments that several commands take, and how facts are printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from nasforge.plugins import Plugins, build_plugins

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


def print_json(value: Any) -> None:
    """One JSON document; integers that a double cannot hold are written as strings."""
    typer.echo(json.dumps(_exact(value), indent=2, ensure_ascii=False, allow_nan=False))


def _exact(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return str(value)
    return value
