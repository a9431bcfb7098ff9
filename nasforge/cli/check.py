"""``nasforge check``: validate spaces and say how large they are."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from nasforge.cli.common import AsJson, PluginFiles, Profile, load_plugins, print_json
from nasforge.errors import SpecError
from nasforge.run.compile import compile_space
from nasforge.spec.run_spec import load_run_spec


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
    if faults:
        raise SpecError([problem for fault in faults for problem in fault.problems])
