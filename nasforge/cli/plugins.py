"""``nasforge plugins``: what is installed and what it registers."""

from __future__ import annotations

from typing import Annotated

import typer

from nasforge.cli.common import AsJson, PluginFiles, print_json
from nasforge.plugins import build_plugins

app = typer.Typer(help="Plugins and what they register.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Plugins and what they register."""


@app.command("ls")
def ls(
    ops: Annotated[bool, typer.Option("--ops", help="List the operations instead, each with its parameters.")] = False,
    plugin: PluginFiles = None,
    as_json: AsJson = False,
) -> None:
    """List plugins, what each registers, and those that failed."""
    plugins = build_plugins(plugin or [])
    if ops:
        operations = list(plugins.catalogue.operations.values())
        owners = {op.name: plugins.catalogue.owner("operations", op.name) for op in operations}
        defaults = {
            op.name: {
                key: "required" if f.is_required() else str(f.default)
                for key, f in op.config.model_fields.items()
                if key not in op.config.given
            }
            for op in operations
        }
        if as_json:
            print_json(
                [
                    {
                        "name": op.name,
                        "families": list(op.families),
                        "parameters": defaults[op.name],
                        "plugin": owners[op.name],
                        "summary": op.summary,
                    }
                    for op in operations
                ]
            )
            return
        width = max(len(op.name) for op in operations)
        families = {op.name: ", ".join(op.families) for op in operations}
        wide = max(len(text) for text in families.values())
        for op in operations:
            parameters = ", ".join(f"{key}={value}" for key, value in defaults[op.name].items())
            shown = f" ({parameters})" if parameters else ""
            typer.echo(f"{op.name:<{width}}  {families[op.name]:<{wide}}  {op.summary}{shown}  [{owners[op.name]}]")
        return
    if as_json:
        print_json(
            {
                "plugins": [
                    {
                        "name": info.name,
                        "distribution": info.distribution,
                        "version": info.version,
                        "origin": info.origin,
                        "registered": {section: list(names) for section, names in info.registered.items()},
                    }
                    for info in plugins.listing
                ],
                "failures": [str(failure) for failure in plugins.failures],
            }
        )
        return
    for info in plugins.listing:
        typer.echo(f"{info.name} {info.version or ''} ({info.origin})".replace("  ", " "))
        for section, names in info.registered.items():
            if names:
                typer.echo(f"  {section}: {', '.join(names)}")
    for failure in plugins.failures:
        typer.echo(f"failed: {failure}")
