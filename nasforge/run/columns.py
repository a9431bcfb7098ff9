"""Limits and objectives of a search in a table: what a file says of its further columns, checked against the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nasforge.components import Operation
from nasforge.errors import DataError, Problem, SpecError, suggest
from nasforge.graph.limits import REMEMBERED, Bound
from nasforge.graph.supergraph import Supergraph
from nasforge.resolve import resolve
from nasforge.run.compile import at_limits, compile_space, controller_faults
from nasforge.space.search_space import SearchSpace
from nasforge.spec.nodes import printable
from nasforge.spec.objectives import faults_of
from nasforge.spec.specs import SpaceSpec, TableSpec

if TYPE_CHECKING:
    from nasforge.data.table import Table


class ColumnRule:
    """Bounds on columns of a table: a rule for `SearchSpace.limited`.

    Args:
        bounds: by the names of columns.
        table: has them.
        space: whose architectures are its rows.
    """

    def __init__(self, bounds: Mapping[str, Bound], table: Table, space: SearchSpace) -> None:
        self._bounds, self._table, self._space = dict(bounds), table, space.unlimited
        self._remembered = lru_cache(REMEMBERED)(self._violations)

    def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
        """One sentence for each bound that the row of the architecture breaks.

        Raises:
            DataError: it is not in the table.
        """
        return self._remembered(self._space.encode(architecture))

    def _violations(self, indices: tuple[int, ...]) -> tuple[str, ...]:
        row = self._table.row(indices)
        said = {name: bound.broken(self._table.columns[name][row].item()) for name, bound in self._bounds.items()}
        return tuple(f"{name}: {text}" for name, text in said.items() if text)


def open_table(
    spec: TableSpec, operations: Mapping[str, Operation], base: Path, stage: Literal["search", "final"] = "search"
) -> tuple[Supergraph, Table]:
    """The space of a spec within its limits, and the table that it names.

    Args:
        spec: what is searched.
        operations: the catalogue's operations by name.
        base: the folder that relative paths start from.
        stage: of the graph; both are the same decisions.

    Raises:
        SpaceError: as `compile_space`.
        SpecError: the table is missing, wrong, or of another space; limits or objectives name what it does not have; no
            row is within the limits. Shown at the line that says so.
    """
    graph = compile_space(spec, stage, operations)
    faults = controller_faults(spec, graph.space)
    if faults:
        raise SpecError(faults)
    try:
        table: Table = resolve(spec.task_kind.build)(spec.task, base, graph.space)
    except DataError as error:
        raise SpecError([spec.fault(("task", spec.task_kind.data_key), str(error), key=False)]) from error
    _check_names(spec, table)
    if not spec.columns:
        return graph, table
    _require_rows(spec, table)
    return replace(graph, space=graph.space.limited(ColumnRule(spec.columns, table, graph.space))), table


def compile_within(
    spec: SpaceSpec, stage: Literal["search", "final"], operations: Mapping[str, Operation], base: Path
) -> Supergraph:
    """As `compile_space`, for files with limits on a table, too; for their sake alone the table is read.

    Raises: as `compile_space` and `open_table`.
    """
    if isinstance(spec, TableSpec) and spec.columns:
        return open_table(spec, operations, base, stage)[0]
    return compile_space(spec, stage, operations)


def _check_names(spec: TableSpec, table: Table) -> None:
    known = sorted(table.columns)
    there = f"known here: {', '.join(known)}" if known else f"{table.name} has no columns beside the scores"
    problems: list[Problem] = []
    for name in spec.columns:
        if name not in table.columns:
            message = f"the table has no column '{printable(name, 60)}'.{suggest(name, known)}"
            problems.append(replace(spec.fault(("limits", name), message), hint=there))
    for place, message, hint in faults_of(spec.objectives, table.metric, table.direction, known):
        problems.append(replace(spec.fault(("objectives", str(place)), message, key=False), hint=hint))
    if problems:
        raise SpecError(problems)


def _require_rows(spec: TableSpec, table: Table) -> None:
    """Make sure that some row is within the limits.

    Raises:
        SpecError: none is; the message says what each column is like.
    """
    kept = [True] * len(table)
    alone: list[str] = []
    for name, bound in spec.columns.items():
        values = table.columns[name].tolist()
        within = [not bound.broken(value) for value in values]
        kept = [a and b for a, b in zip(kept, within, strict=True)]
        middle = sorted(values)[(len(values) - 1) // 2]
        spread = f"from {min(values):,} to {max(values):,}, median {middle:,}"
        alone.append(f"{name} is {spread}, and within its limit {sum(within):,} times")
    if not any(kept):
        raise at_limits(spec, f"of all {len(table):,} rows of the table none is within the limits: {'; '.join(alone)}")
