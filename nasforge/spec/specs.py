"""What a validated file is: a space, a search that trains, or a search in a table, with the components they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nasforge.components import (
    ControllerKind,
    ExecutorKind,
    ExecutorOptions,
    FromScratchOptions,
    Options,
    SpaceKind,
    StrategyKind,
    TaskKind,
)
from nasforge.errors import Problem
from nasforge.graph.limits import Bound
from nasforge.recipe import Recipe
from nasforge.spec.limits import Limits
from nasforge.spec.nodes import Node, find, find_key
from nasforge.spec.objectives import Objective
from nasforge.spec.resolved import tagged, to_plain
from nasforge.spec.sections import FORMAT, CompareOptions, DeriveOptions, LatencyOptions, TrainOptions


@dataclass(frozen=True, kw_only=True)
class SpaceSpec:
    """A validated space: what can be checked, counted, drawn and sampled without a task.

    Attributes:
        name: of the run.
        seed: of every random stream.
        space: the ``space`` block.
        space_kind: the component that reads it.
        let: plain data of its named choices.
        executor: the ``executor`` block; its recipe is left out.
        executor_kind: the component that reads it.
        train: the final training; its recipe is left out.
        stack: ``train.stack``, an instance of ``space_kind.stack``; None where nothing is written.
        plugins: the distributions that the spec needs, as written.
        limits: bounds that every architecture keeps; None for none.
        objectives: what a search is after; empty for the metric alone.
        latency: how latency is measured; None for the defaults.
        profile: the profile that was applied; no part of the resolved form.
        tree: what was read, for the places of faults that are found later; no part of the resolved form.
    """

    name: str
    seed: int
    space: Options
    space_kind: SpaceKind
    let: Mapping[str, Any]
    executor: ExecutorOptions
    executor_kind: ExecutorKind
    train: TrainOptions
    stack: Options | None
    plugins: tuple[str, ...]
    limits: Limits | None = None
    objectives: tuple[Objective, ...] = ()
    latency: LatencyOptions | None = None
    profile: str | None = field(default=None, compare=False)
    tree: Node | None = field(default=None, compare=False, repr=False)

    @property
    def times(self) -> bool:
        """Whether a limit or an objective is about the latency of networks."""
        if not self.space_kind.networks:
            return False
        limited = self.limits is not None and self.limits.latency_ms is not None
        return limited or any(objective.name == "latency_ms" for objective in self.objectives)

    def fault(self, path: Sequence[str], message: str, *, key: bool = True) -> Problem:
        """A fault that only the compiled space, or the data, shows.

        Args:
            path: keys from the root of the file; where it is not written, its nearest ancestor that is.
            message: what is wrong.
            key: whether the key is shown, or its value.
        """
        if self.tree is None:
            return Problem(".".join(filter(None, path)), message)
        return (find_key if key else find)(self.tree, [*filter(None, path)]).problem(message)

    def space_block(self) -> dict[str, Any]:
        """Plain data of the ``space`` block."""
        let = {"let": dict(self.let)} if self.let else {}
        return {**tagged(self.space_kind.name, self.space), **let}


@dataclass(frozen=True, kw_only=True)
class SearchSpec(SpaceSpec):
    """What every search has, whether it trains networks or looks scores up.

    Attributes:
        task: the ``task`` block.
        task_kind: the component that reads it.
        strategy: the ``strategy`` block.
        strategy_kind: the component that reads it.
        controller: the ``controller`` block.
        controller_kind: the component that reads it.
        compare: what the result is compared with.
    """

    task: Options
    task_kind: TaskKind
    strategy: Options
    strategy_kind: StrategyKind
    controller: Options
    controller_kind: ControllerKind
    compare: CompareOptions


@dataclass(frozen=True, kw_only=True)
class RunSpec(SearchSpec):
    """A validated run; two are equal if their resolved forms are.

    Attributes:
        search_recipe: how shared weights are trained, an instance of ``task_kind.recipe``.
        final_recipe: how single networks are trained, an instance of ``task_kind.recipe``.
        derive: from the policy to one architecture.
        workers: processes for independent trainings; None for two, or one on a single core.
    """

    search_recipe: Recipe
    final_recipe: Recipe
    derive: DeriveOptions
    workers: int | None

    @property
    def scored_by(self) -> str:
        """What gives the scores of the search, in a few words."""
        if not isinstance(self.executor, FromScratchOptions):
            return "shared weights"
        epochs = self.executor.epochs
        return f"trained for {epochs} epoch{'s' * (epochs != 1)}"

    def resolved(self) -> dict[str, Any]:
        """Plain data of everything, defaults filled in; loading it gives an equal `RunSpec`."""
        executor = tagged(self.executor_kind.name, self.executor)
        if "recipe" in executor:
            executor["recipe"] = to_plain(self.search_recipe)
        train = {**to_plain(self.train), "stack": to_plain(self.stack), "recipe": to_plain(self.final_recipe)}
        for block, key in [(train, "stack" if self.space_kind.stack is None else "")] + [
            (block, "hidden" if self.space_kind.shapes is not None else "") for block in (executor, train)
        ]:
            block.pop(key, None)
        return {
            "nasforge": FORMAT,
            "name": self.name,
            "plugins": list(self.plugins),
            "seed": self.seed,
            "space": self.space_block(),
            "task": tagged(self.task_kind.name, self.task),
            "strategy": tagged(self.strategy_kind.name, self.strategy),
            "controller": tagged(self.controller_kind.name, self.controller),
            "executor": executor,
            "derive": to_plain(self.derive),
            "train": train,
            "compare": to_plain(self.compare),
            "limits": to_plain(self.limits),
            "objectives": to_plain(self.objectives),
            "latency": to_plain(self.latency),
            "workers": self.workers,
        }


@dataclass(frozen=True, kw_only=True)
class TableSpec(SearchSpec):
    """A validated search in a table: nothing is trained; two are equal if their resolved forms are.

    Attributes:
        columns: bounds on columns of the table, by their names, which every architecture keeps.
    """

    columns: Mapping[str, Bound] = field(default_factory=dict)

    @property
    def workers(self) -> int:
        """One process does it all, in seconds."""
        return 1

    def resolved(self) -> dict[str, Any]:
        """Plain data of everything, defaults filled in; loading it gives an equal `TableSpec`."""
        return {
            "nasforge": FORMAT,
            "name": self.name,
            "plugins": list(self.plugins),
            "seed": self.seed,
            "space": self.space_block(),
            "task": tagged(self.task_kind.name, self.task),
            "strategy": tagged(self.strategy_kind.name, self.strategy),
            "controller": tagged(self.controller_kind.name, self.controller),
            "compare": to_plain(self.compare),
            "limits": to_plain(dict(self.columns)) or None,
            "objectives": to_plain(self.objectives),
        }
