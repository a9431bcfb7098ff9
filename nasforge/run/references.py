"""The networks that a run trains beside the one that it found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nasforge.components import Options, Stage
from nasforge.executors.network import Core, Network
from nasforge.graph.compile import compile_kind
from nasforge.graph.supergraph import Supergraph
from nasforge.run.plan import LARGEST
from nasforge.seeds import derive, stream

if TYPE_CHECKING:
    from nasforge.run.jobs import Workshop

SIZE_SAMPLES = 15
"""Architectures whose median size the LSTM reference is given."""


def reference_network(shop: Workshop, name: str) -> Network:
    """A fresh network of that name: fixed members of the space's family, the largest candidate, or one of the task."""
    spec = shop.spec
    configs = spec.space_kind.references(spec.space, spec.stack)
    if name in configs:
        graph = _graph(shop, configs[name])
        return shop.fresh(graph.space.sample(stream(0, "the only one")), graph)
    if name == LARGEST:
        found = shop.directory.read_job_result("search")["largest"]
        return shop.fresh(shop.final_graph.space.architecture(found["decisions"]))
    rng = stream(spec.seed, "reference size")
    sizes = sorted(shop.fresh(shop.final_graph.space.sample(rng)).count() for _ in range(SIZE_SAMPLES))
    cores: Mapping[str, Core] = shop.task.reference_cores(
        spec.train.hidden, sizes[len(sizes) // 2], derive(spec.seed, "final weights")
    )
    core = cores[name]
    shell = shop.task.shell(core.width, spec.final_recipe, derive(spec.seed, "final weights"))
    return Network(shell, core, precision=spec.executor.precision)


def _graph(shop: Workshop, config: Options) -> Supergraph:
    """The final graph of a reference's block, which may be of another kind."""
    spec = shop.spec
    if isinstance(config, spec.space_kind.config):
        return compile_kind(spec.space_kind, config, Stage("final", spec.executor.share))
    (kind,) = (kind for kind in shop.plugins.catalogue.kinds.values() if type(config) is kind.config)
    return compile_kind(kind, config, Stage("final", kind.share[0]))
