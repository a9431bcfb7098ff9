"""Running statistics of batch norms as they fit the weights of the moment: averages over training batches.

What moves along with a training lags behind its weights: after an epoch of few steps it still is where it began.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from nasforge.executors.network import Network
from nasforge.recipe import Recipe
from nasforge.tasks.base import Task

CALIBRATION_STEPS = 20
"""Training batches over which the statistics of batch norms are averaged before a child is ranked."""


def calibrate(network: Network, task: Task, recipe: Recipe, steps: int, *, seed: int) -> int:
    """Set the running statistics of `network` to averages over `steps` training batches; no weight changes.

    Returns:
        How many items a batch has.
    """
    items = 0
    # The first batch takes the place of what is there, but a value that is not finite would stay: 0 * NaN is NaN.
    for value in network.core.statistics.values():
        value.zero_()
    with torch.no_grad(), network.computing():
        for step in range(steps):
            moving = replace(network, train_norms="update", momentum=1 / (step + 1), addition=None)
            items = task.loss(moving, recipe, step, None, seed).count
    return items
