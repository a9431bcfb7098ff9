"""``nasforge check``: validate spaces and say how large they are."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from nasforge.cli.common import AsJson, PluginFiles, Profile, alike, load_plugins, print_json
from nasforge.components import Operation
from nasforge.errors import Problem, SpaceError, SpecError, UsageError
from nasforge.graph.count import Meter
from nasforge.graph.distinct import MOST_LISTED, Listing
from nasforge.graph.plan import plan_architecture
from nasforge.graph.supergraph import Supergraph
from nasforge.published.words import counted
from nasforge.run.columns import compile_within
from nasforge.run.compile import at_limits, compile_space, input_shapes
from nasforge.seeds import stream
from nasforge.space.architecture import Architecture
from nasforge.space.rule import TRIES, Refusals
from nasforge.spec.nodes import printable
from nasforge.spec.resolved import to_plain
from nasforge.spec.run_spec import load_space_spec
from nasforge.spec.specs import SpaceSpec, TableSpec

COUNTED = 1000
"""Architectures whose parameters and FLOPs are counted; those of smaller spaces all are."""

QUICK_STEPS = 200_000
"""Work of a listing (`Listing.steps`) that is done without being asked for: about a second."""

COUNTED_LEAST = 100
READ = 450_000
"""Values that the plans of all counted architectures may read, about half a second: of large ones fewer are counted."""

_SEED = 0
"""Of the draw of those: equal files get equal answers."""

_BYTES = 4
"""Of one weight: float32."""

_UNITS: Mapping[int, str] = MappingProxyType({20: "MiB", 30: "GiB", 40: "TiB"})
"""Of memory, by the power of two."""

_EXACT = 10**30
"""Smaller numbers are printed with all digits; JSON has all of any."""

_COSTS = ("sequential", "counted", "exhaustive", "seed", "hidden", "parameters", "flops", "bank_hidden", "bank_bytes")


def check(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="SPACE.yaml... [KEY=VALUE]...", help="Files, and overrides of all of them.", show_default=False
        ),
    ],
    profile: Profile = None,
    plugin: PluginFiles = None,
    list_all: Annotated[
        bool, typer.Option("--distinct", help="Count distinct architectures even where that takes long.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Validate space files: every fault at its line. Of sound ones: exact size, parameters, FLOPs, limits."""
    plugins = load_plugins(plugin)
    overrides = [text for text in files if "=" in text and not Path(text).exists()]
    paths = [Path(text) for text in files if text not in overrides]
    if not paths:
        raise UsageError(f"'{printable(files[0], 80)}' is an override: name the space file to check before it")
    operations = plugins.catalogue.operations
    reports: list[dict[str, Any]] = []
    notes: list[str] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            spec = load_space_spec(path, plugins, profile=profile, overrides=overrides)
            search = compile_space(spec, "search", operations)
            final = compile_within(spec, "final", operations, path.resolve().parent)
            drawn = _drawn(spec, final)
        except SpecError as error:
            problems += error.problems
            continue
        except SpaceError as error:
            problems.append(Problem(str(path), str(error)))
            continue
        space = search.space
        whole = replace(search, space=space.unlimited)
        try:
            distinct, note = _distinct(spec, whole, list_all=list_all)
        except SpaceError as error:
            distinct, note = None, ""
            problems.append(Problem(str(path), f"distinct architectures {error}"))
        notes.append(note)
        reports.append(
            {
                "file": str(path),
                "name": spec.name,
                "kind": spec.space_kind.name,
                "size": space.size,
                "distinct": distinct,
                "decisions": len(space),
                "roles": dict(Counter(decision.role for decision in space.decisions)),
                "profile": spec.profile,
                "limits": to_plain(dict(spec.columns)) or None
                if isinstance(spec, TableSpec)
                else to_plain(spec.limits),
                "times": spec.times,
                "drawn": drawn.first,
                "within": drawn.within,
                **_costs(spec, search, final, operations, drawn),
            }
        )
    if as_json:
        print_json([_as_json(report) for report in reports])
    else:
        for report, note in zip(reports, notes, strict=True):
            typer.echo(_text(report, note))
    if problems:
        raise SpecError(problems)


def _distinct(spec: SpaceSpec, supergraph: Supergraph, *, list_all: bool) -> tuple[int | None, str]:
    """The number of distinct architectures, and what to do where it is not computed.

    By the kind's formula, or else by listing them: unasked where that takes about a second.

    Raises:
        SpaceError: `list_all` asks for a list that is too long.
    """
    number = spec.space_kind.distinct(spec.space, supergraph.space)
    if number is not None:
        return number, ""
    listing = Listing(supergraph)
    if list_all or listing.steps <= QUICK_STEPS:
        return listing.count_distinct(), ""
    return None, " (--distinct counts them)" if listing.largest <= MOST_LISTED else ""


@dataclass(frozen=True)
class _Drawn:
    """The architectures that are counted.

    Attributes:
        chosen: all within the limits, where there are no more than `COUNTED` architectures in all; otherwise the first
            `COUNTED` within the limits, of `TRIES` draws at most.
        exhaustive: whether the space was listed, not drawn from.
        first: the first `COUNTED` draws, or all architectures, limits aside.
        within: how many of these keep the limits.
    """

    chosen: Sequence[Architecture]
    exhaustive: bool
    first: int
    within: int


def _drawn(spec: SpaceSpec, final: Supergraph) -> _Drawn:
    """Draw what is counted.

    Raises:
        SpecError: nothing is within the limits; shown at their line.
    """
    space, all_ = final.space, final.space.unlimited
    exhaustive = space.size <= COUNTED
    rng = stream(_SEED, "check")
    tries = all_.everything() if exhaustive else (all_.sample(rng) for _ in range(TRIES))
    chosen: list[Architecture] = []
    refusals = Refusals()
    first = within = 0
    for number, architecture in enumerate(tries, 1):
        violations = space.violations(architecture)
        if violations:
            refusals.add(violations)
        else:
            chosen.append(architecture)
        if number <= COUNTED:
            first, within = number, len(chosen)
        if len(chosen) == COUNTED:
            break
    if not chosen:
        raise at_limits(spec, str(refusals.error("architectures" if exhaustive else "architectures drawn uniformly")))
    return _Drawn(chosen, exhaustive, first, within)


def _costs(
    spec: SpaceSpec, search: Supergraph, final: Supergraph, operations: Mapping[str, Operation], drawn: _Drawn
) -> dict[str, Any]:
    """What networks of the space cost, the task's own layers apart; nulls where only the data says the shapes."""
    shapes = input_shapes(spec, final, spec.train.hidden)
    search_shapes = input_shapes(spec, search, spec.executor.hidden)
    if shapes is None or search_shapes is None:
        return dict.fromkeys(_COSTS)
    meter = Meter(final, operations, shapes)
    chosen = drawn.chosen if drawn.exhaustive else drawn.chosen[: _affordable(final, drawn.chosen[0])]
    counts = [meter.count(architecture) for architecture in chosen]
    shares = spec.executor_kind.source == "shared"
    said = spec.space_kind.shapes is not None or final.width is not None
    return {
        "sequential": any(node.role == "scan" for node in final.main.nodes.values()),
        "counted": len(counts),
        "exhaustive": drawn.exhaustive,
        "seed": None if drawn.exhaustive else _SEED,
        "hidden": None if said else spec.train.hidden,
        "parameters": _spread([count.parameters for count in counts]),
        "flops": _spread([count.flops for count in counts]),
        "bank_hidden": None if said or not shares else spec.executor.hidden,
        "bank_bytes": _BYTES * Meter(search, operations, search_shapes).bank() if shares else None,
    }


def _affordable(final: Supergraph, architecture: Architecture) -> int:
    """How many architectures are counted: fewer than `COUNTED` where one has thousands of values."""
    plans = plan_architecture(final, architecture).templates.values()
    values = sum(1 + len(step.inputs) for plan in plans for step in plan.steps)
    return max(COUNTED_LEAST, min(COUNTED, READ // values))


def _spread(values: Sequence[int]) -> dict[str, int]:
    return {"min": min(values), "median": statistics.median_low(values), "max": max(values)}


def _text(report: Mapping[str, Any], note: str) -> str:
    distinct = report["distinct"]
    distinct_text = f"distinct: not computed{note}" if distinct is None else f"{_large(distinct)} of them distinct"
    roles = ", ".join(f"{count} {role}" for role, count in report["roles"].items())
    size = f"{_large(report['size'])} architecture{'' if report['size'] == 1 else 's'}"
    if 1 < report["size"] < _EXACT:
        size += f" (10^{math.log10(report['size']):.1f})"
    decisions = counted(report["decisions"], "decision") + (f" ({roles})" if roles else "")
    lines = [f"{report['file']}: ok. {report['name']} is a {report['kind']} of {size}, {distinct_text}, {decisions}"]
    limited = report["limits"] is not None
    if limited:
        all_ = report["drawn"] == report["size"]
        of = f"all {report['drawn']:,}" if all_ else f"{report['drawn']:,} drawn uniformly (seed {_SEED})"
        lines.append(f"  limits: {report['within']:,} of {of} are within them")
        if report["within"] == 0:
            lines.append(
                "    so few that `sample` and `run`, which draw 10,000 times at most, may find none: widen them"
            )
        if report["limits"].get("latency_ms") is not None:
            lines.append("    limits.latency_ms is not counted: it is measured when a run begins")
    if report["parameters"] is None:
        return "\n".join(
            [
                *lines,
                "  parameters, FLOPs, shared bank: not counted, since neither the space nor a task says the shapes",
            ]
        )
    one = report["counted"] == 1
    seen = f"{report['counted']:,} architecture{'' if one else 's'}{' within the limits' if limited else ''}"
    if report["exhaustive"]:
        seen = f"{'the' if one else 'all'} {seen}"
    else:
        seen = f"{seen} drawn uniformly (seed {report['seed']})"
    columns = ["min", "median", "max"]
    rows = [["", *columns]]
    for title in ("parameters", "FLOPs"):
        rows.append([title, *(f"{report[title.lower()][which]:,}" for which in columns)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    of = f" of {report['hidden']} features" if report["hidden"] else ""
    lines.append(f"  final network{of} without the task's own layers, {seen}:")
    lines += ["    " + "  ".join(map(str.rjust, row, widths)) for row in rows]
    step = " and one time step" if report["sequential"] else ""
    lines.append(f"    FLOPs are those of one example{step}; a multiply-add counts two")
    if report["bank_bytes"] is not None:
        of = f"{report['bank_hidden']} features in " if report["bank_hidden"] else ""
        lines.append(f"  shared bank of the search, {of}float32: {memory(report['bank_bytes'])}")
    return "\n".join(lines)


def _large(number: int) -> str:
    """All digits, as long as anybody would read them."""
    return f"{number:,}" if number < _EXACT else f"about 10^{math.log10(number):.1f}"


def memory(size: int) -> str:
    """Bytes in the unit that leaves few digits: MiB, GiB or TiB."""
    power = next((power for power in _UNITS if round(size / 2**power, 1) < 1024), 40)
    return f"{size / 2**power:,.1f} {_UNITS[power]}"


def _as_json(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report with numbers that belong together of one type: all text where one must be."""
    sizes = alike({key: report[key] for key in ("size", "distinct")})
    spreads = {key: alike(report[key]) for key in ("parameters", "flops") if report[key] is not None}
    return {**report, **sizes, **spreads}
