"""``nasforge sample``: draw architectures as JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nasforge.cli.common import Overrides, PluginFiles, Profile, load_plugins
from nasforge.graph.canonical import canonical_digest
from nasforge.run.columns import compile_within
from nasforge.run.compile import require_within_limits
from nasforge.seeds import stream
from nasforge.spec.run_spec import load_space_spec


def sample(
    file: Annotated[Path, typer.Argument(metavar="SPACE.yaml", help="The space.", show_default=False)],
    overrides: Overrides = None,
    count: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw.")] = 0,
    profile: Profile = None,
    plugin: PluginFiles = None,
) -> None:
    """Draw architectures, uniform over all assignments within the limits, one JSON object a line."""
    plugins = load_plugins(plugin)
    spec = load_space_spec(file, plugins, profile=profile, overrides=overrides or ())
    supergraph = compile_within(spec, "search", plugins.catalogue.operations, file.resolve().parent)
    require_within_limits(spec, supergraph)
    rng = stream(seed, "sample")
    for _ in range(count):
        architecture = supergraph.space.sample(rng)
        described = {
            "digest": architecture.digest,
            "canonical_digest": canonical_digest(supergraph, architecture),
            "decisions": dict(architecture),
        }
        typer.echo(json.dumps(described))
