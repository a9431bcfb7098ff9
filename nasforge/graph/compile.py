"""From a validated ``space`` block to the supergraph of a stage."""

from __future__ import annotations

from nasforge.components import Options, SpaceKind, Stage
from nasforge.graph.builder import GraphBuilder
from nasforge.graph.supergraph import Supergraph


def compile_kind(kind: SpaceKind, config: Options, stage: Stage | None = None) -> Supergraph:
    """The supergraph of `config`, a block of that kind.

    Args:
        kind: the component that reads the block.
        config: the validated block.
        stage: which network; None for the search with the kind's default sharing: decisions and children do not depend
            on what is shared.

    Raises:
        SpaceError: the kind breaks a rule of the mechanism, or the block asks for what cannot be.
    """
    stage = stage or Stage("search", kind.share[0])
    builder = GraphBuilder(stage.name)
    kind.build(config, builder, stage)
    return builder.finish()
