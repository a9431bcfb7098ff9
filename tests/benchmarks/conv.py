"""A step of networks of images: a child of the supernet against the same network written by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasforge.executors.bank import WeightBank
from nasforge.executors.interpreter import Program
from nasforge.executors.network import ImageCore, Network
from nasforge.executors.team import ALONE
from nasforge.executors.training import Trainer
from nasforge.graph.plan import plan_architecture
from nasforge.graph.supergraph import Supergraph
from nasforge.recipe import Recipe
from nasforge.tasks.base import StepLoss
from tests.benchmarks.hard_coded import Classifier, Macro, Micro, read_by
from tests.benchmarks.harness import Design, Row, Size, compare
from tests.random_specs import CATALOGUE, supergraph_of

_OPS: list[Any] = [{"sep_conv": {"kernel": 3}}, {"sep_conv": {"kernel": 5}}]
_POOLS: list[Any] = [{"avg_pool": {"kernel": 3}}, {"max_pool": {"kernel": 3}}]
_CONVS: list[Any] = [{"conv": {"kernel": 3}}, {"conv": {"kernel": 5}}]
SEP3, SEP5, AVERAGE, MAXIMUM, IDENTITY = 1, 2, 3, 4, 0
CELL = {
    2: (("in0", SEP3), ("in1", SEP5)),
    3: (("in1", AVERAGE), ("node2", SEP3)),
    4: (("in0", IDENTITY), ("node2", SEP5)),
    5: (("node3", MAXIMUM), ("node2", IDENTITY)),
    6: (("in1", IDENTITY), ("in0", AVERAGE)),
}
"""Node to its branches, as `hard_coded` has them: what is read, and the number of the operation."""


def micro(channels: int, side: int) -> tuple[Supergraph, dict[str, str]]:
    """The space of the authors' cells, and the cell of `CELL` as both of them."""
    block = {
        "kind": "conv_cell",
        "image": [3, side, side],
        "nodes": 5,
        "each": {"branches": 2, "op": {"choose": 1, "from": ["identity", *_OPS, *_POOLS]}},
        "stack": {"normal": 2, "reductions": 2, "channels": channels},
    }
    supergraph = supergraph_of(block)
    choices: dict[str, str] = {}
    for cell in ("normal", "reduction"):
        for node, branches in CELL.items():
            for number, (source, op) in enumerate(branches, 1):
                owner = f"{cell}.node{node}"
                choices[f"{owner}.input{number}"] = f"{cell}.{source}"
                choices[f"{owner}.op{number}"] = supergraph.space.decision(f"{owner}.op{number}").options[op]
    return supergraph, choices


def macro(channels: int, side: int) -> tuple[Supergraph, dict[str, str]]:
    """The authors' space of networks, and the network of `hard_coded.Macro`."""
    block = {
        "kind": "macro_network",
        "image": [3, side, side],
        "layers": 12,
        "each": {"op": {"choose": 1, "from": [*_CONVS, *_OPS, *_POOLS]}},
        "channels": channels,
        "reduce_after": list(Macro.REDUCE_AFTER),
    }
    supergraph = supergraph_of(block)
    choices: dict[str, str] = {}
    for decision in supergraph.space.decisions:
        layer = int(decision.owner.removeprefix("layer"))
        if decision.role == "op":
            choices[decision.name] = decision.options[(layer - 1) % 6]
        else:
            earlier = decision.name.split(".")[-1]
            value = 0 if earlier == "stem" else int(earlier.removeprefix("layer"))
            choices[decision.name] = "yes" if value in read_by(layer) else "no"
    return supergraph, choices


class _Fixed:
    """A task of one batch, with logits of the network as an image classifier has them."""

    team = ALONE

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self._images, self._labels = images, labels

    def steps_per_epoch(self, recipe: Any) -> int:
        return 1000

    def loss(self, network: Network, recipe: Any, step: int, state: Any, seed: int) -> StepLoss:
        with network.training():
            pooled = network.core(self._images).mean((2, 3))  # type: ignore[operator]
        total = F.cross_entropy(network.shell(pooled), self._labels)
        return StepLoss(total, total.detach(), len(self._labels), None)


def _supernet(
    supergraph: Supergraph, choices: Mapping[str, str], images: Tensor, labels: Tensor
) -> tuple[Callable[[], object], int]:
    """A step of the child, bound anew as for a fresh architecture; and the number of its weights."""
    bank, shape = WeightBank(0), tuple(images.shape[1:])
    width = 0
    shell: nn.Linear | None = None

    def child() -> Network:
        nonlocal width, shell
        program = Program(plan_architecture(supergraph, choices), CATALOGUE.operations, bank, {"image": shape})
        shell = shell or nn.Linear(program.shape[0], 10)
        return Network(shell, ImageCore(program), train_norms="batch")

    trainer = Trainer(_Fixed(images, labels), Recipe(), 10**6, seed=0)  # type: ignore[arg-type]
    return lambda: trainer.step([child()]), child().count()


def _by_hand(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], object]:
    """The step that one writes: loss, gradient, clipping, a fused update."""
    recipe = Recipe()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=recipe.betas, weight_decay=1e-6, fused=True)

    def call() -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()

    return call


def run(size: Size) -> list[Row]:
    """Micro and macro networks of 3 x 32 x 32 images, channels as published."""
    side, batch, rounds = {"full": (32, 64, 7), "quick": (16, 32, 5), "tiny": (8, 2, 1)}[size]
    rows: list[Row] = []
    cases = (("micro", micro, Micro, 20, 4, 0.58), ("macro", macro, Macro, 36, 1, 0.71))
    for name, space, network, published, growth, against_plain in cases:
        channels = 4 if size == "tiny" else published
        supergraph, choices = space(channels, side)
        images, labels = torch.randn(batch, 3, side, side), torch.randint(10, (batch,))
        last = images.to(memory_format=torch.channels_last)
        step, count = _supernet(supergraph, choices, last, labels)
        plain, reference = (Classifier(network(channels), growth * channels) for _ in range(2))
        own = sum(parameter.numel() for parameter in reference.parameters())
        assert count == own, f"{name}: the child has {count} weights, the network by hand {own}"
        reference = reference.to(memory_format=torch.channels_last)
        designs = {
            "by hand, channels_last": Design(_by_hand(reference, last, labels)),
            "child of the supernet": Design(step, mark=1.05),
        }
        title = f"conv: {name}, {channels} channels, {side} x {side} pixels, batch {batch}"
        rows += compare(title, designs, rounds=rounds)
        against = {"by hand, NCHW": Design(_by_hand(plain, images, labels))}
        against["child of the supernet"] = Design(step, mark=against_plain)
        rows += compare(f"{title}, against NCHW", against, rounds=max(1, rounds // 2))
    return rows
