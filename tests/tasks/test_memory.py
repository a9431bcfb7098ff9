"""A step on shared weights takes as much memory, beside the bank, as a step of its child alone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from peak_memory import peak_bytes
from random_specs import supergraph_of
from small_images import BLOCK, CELLS, OPERATIONS, recipe, task_of

from nasforge.executors.network import Network
from nasforge.executors.options import SharedWeightsOptions
from nasforge.executors.shared import SharedWeights, standalone
from nasforge.executors.training import Trainer
from nasforge.tasks.image_classification import ImageClassification


def peak_of_a_step(task: ImageClassification, network: Network) -> int:
    """Bytes at the peak of a step; the optimiser's state is there before it."""
    trainer = Trainer(task, recipe(), 2, seed=0)
    trainer.step([network])
    return peak_bytes(lambda: trainer.step([network]))


@pytest.mark.parametrize("block", [BLOCK, CELLS], ids=lambda block: block["kind"])
def test_a_step_takes_the_memory_of_one_child(folder: Path, block: dict[str, Any]) -> None:
    task, graph = task_of(folder), supergraph_of(block)
    executor = SharedWeights(graph, OPERATIONS, task, recipe(), SharedWeightsOptions(hidden=1), seed=5)
    architecture = graph.space.sample(random.Random(0))
    child = executor.network(architecture)
    for seed in range(50):
        executor.network(graph.space.sample(random.Random(seed)))
    assert sum(p.numel() for p in executor._bank.named_parameters().values()) > child.count()
    alone = standalone(graph, architecture, OPERATIONS, task, recipe(), width=1, seed=5)
    own = peak_of_a_step(task, alone)
    assert own > 0 and abs(peak_of_a_step(task, child) - own) <= 0.01 * own
