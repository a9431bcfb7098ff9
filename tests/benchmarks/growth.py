"""How the step grows: with the child, not with the space that it was drawn from."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import torch

from nasforge.controllers.lstm import LstmController
from nasforge.executors.bank import WeightBank
from nasforge.executors.interpreter import Program
from nasforge.graph.plan import plan_architecture
from nasforge.graph.supergraph import Supergraph
from tests.benchmarks.harness import Design, Row, Size, compare
from tests.random_specs import CATALOGUE, supergraph_of


def _operations(count: int) -> list[Any]:
    """That many operations, of which the first four are the same for every number."""
    first: list[Any] = ["identity", {"conv": {"kernel": 3}}, {"avg_pool": {"kernel": 3}}, {"sep_conv": {"kernel": 3}}]
    return [*first, *({"se": {"ratio": ratio}} for ratio in range(1, count - 3))][:count]


def _macro(layers: int, operations: int, channels: int, side: int) -> Supergraph:
    each = {"op": {"choose": 1, "from": _operations(operations)}}
    block = {"kind": "macro_network", "layers": layers, "each": each, "image": [3, side, side], "channels": channels}
    return supergraph_of(block)


def _step(
    supergraph: Supergraph, choices: Mapping[str, str], bank: WeightBank, image: torch.Tensor
) -> Callable[[], None]:
    """A step: the child is bound, runs, and gives its gradients."""
    shape = tuple(image.shape[1:])

    def call() -> None:
        program = Program(plan_architecture(supergraph, choices), CATALOGUE.operations, bank, {"image": shape})
        program({"image": image}).square().mean().backward()
        for parameter in program.parameters.values():
            parameter.grad = None

    return call


def _image_designs(axis: str, values: list[int], side: int, batch: int) -> dict[str, Design]:
    """One child on the banks of growing spaces (operations), or growing children (nodes, batch, channels)."""
    designs: dict[str, Design] = {}
    for value in values:
        layers = value if axis == "layers" else 6
        n_batch = value if axis == "batch" else batch
        channels = value if axis == "channels" else 8
        supergraph = _macro(layers, value if axis == "operations" else 4, channels, side)
        bank = WeightBank(0)
        # The whole bank is allocated before the child runs: its weights are there, and must cost nothing.
        rng = random.Random(1)
        for _ in range(8 if axis == "operations" else 1):
            other = supergraph.space.sample(rng)
            Program(plan_architecture(supergraph, other), CATALOGUE.operations, bank, {"image": (3, side, side)})
        chosen = {
            d.name: d.options[index % min(4, len(d.options))] if d.role == "op" else d.options[0]
            for index, d in enumerate(supergraph.space.decisions)
        }
        image = torch.randn(n_batch, 3, side, side).to(memory_format=torch.channels_last)
        mark = 1.1 if axis == "operations" and value > values[0] else None
        designs[f"{value} {axis}"] = Design(_step(supergraph, chosen, bank, image), mark=mark)
    return designs


def _controllers(layers: list[int], side: int) -> dict[str, Design]:
    """Sampling and update, per decision."""
    designs: dict[str, Design] = {}
    for count in layers:
        space = _macro(count, 4, 4, side).space
        controller = LstmController(space, None, seed=0)

        def call(controller: LstmController = controller) -> None:
            controller.update(controller.propose(4), [0.0, 1.0, 2.0, 3.0])

        designs[f"{len(space):,} decisions, per decision"] = Design(call, len(space))
    return designs


def run(size: Size) -> list[Row]:
    """Each axis alone; a ratio is against the smallest value of its axis."""
    side, batch, rounds = {"full": (16, 32, 12), "quick": (8, 16, 4), "tiny": (4, 2, 1)}[size]
    axes = {
        "operations": [4, 16, 64] if size != "tiny" else [4, 8],
        "layers": {"full": [4, 12, 24, 48], "quick": [4, 12, 24], "tiny": [2, 3]}[size],
        "batch": [batch, 2 * batch, 4 * batch],
        "channels": [8, 16, 32] if size != "tiny" else [4, 8],
    }
    rows: list[Row] = []
    for axis, values in axes.items():
        rows += compare(f"growth: {axis}", _image_designs(axis, values, side, batch), rounds=rounds)
    decisions = {"full": [10, 44, 140], "quick": [10, 44], "tiny": [3, 4]}[size]
    return rows + compare("growth: decisions of the controller", _controllers(decisions, 4), rounds=1 + rounds // 6)
