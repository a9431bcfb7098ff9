"""The runs of a comparison: which there are, with equal budgets, and what is there already."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nasforge.data.files import write_json_atomically
from nasforge.errors import CorruptRunError, UsageError
from nasforge.plugins import Plugins
from nasforge.run.comparison import RANDOM, Outcome, outcomes
from nasforge.spec.specs import RunSpec

RESERVED = {
    "seed": "--first-seed and --seeds say which seeds are run",
    "compare.random": f"name {RANDOM} among --strategies, or leave it out",
    "compare.references": "a comparison trains no references",
    "compare.correlation": "--correlation says how many architectures",
}
"""Overrides that a comparison sets itself, and what to do instead."""


@dataclass(frozen=True)
class Comparing:
    """What is compared.

    Attributes:
        spec: of the file, with its overrides.
        plugins: what names stand for.
        names: of strategies; `RANDOM` is the arm of the runs of the first of the others, `base`.
        common: arguments of all runs, after ``nasforge run``.
        folder: where the runs are.
        file_sha256: of the file.
        correlation: architectures of the rank correlation, which the runs of the base have.
        say: prints a line.
        warn: prints a warning.
    """

    spec: RunSpec
    plugins: Plugins
    names: Sequence[str]
    common: tuple[str, ...]
    folder: Path
    file_sha256: str
    correlation: int
    say: Callable[[str], None]
    warn: Callable[[str], None]

    @property
    def searched(self) -> list[str]:
        """The strategies that are run, the base first: the file's own where it is among them."""
        own = self.spec.strategy_kind.name
        searched = [name for name in self.names if name != RANDOM]
        return [own, *(name for name in searched if name != own)] if own in searched else searched

    def run(self, seeds: Sequence[int]) -> Iterator[Outcome]:
        """What every strategy finds with every seed, where its run does not fail.

        The base runs first; how much its scores have read says how many evaluations the others get.
        """
        base, evaluations = self.searched[0], None
        for seed in seeds:
            for name in self.searched:
                directory = self.folder / f"{name}-seed{seed}"
                if name != base and evaluations is None and self._counts(name):
                    self.warn(f"{name}, seed {seed} is left out: {base} has not finished, whose budget it gets")
                    continue
                arguments = self._arguments(name, seed, evaluations)
                self._note(directory.name, arguments)
                if not (directory / "result.json").is_file():
                    self.say(f"{name}, seed {seed} in {directory}")
                    if _work(arguments, directory) != 0:
                        self.warn(f"{name}, seed {seed} failed; it is left out")
                        continue
                found = outcomes(directory, name, seed)
                if name == base and evaluations is None:
                    evaluations = found[0].cost["evaluations"] if self._counts(base) else _evaluations(found[0])
                yield from (each for each in found if each.strategy in self.names)

    def _counts(self, name: str) -> bool:
        """Whether a strategy is told how many architectures it scores on the whole validation split."""
        return self.plugins.catalogue.strategies[name].whole_split

    def _arguments(self, name: str, seed: int, evaluations: int | None) -> list[str]:
        own = self.spec.strategy_kind.name
        overrides = [] if name == own else self._as(name, evaluations)
        random = str(RANDOM in self.names and name == self.searched[0]).lower()
        # What is trained from scratch is the same for every strategy: once is enough.
        correlation = self.correlation if name == self.searched[0] else 0
        # Not where the file says it, so that a comparison from before there was such a thing goes on with 0.
        if correlation != self.spec.compare.correlation:
            overrides = [*overrides, f"compare.correlation={correlation}"]
        file, *rest = self.common
        return [file, *overrides, f"compare.random={random}", "compare.references=false", *rest, "--seed", str(seed)]

    def _as(self, name: str, evaluations: int | None) -> list[str]:
        """Overrides that turn the spec to another strategy: its own controller, and all options that both have."""
        kind = self.plugins.catalogue.strategies[name]
        given: dict[str, Any] = {}
        for key in kind.config.model_fields:
            if key != "kind" and hasattr(self.spec.strategy, key):
                value = getattr(self.spec.strategy, key)
                try:
                    kind.config.model_validate({key: value})
                except ValidationError:
                    continue  # a value that only the other strategy knows
                given[key] = value
        if self._counts(name) and not self.spec.strategy_kind.whole_split and evaluations is not None:
            given["evaluations"] = evaluations
        block = ", ".join(f"{key}: {json.dumps(value)}" for key, value in {"kind": name, **given}.items())
        overrides = [f"strategy={{{block}}}"]
        return [*overrides, f"controller={kind.defaults['controller']}"] if "controller" in kind.defaults else overrides

    def _note(self, name: str, arguments: list[str]) -> None:
        """Note a run in ``compare.json``.

        Raises:
            UsageError: a run of that name was begun there with other arguments, or another file.
        """
        path = self.folder / "compare.json"
        there = self._noted(path)
        if there.setdefault(name, arguments) != arguments:
            raise UsageError(
                f"{self.folder}: {name} was begun there with other arguments ({' '.join(there[name])}); choose another "
                "--dir"
            )
        write_json_atomically(path, {"nasforge": 1, "file_sha256": self.file_sha256, "runs": there})

    def _noted(self, path: Path) -> dict[str, list[str]]:
        if not path.is_file():
            if any(self.folder.iterdir()):
                raise UsageError(
                    f"{self.folder}: the folder is not empty and holds no comparison; choose another --dir"
                )
            return {}
        try:
            noted = json.loads(path.read_text("utf-8"))
            there, same_file = dict(noted["runs"]), noted["file_sha256"] == self.file_sha256
        except (ValueError, KeyError, TypeError):
            raise CorruptRunError(f"{path}: damaged; choose another --dir") from None
        if not same_file:
            raise UsageError(
                f"{self.folder}: what is there was begun with another content of the file; choose another --dir"
            )
        return there


def _evaluations(base: Outcome) -> int:
    """Scores on the whole validation split that read as much as those of the base did, rewards and ranking together."""
    cost = base.cost
    each = cost["ranking_tokens"] / max(1, cost["candidates_ranked"])
    return max(1, round((cost["evaluated_tokens"] + cost["ranking_tokens"]) / each))


def _work(arguments: Sequence[str], directory: Path) -> int:
    """Do a run in a process of its own, or go on with it; its exit code. Its errors are printed by itself."""
    if (directory / "run.json").is_file():
        command = ["resume", str(directory), "--quiet"]
    else:
        command = ["run", *arguments, "--quiet", "--run-dir", str(directory)]
    done = subprocess.run([sys.executable, "-m", "nasforge", *command], stdout=subprocess.DEVNULL, check=False)
    if done.returncode in (130, 143):
        raise KeyboardInterrupt
    return done.returncode
