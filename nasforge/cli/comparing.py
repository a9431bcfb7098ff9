"""The runs of a comparison: which there are, with equal budgets, and what is there already."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nasforge.components import ExecutorKind, ExecutorOptions, FromScratchOptions, StrategyKind
from nasforge.data.files import write_json_atomically
from nasforge.errors import CorruptRunError, UsageError
from nasforge.plugins import Plugins
from nasforge.run.comparison import RANDOM, Outcome, outcomes
from nasforge.run.spec_of_run import passes_of_a_training
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
        for name in self.searched:
            self._arguments(name, 0, None)  # What cannot be is refused before the first run.
        if self.budget:
            self.say(self.budget)
        for seed in seeds:
            for name in self.searched:
                directory = self.folder / f"{name}-seed{seed}"
                if name != base and evaluations is None and self._counts(name) and self._counts_for(base):
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
                if name == base and evaluations is None and self._counts_for(base):
                    evaluations = found[0].cost["evaluations"] if self._counts(base) else _evaluations(found[0])
                yield from (each for each in found if each.strategy in self.names)

    def _counts(self, name: str) -> bool:
        """Whether a strategy is told how many architectures it scores on the whole validation split."""
        return self._kind(name).whole_split

    def _counts_for(self, base: str) -> bool:
        """Whether what the scores of the base have read says how many evaluations others get."""
        return "shared" in self._kind(base).sources

    def _kind(self, name: str) -> StrategyKind:
        return self.plugins.catalogue.strategies[name]

    @property
    def budget(self) -> str:
        """What is equal where some strategies share weights and others train from scratch; empty where all do one."""
        executors = {name: self._executor(name) for name in self.searched}
        if len({kind.source for kind, _ in executors.values()}) == 1:
            return ""
        own = ", ".join(
            f"{name}: {self._config(name).queries} trainings of {config.epochs} epochs"
            for name, (_, config) in executors.items()
            if isinstance(config, FromScratchOptions)
        )
        return (
            f"All make as many child steps (weight steps) as {self.searched[0]} does, whether they share weights or "
            f"train from scratch ({own}); what their scores read is not made equal."
        )

    def _executor(self, name: str) -> tuple[ExecutorKind, ExecutorOptions]:
        """The executor of a strategy: that of the file, or its own with the options that both have."""
        spec, kind = self.spec, self._kind(name)
        if spec.executor_kind.source in kind.sources:
            return spec.executor_kind, spec.executor
        executor = self.plugins.catalogue.executors[kind.defaults["executor"]]
        fields = executor.config.model_fields
        given = {
            key: getattr(spec.executor, key) for key in _SIZES if key in spec.executor.model_fields_set & {*fields}
        }
        if issubclass(executor.config, FromScratchOptions):
            given["epochs"] = spec.derive.short_epochs
        return executor, executor.config.model_validate(given)

    def _config(self, name: str) -> Any:
        """The options of a strategy: its own defaults, what it and the file's have in common, and an equal budget."""
        kind, (executor, options) = self._kind(name), self._executor(name)
        if name == self.spec.strategy_kind.name:
            return self.spec.strategy
        config = kind.config.model_validate(self._common(kind))
        base = self.searched[0]
        if executor.source == self._executor(base)[0].source or name == base:
            return config
        budget = self._passes(base)
        if isinstance(options, FromScratchOptions):
            return config.model_copy(update={"queries": max(1, round(budget / options.epochs))})
        each = kind.passes(config.model_copy(update={"epochs": 1}))
        return config.model_copy(update={"epochs": max(1, round(budget / each))})

    def _passes(self, name: str) -> float:
        """Passes over the training data that the search of a strategy makes."""
        options = self._executor(name)[1]
        return self._kind(name).passes(self._config(name)) * passes_of_a_training(options)

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
        if name != own:
            # What they say about the file's own is in the blocks that take the place of these.
            replaced = {override.partition("=")[0] for override in overrides}
            rest = [each for each in rest if each.partition("=")[0].partition(".")[0].strip() not in replaced]
        if name != own and self.spec.derive.proposals != "sample" and not self._offers_beam(name):
            rest = [*rest, "derive.proposals=sample"]
        return [file, *overrides, f"compare.random={random}", "compare.references=false", *rest, "--seed", str(seed)]

    def _offers_beam(self, name: str) -> bool:
        """Whether another strategy can take its candidates from the most probable architectures of its controller."""
        controller = self._kind(name).defaults.get("controller", self.spec.controller_kind.name)
        return self.plugins.catalogue.controllers[controller].most_likely and "shared" in self._kind(name).sources

    def _as(self, name: str, evaluations: int | None) -> list[str]:
        """Overrides that turn the spec to another strategy: its own controller, and all options that both have."""
        kind, (executor, options) = self._kind(name), self._executor(name)
        given, config = self._common(kind), self._config(name)
        given |= {key: getattr(config, key) for key in ("queries", "epochs") if key in kind.config.model_fields}
        for message in kind.refusal(config, options).values():
            raise UsageError(f"{name} cannot be compared here: {message}; its epochs are derive.short_epochs")
        if self._counts(name) and not self.spec.strategy_kind.whole_split and evaluations is not None:
            given["evaluations"] = evaluations
        overrides = [f"strategy={_flow({'kind': name, **given})}"]
        if executor is not self.spec.executor_kind:
            recipe = self.spec.search_recipe
            own = {key: getattr(options, key) for key in options.model_fields_set}
            own["recipe"] = {key: getattr(recipe, key) for key in recipe.model_fields_set}
            overrides.append(f"executor={_flow({'kind': executor.name, **own})}")
        return [*overrides, f"controller={kind.defaults['controller']}"] if "controller" in kind.defaults else overrides

    def _common(self, kind: StrategyKind) -> dict[str, Any]:
        """The options that the file's strategy and another have in common."""
        given: dict[str, Any] = {}
        for key in kind.config.model_fields:
            if key != "kind" and hasattr(self.spec.strategy, key):
                value = getattr(self.spec.strategy, key)
                try:
                    kind.config.model_validate({key: value})
                except ValidationError:
                    continue  # a value that only the other strategy knows
                given[key] = value
        return given

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


_SIZES = ("hidden", "backend", "precision")
"""What all executors have."""


def _flow(block: Mapping[str, Any]) -> str:
    """A block in YAML's flow style, as an override takes it."""
    return "{" + ", ".join(f"{key}: {json.dumps(value)}" for key, value in block.items()) + "}"


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
