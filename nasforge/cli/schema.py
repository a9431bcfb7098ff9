"""``nasforge schema``: the JSON schema of the YAML file, for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nasforge.cli.common import PluginFiles, check_output, load_plugins, write_output
from nasforge.spec.schema import json_schema


def schema(
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write a file.")] = None,
    plugin: PluginFiles = None,
) -> None:
    """Print the JSON schema of space files, with what the installed plugins add.

    Editors that speak to the YAML language server complete and check files with it.
    """
    check_output(output)
    text = json.dumps(json_schema(load_plugins(plugin).catalogue), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        typer.echo(text, nl=False)
        return
    write_output(output, text.encode())
