"""What users write under ``executor``, and the executors that nasforge itself registers; torch is not imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from nasforge.components import ExecutorKind, ExecutorOptions, FromScratchOptions, Operation

if TYPE_CHECKING:
    from nasforge.graph.supergraph import Supergraph


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
        norms: which statistics batch norms take when rewards are measured: those of the ``batch``, or ``running``
            averages over all architectures of the search (the authors' code for macro networks), which fit none of
            them. Candidates are ranked with averages of their own either way.
        backend: see `ExecutorOptions`.
        precision: see `ExecutorOptions`.
        recipe: how the weights are trained. Each task has its own keys and its own defaults for the search, so the
            run spec reads this block with the task's recipe model; here it stays null.
    """

    kind: Literal["shared_weights"] = "shared_weights"
    share: str = "node"
    hidden: int = Field(default=96, gt=0)
    norms: Literal["batch", "running"] = "batch"


class StandaloneOptions(FromScratchOptions):
    """Each child is trained from scratch, on weights of its own (Zoph and Le 2017).

    Attributes:
        kind: ``standalone``.
        epochs: passes over the training data of one training (a child of Zoph and Le: 50); its schedule is planned for
            all of them.
        share: nothing is shared; filled in by nasforge.
        hidden: features of the networks during the search.
        backend: see `ExecutorOptions`.
        precision: see `ExecutorOptions`.
        recipe: how children are trained: the task's keys and its defaults for the search, as for ``shared_weights``.
    """

    kind: Literal["standalone"] = "standalone"
    hidden: int = Field(default=96, gt=0)


def _backend(config: ExecutorOptions, supergraph: Supergraph, operations: Mapping[str, Operation]) -> dict[str, str]:
    if config.backend != "auto" and not supergraph.recurrent:
        return {"backend": f"`backend: {config.backend}` would mean nothing: this space has no recurrent cell"}
    return {}


def _refusal(
    config: SharedWeightsOptions, supergraph: Supergraph, operations: Mapping[str, Operation]
) -> dict[str, str]:
    nodes = [node for template in supergraph.templates.values() for node in template.nodes.values()]
    refused: dict[str, str] = {}
    if config.norms == "running" and not any(n.operation and operations[n.operation.name].normalises for n in nodes):
        refused["norms"] = "`norms: running` would mean nothing: the networks of this space have no batch norms"
    return refused | _backend(config, supergraph, operations)


EXECUTORS: tuple[ExecutorKind, ...] = (
    ExecutorKind(
        name="shared_weights",
        summary="children take their weights from one shared bank",
        build="nasforge.executors.shared:SharedWeights",
        config=SharedWeightsOptions,
        refusal=_refusal,
    ),
    ExecutorKind(
        name="standalone",
        summary="each child is trained from scratch, within a budget of epochs",
        build="nasforge.executors.standalone:Standalone",
        config=StandaloneOptions,
        refusal=_backend,
    ),
)
