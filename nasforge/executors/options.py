"""What users write under ``executor``, and the executors that nasforge itself registers; torch is not imported."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nasforge.components import ExecutorKind, ExecutorOptions


class SharedWeightsOptions(ExecutorOptions):
    """One bank of weights for all architectures of a space (ENAS: Pham et al. 2018, section 2.1).

    Attributes:
        kind: ``shared_weights``.
        share: which architectures use one parameter set; each kind has its own scopes, and its first is taken where
            the default is none of them. Recurrent cells: ``edge``, those that connect the same two nodes (the paper's
            wording); ``edge_op``, those that also choose the same operation there (the reference codes); ``node``,
            all (DARTS). The narrower the scope, the more rarely a matrix is trained: ``node`` measured best for short
            searches.
        hidden: features of the networks during the search.
        recipe: how the weights are trained. Each task has its own keys and its own defaults for the search, so the
            run spec reads this block with the task's recipe model; here it stays null.
    """

    kind: Literal["shared_weights"] = "shared_weights"
    share: str = "node"
    hidden: int = Field(default=96, gt=0)


EXECUTORS: tuple[ExecutorKind, ...] = (
    ExecutorKind(
        name="shared_weights",
        summary="children take their weights from one shared bank",
        build="nasforge.executors.shared:SharedWeights",
        config=SharedWeightsOptions,
    ),
)
