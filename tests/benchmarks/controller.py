"""What the controller costs per architecture: sampling, and one update, for groups of 20 and one at a time."""

from __future__ import annotations

from typing import Any

from nasforge.controllers.lstm import LstmController
from nasforge.controllers.options import LstmOptions
from tests.benchmarks.harness import Design, Row, Size, compare
from tests.random_specs import supergraph_of

GROUP = 20
"""Architectures of an update."""

_CONV = ["identity", {"sep_conv": {"kernel": 3}}, {"sep_conv": {"kernel": 5}}, {"avg_pool": {"kernel": 3}}]
SPACES: dict[str, dict[str, Any]] = {
    "recurrent cell, 12 nodes": {
        "kind": "recurrent_cell",
        "nodes": 12,
        "each": {"op": {"choose": 1, "from": ["tanh", "relu", "sigmoid", "identity"]}},
    },
    "micro cells, 2 x 5 nodes": {
        "kind": "conv_cell",
        "nodes": 5,
        "each": {"branches": 2, "op": {"choose": 1, "from": [*_CONV, {"max_pool": {"kernel": 3}}]}},
        "stack": {"normal": 2, "reductions": 2, "channels": 8},
    },
    "macro network, 12 layers": {
        "kind": "macro_network",
        "layers": 12,
        "each": {"op": {"choose": 1, "from": [*_CONV, {"max_pool": {"kernel": 3}}]}},
    },
}


def run(size: Size) -> list[Row]:
    """Per architecture: sample and update at once, each alone, and with groups of two (the smallest)."""
    rounds = {"full": 30, "quick": 8, "tiny": 1}[size]
    rows: list[Row] = []
    for name, block in SPACES.items():
        space = supergraph_of(block).space
        controller = LstmController(space, LstmOptions(), seed=0)
        group = controller.propose(GROUP)
        rewards = [number / GROUP for number in range(GROUP)]

        def both(controller: LstmController = controller, rewards: list[float] = rewards) -> None:
            controller.update(controller.propose(GROUP), rewards)

        def pairs(controller: LstmController = controller) -> None:
            controller.update(controller.propose(2), [0.0, 1.0])

        rows += compare(
            f"controller, {name}: per architecture, K = {GROUP}",
            {
                "sample and update": Design(both, GROUP, mark=1.0, absolute=True),
                "sample": Design(lambda c=controller: c.propose(GROUP), GROUP),
                "update": Design(lambda c=controller, g=group, r=rewards: c.update(g, r), GROUP),
                "sample and update, K = 2": Design(pairs, 2),
            },
            rounds=rounds,
        )
    return rows
