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
from nasforge.errors import SpecError
from nasforge.graph.count import Meter
from nasforge.run.compile import compile_space
from nasforge.seeds import stream
from nasforge.spec.run_spec import RunSpec, load_run_spec

SAMPLED = 1000
"""Architectures whose parameters and FLOPs are counted."""

_BYTES = 4
"""Of one weight: float32."""


def check(
    files: Annotated[list[Path], typer.Argument(metavar="SPACE.yaml...", help="Files to check.", show_default=False)],
    profile: Profile = None,
    plugin: PluginFiles = None,
    as_json: AsJson = False,
) -> None:
    """Validate space files: every fault at its line; the exact size of those that are sound, the distinct ones too."""
    plugins = load_plugins(plugin)
    reports: list[dict[str, Any]] = []
    faults: list[SpecError] = []
    for file in files:
        try:
            spec = load_run_spec(file, plugins, profile=profile)
        except SpecError as error:
            faults.append(error)
            continue
        space = compile_space(spec, "search").space
        distinct = spec.space_kind.distinct(spec.space)
        roles = Counter(decision.role for decision in space.decisions)
        reports.append(
            {
                "file": str(file),
                "name": spec.name,
                "kind": spec.space_kind.name,
                "size": space.size,
                "distinct": distinct,
                "decisions": len(space),
                "roles": dict(roles),
                "profile": spec.profile,
                **_costs(spec, plugins.catalogue.operations),
            }
        )
    if as_json:
        print_json(reports)
    else:
        for report in reports:
            distinct = report["distinct"]
            distinct_text = "distinct: not computed" if distinct is None else f"{distinct:,} of them distinct"
            size_text = f"{report['size']:,} architectures (10^{math.log10(report['size']):.1f})"
            roles_text = ", ".join(f"{count} {role}" for role, count in report["roles"].items())
            typer.echo(
                f"{report['file']}: ok. {report['name']} is a {report['kind']} of {size_text}, {distinct_text}, "
                f"{report['decisions']} decisions ({roles_text})"
            )
            typer.echo(_costs_text(report))
    if faults:
        raise SpecError([problem for fault in faults for problem in fault.problems])


def _costs(spec: RunSpec, operations: Mapping[str, Operation]) -> dict[str, Any]:
    """What networks of the space cost, the task's own layers apart; nulls where the kind does not state shapes."""
    final = spec.space_kind.shapes(spec.space, spec.train.hidden)
    search = spec.space_kind.shapes(spec.space, spec.executor.hidden)
    if not final:
        return {"hidden": spec.train.hidden, "sampled": 0, "parameters": None, "flops": None, "bank_bytes": None}
    supergraph = compile_space(spec, "final")
    meter, rng = Meter(supergraph, operations, final), stream(0, "check")
    counts = [meter.count(supergraph.space.sample(rng)) for _ in range(SAMPLED)]
    return {
        "hidden": spec.train.hidden,
        "sampled": SAMPLED,
        "parameters": _spread([count.parameters for count in counts]),
        "flops": _spread([count.flops for count in counts]),
        "bank_bytes": _BYTES * Meter(compile_space(spec, "search"), operations, search).bank(),
    }


def _spread(values: Sequence[int]) -> dict[str, int]:
    return {"min": min(values), "median": statistics.median_low(values), "max": max(values)}


def _costs_text(report: Mapping[str, Any]) -> str:
    if report["parameters"] is None:
        return "  parameters, FLOPs, shared bank: not counted, a space of this kind does not state its shapes"
    parameters, flops = (
        " / ".join(f"{report[what][which]:,}" for which in ("min", "median", "max")) for what in ("parameters", "flops")
    )
    return (
        f"  final network of {report['hidden']} features, without the task's own layers, min / median / max of "
        f"{report['sampled']:,} sampled architectures:\n"
        f"    parameters {parameters}\n"
        f"    FLOPs {flops} for one example and time step\n"
        f"  shared bank of the search: {report['bank_bytes'] / 2**20:.1f} MiB"
    )
