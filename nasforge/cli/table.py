"""What `nasforge run` does with a file that searches a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from nasforge.errors import UsageError
from nasforge.plugins import Plugins
from nasforge.run.backend import Settled
from nasforge.run.columns import open_table
from nasforge.run.compile import require_within_limits
from nasforge.run.directory import RunDirectory
from nasforge.run.group import Group
from nasforge.run.pareto import shown
from nasforge.run.start import start_run
from nasforge.run.table_run import run_table
from nasforge.run.threads import Choice
from nasforge.spec.specs import TableSpec


def begin_table(
    spec: TableSpec,
    plugins: Plugins,
    claim: Any,
    *,
    source: Path,
    arguments: Mapping[str, Any],
    plugin_files: list[Path],
    group: Group,
) -> None:
    """Start a run that searches a table, do it, and say what it found.

    Args:
        spec: what is searched.
        plugins: for controllers.
        claim: makes the run directory; called when everything was checked.
        source: the user's file.
        arguments: of the command line.
        plugin_files: named on the command line.
        group: of processes.

    Raises:
        UsageError: several ranks, a device or threads, none of which a look-up has.
    """
    asked = {"--device": arguments["device"] != "cpu", "--threads": arguments["threads"] != "rule"}
    for option, given in asked.items():
        if given:
            raise UsageError(f"{option} means nothing for {source}, which looks scores up and trains nothing")
    if group.size > 1:
        raise UsageError(f"{source} looks scores up in a table: one process does it, without torchrun")
    base = source.resolve().parent
    graph, table = open_table(spec, plugins.catalogue.operations, base)
    require_within_limits(spec, graph)
    directory: RunDirectory = claim()
    start_run(
        directory,
        spec,
        source=source.read_bytes(),
        arguments=arguments,
        device="cpu",
        threads=Choice(1, "rule", "a look-up"),
        ranks=1,
        base=base,
        data=table.sha256,
        backend=Settled("interpreter"),
        plugin_files=plugin_files,
    )
    work_on_table(directory, spec, plugins, base)


def work_on_table(directory: RunDirectory, spec: TableSpec, plugins: Plugins, base: Path) -> None:
    """Do the run of a directory that this process owns, from the start: it takes seconds.

    Raises:
        UsageError: the table is not what the run began with.
    """
    graph, table = open_table(spec, plugins.catalogue.operations, base)
    if table.sha256 != directory.read_run()["data"]:
        raise UsageError(
            f"{directory.path}: the table is not what this run began with (its sha256 differs); put the old one back, "
            "or start a new run"
        )
    try:
        conclude(directory.path, run_table(directory, spec, plugins, graph, table))
    finally:
        directory.unlock()


def conclude(path: Path, result: Mapping[str, Any]) -> None:
    """Print what was found."""
    metric, queries = result["data"]["metric"], result["search"]["queries"]
    rows = [("searched", result["best"])]
    if result["baseline"] is not None:
        rows.append(("random search", result["baseline"]))
    typer.echo(f"{queries} queries of {result['data']['name']}, {result['data']['rows']:,} architectures\n")
    typer.echo(f"{'':<16}{'scores asked':>14}{'their mean':>12}{metric + ' in the table':>24}{'regret':>9}")
    for title, row in rows:
        typer.echo(f"{title:<16}{row['scores']:>14}{row['mean']:>12.2f}{row['truth']:>24.2f}{row['regret']:>9.2f}")
    typer.echo(f"\n{result['verdict']['text']}")
    front = result["pareto"]
    if front is not None:
        share, random = front["truth"]["share"], front["baseline"]
        of = f"; random search's, {random['truth']['share']:.1%}" if random is not None and share is not None else ""
        covers = "" if share is None else f", which covers {share:.1%} of what the front of the table does{of}"
        typer.echo(f"\nPareto front of {len(front['front'])} architectures ({', '.join(front['objectives'])}){covers}:")
        for line in shown(front["front"], front["objectives"]):
            typer.echo(line)
        typer.echo(f"\n{path}/pareto.png: the front", nl=False)
    typer.echo(f"\n{path}/result.json: all figures\nnasforge show {path}: the architecture")
