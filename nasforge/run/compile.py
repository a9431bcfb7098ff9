"""From a validated spec to the supergraph of a stage."""

from __future__ import annotations

from typing import Literal

from nasforge.graph.builder import GraphBuilder
from nasforge.graph.supergraph import Supergraph
from nasforge.spec.run_spec import RunSpec


def compile_space(spec: RunSpec, stage: Literal["search", "final"]) -> Supergraph:
    """The supergraph of the spec's space."""
    builder = GraphBuilder(stage)
    spec.space_kind.build(spec.space, builder, stage, spec.executor.share)
    return builder.finish()
