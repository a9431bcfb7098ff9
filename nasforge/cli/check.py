"""``nasforge check``: validate spaces and say how large they are."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from nasforge.cli.common import AsJson, PluginFiles, Profile, load_plugins, print_json
from nasforge.components import Operation
from nasforge.errors import SpecError, UsageError
from nasforge.graph.count import Meter
from nasforge.graph.supergraph import Supergraph
from nasforge.run.compile import compile_space
from nasforge.seeds import stream
from nasforge.spec.nodes import printable
from nasforge.spec.run_spec import RunSpec, load_run_spec

COUNTED = 1000
"""Architectures whose parameters and FLOPs are counted; those of smaller spaces all are."""

_SEED = 0
"""Of the draw of those: equal files get equal answers."""

_BYTES = 4
"""Of one weight: float32."""

_COSTS = ("counted", "exhaustive", "seed", "hidden", "parameters", "flops", "bank_hidden", "bank_bytes")


def check(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="SPACE.yaml... [KEY=VALUE]...", help="Files, and overrides of all of them.", show_default=False
        ),
    ],
    profile: Profile = None,
    plugin: PluginFiles = None,
    as_json: AsJson = False,
) -> None:
    """Validate space files: every fault at its line. Of sound ones: exact size, distinct ones, parameters and FLOPs."""
    plugins = load_plugins(plugin)
    overrides = [text for text in files if "=" in text and not Path(text).exists()]
    paths = [Path(text) for text in files if text not in overrides]
    if not paths:
        raise UsageError(f"'{printable(files[0], 80)}' is an override: name the space file to check before it")
    reports: list[dict[str, Any]] = []
    faults: list[SpecError] = []
    for path in paths:
        try:
            spec = load_run_spec(path, plugins, profile=profile, overrides=overrides)
        except SpecError as error:
            faults.append(error)
            continue
        supergraph = compile_space(spec, "search")
        space = supergraph.space
        reports.append(
            {
                "file": str(path),
                "name": spec.name,
                "kind": spec.space_kind.name,
                "size": space.size,
                "distinct": spec.space_kind.distinct(spec.space),
                "decisions": len(space),
                "roles": dict(Counter(decision.role for decision in space.decisions)),
                "profile": spec.profile,
                **_costs(spec, supergraph, plugins.catalogue.operations),
            }
        )
    if as_json:
        print_json(reports)
    else:
        for report in reports:
            typer.echo(_text(report))
    if faults:
        raise SpecError([problem for fault in faults for problem in fault.problems])


def _costs(spec: RunSpec, search: Supergraph, operations: Mapping[str, Operation]) -> dict[str, Any]:
    """What networks of the space cost, the task's own layers apart; nulls where only the data says the shapes."""
    shapes = spec.task_kind.shapes(spec.task, spec.train.hidden)
    if not shapes:
        return dict.fromkeys(_COSTS)
    final = compile_space(spec, "final")
    exhaustive = final.space.size <= COUNTED
    rng = stream(_SEED, "check")
    chosen = final.space.everything() if exhaustive else [final.space.sample(rng) for _ in range(COUNTED)]
    meter = Meter(final, operations, shapes)
    counts = [meter.count(architecture) for architecture in chosen]
    bank = Meter(search, operations, spec.task_kind.shapes(spec.task, spec.executor.hidden)).bank()
    return {
        "counted": len(counts),
        "exhaustive": exhaustive,
        "seed": None if exhaustive else _SEED,
        "hidden": spec.train.hidden,
        "parameters": _spread([count.parameters for count in counts]),
        "flops": _spread([count.flops for count in counts]),
        "bank_hidden": spec.executor.hidden,
        "bank_bytes": _BYTES * bank,
    }


def _spread(values: Sequence[int]) -> dict[str, int]:
    return {"min": min(values), "median": statistics.median_low(values), "max": max(values)}


def _text(report: Mapping[str, Any]) -> str:
    distinct = report["distinct"]
    distinct_text = "distinct: not computed" if distinct is None else f"{distinct:,} of them distinct"
    roles = ", ".join(f"{count} {role}" for role, count in report["roles"].items())
    lines = [
        f"{report['file']}: ok. {report['name']} is a {report['kind']} of {report['size']:,} architectures "
        f"(10^{math.log10(report['size']):.1f}), {distinct_text}, {report['decisions']} decisions ({roles})"
    ]
    if report["parameters"] is None:
        return "\n".join(
            [*lines, "  parameters, FLOPs, shared bank: not counted, only the task's data says the shapes"]
        )
    seen = (
        f"all {report['counted']:,} architectures"
        if report["exhaustive"]
        else f"{report['counted']:,} architectures drawn uniformly (seed {report['seed']})"
    )
    columns = ["min", "median", "max"]
    rows = [["", *columns]]
    for title in ("parameters", "FLOPs"):
        rows.append([title, *(f"{report[title.lower()][which]:,}" for which in columns)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines.append(f"  final network of {report['hidden']} features without the task's own layers, {seen}:")
    lines += ["    " + "  ".join(map(str.rjust, row, widths)) for row in rows]
    lines.append("    FLOPs are those of one example and one time step; a multiply-add counts two")
    size = f"{report['bank_bytes'] / 2**20:.1f} MiB"
    lines.append(f"  shared bank of the search, {report['bank_hidden']} features in float32: {size}")
    return "\n".join(lines)
