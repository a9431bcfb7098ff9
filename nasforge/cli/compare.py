"""``nasforge compare``: strategies side by side, over seeds, on the same budget."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from nasforge.cli.common import AsJson, Overrides, PluginFiles, Profile, load_plugins, print_json
from nasforge.cli.curve import curve_csv, curve_png
from nasforge.cli.run import prepare
from nasforge.data.files import (
    make_folder,
    sha256_of,
    write_bytes_atomically,
    write_json_atomically,
    write_text_atomically,
)
from nasforge.errors import CorruptRunError, RunFailedError, UsageError, suggest
from nasforge.plugins import Plugins
from nasforge.run.comparison import RANDOM, Comparison, compared, outcomes, table
from nasforge.run.compile import compile_space
from nasforge.run.table_run import compare_in_table, load_table_of
from nasforge.spec.run_spec import RunSpec, TableSpec, load_spec


@dataclass(frozen=True)
class _Run:
    """A run of one strategy with one seed: the command line without its directory, and the directory."""

    strategy: str
    seed: int
    arguments: tuple[str, ...]
    directory: Path


def compare(
    file: Annotated[Path, typer.Argument(metavar="SPACE.yaml", help="What to search, and how.", show_default=False)],
    overrides: Overrides = None,
    strategies: Annotated[
        str | None,
        typer.Option(
            "--strategies",
            help="Names with commas between; random learns nothing. Default: enas,random. For a table: controllers.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds.")] = 5,
    first_seed: Annotated[int, typer.Option("--first-seed", min=0, help="The first of them.")] = 0,
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
    plugins = load_plugins(plugin)
    spec = load_spec(file, plugins, profile=profile, overrides=overrides or ())
    began = time.monotonic()
    if isinstance(spec, TableSpec):
        names = _names(strategies or "evolution,local_search,lstm,random", plugins.catalogue.controllers)
        space = compile_space(spec, "search", plugins.catalogue.operations).space
        looked_up = load_table_of(spec, space, file.resolve().parent)
        found = list(compare_in_table(spec, plugins, looked_up, names, range(first_seed, first_seed + seeds)))
        folder = folder or Path("runs") / f"{spec.name}-compare"
        make_folder(folder)
        lower = looked_up.direction == "min"
        comparison = compared(found, metric=looked_up.metric, lower_is_better=lower, in_table=True)
        assert comparison is not None
        _leave(comparison, spec.name, folder, as_json, began)
        return
    names = _names(strategies or f"enas,{RANDOM}", [*plugins.catalogue.strategies, RANDOM])
    prepare(spec, plugins, file.resolve().parent)
    folder = folder or Path("runs") / f"{spec.name}-compare"
    each_seed = range(first_seed, first_seed + seeds)
    runs = _runs(spec, plugins, names, each_seed, file, folder, overrides, profile, plugin)
    make_folder(folder)
    _claim(folder, runs, sha256_of(file))
    found = []
    for number, run in enumerate(runs):
        finished = (run.directory / "result.json").is_file()
        if not finished and not as_json:
            typer.echo(f"{run.strategy}, seed {run.seed} ({number + 1} of {len(runs)}) in {run.directory}")
        if not finished and _work(run) != 0:
            typer.echo(f"warning: {run.strategy}, seed {run.seed} failed; it is left out", err=True)
            continue
        found += [each for each in outcomes(run.directory, run.strategy, run.seed) if each.strategy in names]
    task = spec.task_kind.name
    comparison = None
    if found:
        trained = json.loads((runs[0].directory / "result.json").read_text("utf-8"))["best"]["trained"]
        comparison = compared(found, metric=trained["metric"], lower_is_better=trained["direction"] == "min")
    if comparison is None:
        raise RunFailedError(f"no seed was finished by all strategies ({task}); see the runs in {folder}")
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


def _runs(
    spec: RunSpec,
    plugins: Plugins,
    names: Sequence[str],
    seeds: range,
    file: Path,
    folder: Path,
    overrides: Sequence[str] | None,
    profile: str | None,
    plugin: Sequence[Path] | None,
) -> list[_Run]:
    """A run for each strategy and seed; the random arm is that of the first strategy's runs."""
    searched = [name for name in names if name != RANDOM]
    common = [str(file), *(overrides or ()), "compare.references=false"]
    options = ["--quiet"]
    if profile is not None:
        options += ["--profile", profile]
    for path in plugin or ():
        options += ["--plugin", str(path)]
    runs = []
    for seed in seeds:
        for name in searched:
            own = [] if name == spec.strategy_kind.name else _as(name, spec, plugins)
            random = str(RANDOM in names and name == searched[0]).lower()
            arguments = (*common, *own, f"compare.random={random}", *options, "--seed", str(seed))
            runs.append(_Run(name, seed, arguments, folder / f"{name}-seed{seed}"))
    return runs


def _as(name: str, spec: RunSpec, plugins: Plugins) -> list[str]:
    """Overrides that turn a spec to another strategy, with its own controller and as many weight steps."""
    kind = plugins.catalogue.strategies[name]
    same = [key for key in ("epochs", "architectures_per_step") if key in kind.config.model_fields]
    given = [f"{key}: {getattr(spec.strategy, key)}" for key in same if hasattr(spec.strategy, key)]
    overrides = [f"strategy={{{', '.join([f'kind: {name}', *given])}}}"]
    return [*overrides, f"controller={kind.defaults['controller']}"] if "controller" in kind.defaults else overrides


def _claim(folder: Path, runs: Sequence[_Run], file_sha256: str) -> None:
    """Refuse a folder in which other things were compared; note what is.

    Raises:
        UsageError: the runs that are there began with other arguments, or with another file.
    """
    said = {f"{run.strategy}-seed{run.seed}": list(run.arguments) for run in runs}
    path = folder / "compare.json"
    if path.is_file():
        try:
            noted = json.loads(path.read_text("utf-8"))
            there, same_file = noted["runs"], noted["file_sha256"] == file_sha256
            differ = [name for name, arguments in said.items() if there.get(name, arguments) != arguments]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CorruptRunError(f"{path}: damaged; choose another --dir") from None
        if not same_file:
            raise UsageError(
                f"{folder}: what is there was begun with another content of the file; choose another --dir"
            )
        if differ:
            raise UsageError(
                f"{folder}: {differ[0]} was begun there with other arguments ({' '.join(there[differ[0]])}); choose "
                "another --dir"
            )
        said = {**there, **said}
    elif any(folder.iterdir()):
        raise UsageError(f"{folder}: the folder is not empty and holds no comparison; choose another --dir")
    write_json_atomically(path, {"nasforge": 1, "file_sha256": file_sha256, "runs": said})


def _work(run: _Run) -> int:
    """Do a run in a process of its own, or go on with it; its exit code. Its errors are printed by itself."""
    if (run.directory / "run.json").is_file():
        command = ["resume", str(run.directory), "--quiet"]
    else:
        command = ["run", *run.arguments, "--run-dir", str(run.directory)]
    done = subprocess.run([sys.executable, "-m", "nasforge", *command], stdout=subprocess.DEVNULL, check=False)
    if done.returncode in (130, 143):
        raise KeyboardInterrupt
    return done.returncode
