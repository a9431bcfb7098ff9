"""``nasforge data``: put data sets in place, and see which are there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nasforge.cli.common import AsJson, print_json

if TYPE_CHECKING:
    from nasforge.data.catalogue import DataSet

app = typer.Typer(help="Data sets: which are here, and how to add one.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Data sets: which are here, and how to add one."""


@app.command("ls")
def ls(as_json: AsJson = False) -> None:
    """List the data sets that tasks can name."""
    # Only here: every command would wait a tenth of a second for numpy.
    from nasforge.data.catalogue import known_data_sets

    rows = known_data_sets()
    if as_json:
        print_json([_facts(row) for row in rows])
        return
    for row in rows:
        typer.echo(f"{row.name:<8} {'here' if row.present else 'not here':<9} {row.summary}")
        typer.echo(f"{'':<8} {row.place}{': ' + row.detail if row.detail else ''}")


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Which data set, e.g. ptb.", show_default=False)],
    path: Annotated[Path, typer.Argument(help="The folder or archive that holds its files.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Check a data set and put it in place."""
    from nasforge.data.catalogue import add_data_set

    added = add_data_set(name, path)
    if as_json:
        print_json(_facts(added))
        return
    typer.echo(f"{added.name} is in {added.place}{': ' + added.detail if added.detail else ''}")


def _facts(row: DataSet) -> dict[str, Any]:
    return {
        "name": row.name,
        "summary": row.summary,
        "place": str(row.place),
        "present": row.present,
        "detail": row.detail,
    }
