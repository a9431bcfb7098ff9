"""``nasforge compare``: strategies side by side, over seeds, on the same budget."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from nasforge.cli.common import AsJson, Overrides, PluginFiles, Profile, load_plugins, print_json
from nasforge.cli.comparing import RESERVED, Comparing
from nasforge.cli.curve import curve_csv, curve_png
from nasforge.cli.run import prepare
from nasforge.data.files import (
    make_folder,
    sha256_of,
    write_bytes_atomically,
    write_json_atomically,
    write_text_atomically,
)
from nasforge.errors import RunFailedError, UsageError, suggest
from nasforge.run.columns import open_table
from nasforge.run.comparison import RANDOM, Comparison, compared, metric_of, table
from nasforge.run.group import group_here
from nasforge.run.table_run import compare_in_table
from nasforge.spec.run_spec import load_spec
from nasforge.spec.sections import FEWEST_CORRELATED
from nasforge.spec.specs import TableSpec

CORRELATED = 12
"""Architectures of the rank correlation, where nothing else is said."""


def compare(
    file: Annotated[Path, typer.Argument(metavar="SPACE.yaml", help="What to search, and how.", show_default=False)],
    overrides: Overrides = None,
    strategies: Annotated[
        str | None,
        typer.Option(
            "--strategies",
            help="Names with commas between; random learns nothing. Default: that of the file, and random. "
            "For a table: controllers.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds.")] = 5,
    first_seed: Annotated[int, typer.Option("--first-seed", min=0, help="The first of them.")] = 0,
    correlation: Annotated[
        int | None,
        typer.Option(
            "--correlation",
            min=0,
            help="Architectures, spread over all sizes, that are trained briefly in each seed, so that the rank "
            f"correlation of proxies is known; 0 for none (default: what the file says, else {CORRELATED}).",
            show_default=False,
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where the runs are, and go on (default: runs/NAME-compare).")
    ] = None,
    profile: Profile = None,
    plugin: PluginFiles = None,
    as_json: AsJson = False,
) -> None:
    """Run strategies on the same file, budget and seeds, and say with a paired test whether they differ.

    Every run is one of `nasforge run`, without references. What is finished is kept: the same command goes on. In a
    table, controllers are compared, all at once.
    """
    if group_here().size > 1:
        raise UsageError("a comparison starts its runs itself: call it without torchrun")
    plugins = load_plugins(plugin)
    spec = load_spec(file, plugins, profile=profile, overrides=overrides or ())
    began = time.monotonic()
    if isinstance(spec, TableSpec):
        if correlation is not None:
            raise UsageError(
                "--correlation means nothing for a table: its scores are no proxies, and nothing is trained"
            )
        names = _names(strategies or "evolution,local_search,lstm,random", plugins.catalogue.controllers)
        graph, looked_up = open_table(spec, plugins.catalogue.operations, file.resolve().parent)
        wanted = range(first_seed, first_seed + seeds)
        found = list(compare_in_table(spec, plugins, graph.space, looked_up, names, wanted))
        folder = folder or Path("runs") / f"{spec.name}-compare"
        make_folder(folder)
        lower = looked_up.direction == "min"
        comparison = compared(found, metric=looked_up.metric, lower_is_better=lower, in_table=True)
        assert comparison is not None
        _leave(comparison, spec.name, folder, as_json, began)
        return
    names = _names(strategies or f"{spec.strategy_kind.name},{RANDOM}", [*plugins.catalogue.strategies, RANDOM])
    for override in overrides or ():
        key = override.partition("=")[0].strip()
        if key in RESERVED:
            raise UsageError(f"{override}: {RESERVED[key]}")
    own = spec.strategy_kind.name
    base = plugins.catalogue.strategies[own if own in names else next(name for name in names if name != RANDOM)]
    if correlation is None:
        proxies = "shared" in base.sources
        correlation = CORRELATED if proxies else 0
        if proxies and "correlation" in spec.compare.model_fields_set:
            correlation = spec.compare.correlation
    elif correlation and "shared" not in base.sources:
        raise UsageError(f"--correlation means nothing for {base.name}: its scores are trainings, no proxies")
    if 0 < correlation < FEWEST_CORRELATED:
        raise UsageError(
            f"--correlation {correlation}: a rank correlation needs {FEWEST_CORRELATED} or more; 0 for none"
        )
    prepare(spec, plugins, file.resolve().parent)
    folder = folder or Path("runs") / f"{spec.name}-compare"
    make_folder(folder)
    common = [str(file), *(overrides or ()), *(["--profile", profile] if profile is not None else [])]
    for path in plugin or ():
        common += ["--plugin", str(path)]
    comparing = Comparing(
        spec,
        plugins,
        names,
        tuple(common),
        folder,
        sha256_of(file),
        correlation,
        say=lambda text: None if as_json else typer.echo(text),
        warn=lambda text: typer.echo(f"warning: {text}", err=True),
    )
    wanted = range(first_seed, first_seed + seeds)
    found = list(comparing.run(wanted))
    comparison = None
    if found:
        metric, direction = metric_of(folder / f"{comparing.searched[0]}-seed{found[0].seed}")
        comparison = compared(
            found, metric=metric, lower_is_better=direction == "min", budget=comparing.budget, wanted=wanted
        )
    if comparison is None:
        raise RunFailedError(f"no seed was finished by all strategies; see the runs in {folder}")
    _leave(comparison, spec.name, folder, as_json, began)


def _leave(comparison: Comparison, name: str, folder: Path, as_json: bool, began: float) -> None:
    """Write the files of a comparison and print it."""
    write_json_atomically(folder / "comparison.json", comparison.plain())
    write_text_atomically(folder / "comparison.txt", table(comparison) + "\n")
    write_text_atomically(folder / "curve.csv", curve_csv(comparison))
    write_bytes_atomically(folder / "curve.png", curve_png(comparison, name))
    if as_json:
        print_json(comparison.plain())
        return
    typer.echo(f"\n{table(comparison)}\n\n{folder}: comparison.json, comparison.txt, curve.csv, curve.png")
    typer.echo(f"{time.monotonic() - began:.0f} s")


def _names(text: str, known: Iterable[str]) -> list[str]:
    known = list(known)
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise UsageError(
                f"--strategies: there is no strategy '{name}'.{suggest(name, known)} Known here: {', '.join(known)}"
            )
    if len(set(names)) < 2 or len(set(names)) != len(names):
        raise UsageError(f"--strategies {text}: name at least two, each once, for example enas,{RANDOM}")
    return names
