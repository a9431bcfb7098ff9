"""Small images of the user's own, spaces of networks for them, and networks drawn from these."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
from random_specs import CATALOGUE

from nasforge.executors.network import Network
from nasforge.executors.shared import standalone
from nasforge.executors.team import ALONE, Team
from nasforge.graph.supergraph import Supergraph
from nasforge.tasks.image_classification import ImageClassification
from nasforge.tasks.image_options import ImageClassificationOptions, ImageRecipe

OPERATIONS = CATALOGUE.operations
BLOCK: dict[str, Any] = {
    "kind": "macro_network",
    "image": [1, 6, 6],
    "layers": 3,
    "each": {"op": {"choose": 1, "from": ["identity", {"conv": {"kernel": 3}}, {"max_pool": {"kernel": 3}}]}},
    "channels": 4,
    "reduce_after": [2],
}
CELLS: dict[str, Any] = {
    "kind": "conv_cell",
    "image": [1, 6, 6],
    "nodes": 2,
    "each": {"op": {"choose": 1, "from": ["identity", {"sep_conv": {"kernel": 3}}, {"avg_pool": {"kernel": 3}}]}},
    "stack": {"normal": 1, "reductions": 1, "channels": 4},
}


def task_of(folder: Path, *, team: Team = ALONE, **options: Any) -> ImageClassification:
    config = ImageClassificationOptions.model_validate(
        {"data": {"npz": "rows.npz"}, "valid_fraction": 0.2, "reward_batch_size": 9, "evaluation_batch_size": 7}
        | options
    )
    return ImageClassification(config, folder, seed=1, team=team)


def recipe(**options: Any) -> ImageRecipe:
    return ImageRecipe.model_validate({"batch_size": 8, "dropout": 0.0} | options)


def fresh(task: ImageClassification, graph: Supergraph, seed: int = 0) -> Network:
    architecture = graph.space.sample(random.Random(seed))
    return standalone(graph, architecture, OPERATIONS, task, recipe(), width=1, seed=seed)


def bright_rows(where: Path) -> Path:
    """Three classes of noise around a bright row, in an archive."""
    rng = np.random.default_rng(0)

    def images(n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        y = np.arange(n) % 3
        x = rng.integers(0, 80, (n, 6, 6), dtype=np.uint8)
        for i, label in enumerate(y):
            x[i, 2 * label] += 120
        return x, y

    (x_train, y_train), (x_test, y_test) = images(90), images(30)
    np.savez(where / "rows.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return where
