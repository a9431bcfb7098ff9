"""The Pareto fronts of a search in a table with two objectives, as ``result.json`` has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasforge.data.table import Table
from nasforge.run.pareto import Scored, front_of, hypervolume_of, metric_first, worst_of
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.spec.specs import TableSpec


def fronts_of(
    spec: TableSpec, space: SearchSpace, table: Table, arms: Mapping[str, Mapping[Architecture, tuple[float, int]]]
) -> dict[str, Any]:
    """The front of what each arm asked for, by the means of its scores, and how much of the table's own it covers.

    Args:
        spec: with two objectives.
        space: of the table.
        table: what was searched.
        arms: by ``search`` and ``baseline``: the mean of the scores of each architecture, and how many there are.
    """
    objectives = metric_first(spec.objectives, table.metric)
    cost = objectives[1]
    column = table.columns[cost.name].tolist()
    truths = [{table.metric: truth, cost.name: column[row]} for row, truth in enumerate(table.truths.tolist())]
    reference = worst_of(objectives, truths)
    kept = [each for row, each in enumerate(truths) if within(spec, table, row)]
    best = hypervolume_of(objectives, kept, reference)
    fronts: dict[str, dict[str, Any]] = {}
    for arm, found in arms.items():
        scored, rows = [], {}
        for architecture, (value, count) in found.items():
            rows[architecture.digest] = row = table.row(space.encode(architecture))
            facts = {
                "digest": architecture.digest,
                "decisions": dict(architecture),
                "scores": count,
                "truth": table.truth(row),
            }
            scored.append(Scored(facts, {table.metric: value, cost.name: column[row]}))
        front = front_of(objectives, scored)
        true = hypervolume_of(objectives, [truths[rows[each.facts["digest"]]] for each in front], reference)
        fronts[arm] = {
            "front": [each.plain() for each in front],
            "hypervolume": hypervolume_of(objectives, [each.values for each in front], reference),
            "truth": {"hypervolume": true, "share": true / best if best else None},
        }
    return {
        "objectives": [str(each) for each in objectives],
        "note": "The front of all that was asked for, by the means of the scores; the truth is that of the table.",
        "reference": reference,
        "reference_is": "the worst value of each objective in the table",
        "table": {"hypervolume": best},
        **fronts["search"],
        "baseline": fronts.get("baseline"),
    }


def within(spec: TableSpec, table: Table, row: int) -> bool:
    """Whether a row keeps the limits."""
    return not any(bound.broken(table.columns[name][row].item()) for name, bound in spec.columns.items())
