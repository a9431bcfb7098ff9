"""Clipping and update over active parameters, against the matrix products of the step that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from nasforge.executors.network import Core, Network
from nasforge.executors.team import ALONE
from nasforge.executors.training import Trainer
from nasforge.recipe import Recipe
from nasforge.tasks.base import StepLoss
from tests.benchmarks.harness import Design, Row, Size, compare

STEPS_OF_TIME = 35
"""Words of a window; one of them is timed and counted so often."""


class _Weights(nn.Module):
    def __init__(self, shapes: list[tuple[int, int]]) -> None:
        super().__init__()
        self.weights = nn.ParameterList([torch.randn(shape) * 0.01 for shape in shapes])


class _Given:
    """A task whose gradients are there without being computed."""

    team = ALONE

    def __init__(self, gradients: list[Tensor]) -> None:
        self._gradients = gradients
        self._scalar = torch.zeros((), requires_grad=True)

    def steps_per_epoch(self, recipe: Any) -> int:
        return 1000

    def loss(self, network: Network, recipe: Any, step: int, state: Any, seed: int) -> StepLoss:
        for parameter, gradient in zip(network.parameters.values(), self._gradients, strict=True):
            parameter.grad = gradient
        return StepLoss(self._scalar * 1.0, torch.zeros(()), 1, None)


class _NoCore(Core):
    width = 1
    parameters: Mapping[str, nn.Parameter] = MappingProxyType({})


def _products(hidden: int, nodes: int, vocabulary: int, batch: int) -> Callable[[], None]:
    """The matrix products of one word, forwards and backwards: nothing but what a step cannot do without."""
    x, wide = torch.randn(batch, hidden), torch.randn(batch, 2 * hidden)
    edge, decoder, logits = (
        torch.randn(hidden, 2 * hidden),
        torch.randn(hidden, vocabulary),
        torch.randn(batch, vocabulary),
    )

    def call() -> None:
        for _ in range(nodes + 1):
            x @ edge
            wide @ edge.T
            x.T @ wide
        x @ decoder
        logits @ decoder.T
        x.T @ logits

    return call


def run(size: Size) -> list[Row]:
    """The recipes of the recurrent cell, and SGD with momentum, at the paper's size."""
    hidden, vocabulary, batch = {"full": (1000, 10_000, 64), "quick": (300, 3000, 64), "tiny": (8, 20, 2)}[size]
    rounds, nodes = {"full": 12, "quick": 6, "tiny": 1}[size], 12
    shapes = [(hidden, 2 * hidden)] * (nodes + 1) + [(vocabulary, hidden)]
    # A call is one word of the window.
    designs = {"matrix products of a step": Design(_products(hidden, nodes, vocabulary, batch), 1 / STEPS_OF_TIME)}
    recipes = {
        "adam, clip": Recipe(optimizer="adam", clip_norm=0.25),
        "sgd, clip": Recipe(optimizer="sgd", learning_rate=0.1, clip_norm=0.25),
        "sgd with momentum, clip": Recipe(optimizer="sgd", momentum=0.9, learning_rate=0.1, clip_norm=0.25),
    }
    for name, recipe in recipes.items():
        shell = _Weights(shapes)
        network = Network(shell, _NoCore())
        gradients = [torch.randn(shape) * 1e-3 for shape in shapes]
        trainer = Trainer(_Given(gradients), recipe, 10_000, seed=0)  # type: ignore[arg-type]
        designs[name] = Design(lambda t=trainer, n=network: t.step([n]), mark=0.05)
    return compare(f"optimiser: 13 edges, width {hidden}, {vocabulary} words", designs, rounds=rounds, warm_up=2)
