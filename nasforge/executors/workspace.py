"""Workspaces: the buffers of one run of a fused cell over time, kept from step to step.

A forward takes one from the pool, its backward gives it back; a second forward in between gets another. Fresh memory
for every step would cost page faults: a step of the paper's size fills 400 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor

KEPT = 2
"""Free workspaces that a pool keeps: one of training, one of scoring."""

BLOCK_ELEMENTS = 1 << 16
"""Elements ``steps * batch * width`` of what backward prepares at a time: 256 kB of float32 stay in the cache."""


class NodeBuffers:
    """What one node leaves for backward.

    Attributes:
        gates: ``[steps, batch, 2 width]``: pre-activations, then candidate and gate, then their gradients.
        state: ``[steps, batch, width]``.
    """

    def __init__(self, steps: int, batch: int, width: int, like: Tensor) -> None:
        self._width = width
        self.gates = like.new_empty(steps, batch, 2 * width)
        self.state = like.new_empty(steps, batch, width)

    @cached_property
    def masked(self) -> Tensor:
        """The state times the mask ``[steps, batch, width]``."""
        return torch.empty_like(self.state)

    @cached_property
    def inputs(self) -> Tensor:
        """The candidate before its activation ``[steps, batch, width]``, where that is needed."""
        return torch.empty_like(self.state)

    @property
    def candidate(self) -> Tensor:
        """``[steps, batch, width]`` of `gates`."""
        return self.gates[..., : self._width]

    @property
    def gate(self) -> Tensor:
        """``[steps, batch, width]`` of `gates`."""
        return self.gates[..., self._width :]

    @cached_property
    def steps(self) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """For every time step views of gates, candidate, gate and state."""
        parts = (self.gates, self.candidate, self.gate, self.state)
        return list(zip(*(part.unbind(0) for part in parts), strict=True))

    @cached_property
    def pairs(self) -> tuple[Tensor, ...]:
        """For every time step a view of the gates ``[batch, 2, width]``."""
        return self.gates.view(*self.gates.shape[:2], 2, self._width).unbind(0)

    @cached_property
    def masked_steps(self) -> tuple[Tensor, ...]:
        """For every time step a view of `masked`."""
        return self.masked.unbind(0)


class Workspace:
    """Buffers for `steps` time steps of `batch` sequences.

    Attributes:
        capacity: the most time steps.
        nodes: buffers by node.
        norms: ``[steps, batch, 1]`` of the output before it is scaled.
    """

    def __init__(self, steps: int, batch: int, width: int, like: Tensor) -> None:
        self.capacity, self._batch, self._width = steps, batch, width
        self._like = like.detach().new_empty(0)
        self.nodes: list[NodeBuffers] = []
        self.norms = like.new_empty(steps, batch, 1)
        self.block = max(1, BLOCK_ELEMENTS // (batch * width))

    def fits(self, steps: int, batch: int, width: int, like: Tensor) -> bool:
        """Whether it can hold a run of that size on tensors like `like`."""
        here = (self._batch, self._width, self._like.dtype, self._like.device)
        return steps <= self.capacity and here == (batch, width, like.dtype, like.device)

    def reserve(self, n_nodes: int) -> None:
        """Make buffers for `n_nodes` nodes."""
        while len(self.nodes) < n_nodes:
            self.nodes.append(NodeBuffers(self.capacity, self._batch, self._width, self._like))

    @cached_property
    def history_masked(self) -> Tensor:
        """The state that each time step starts from, times the mask ``[steps, batch, width]``."""
        return self._like.new_empty(self.capacity, self._batch, self._width)

    @cached_property
    def gradients(self) -> list[Tensor]:
        """Of the state of each node ``[batch, width]``; then three for whoever needs them."""
        return []

    def gradient(self, number: int) -> Tensor:
        """A buffer ``[batch, width]`` by its number."""
        while len(self.gradients) <= number:
            self.gradients.append(self._like.new_empty(self._batch, self._width))
        return self.gradients[number]

    @cached_property
    def closed(self) -> list[Tensor]:
        """By node ``[block, batch, width]`` for one minus the gate."""
        return []

    def closed_of(self, number: int) -> Tensor:
        """A buffer ``[block, batch, width]`` by the number of its node."""
        while len(self.closed) <= number:
            self.closed.append(self._like.new_empty(self.block, self._batch, self._width))
        return self.closed[number]


class WorkspacePool:
    """Free workspaces; the last `KEPT` that were given back."""

    def __init__(self) -> None:
        self._free: list[Workspace] = []

    def take(self, steps: int, batch: int, width: int, n_nodes: int, like: Tensor) -> Workspace:
        """A workspace that nobody else has, with room for `steps` time steps or more."""
        for position in reversed(range(len(self._free))):
            if self._free[position].fits(steps, batch, width, like):
                workspace = self._free.pop(position)
                break
        else:
            workspace = Workspace(steps, batch, width, like)
        workspace.reserve(n_nodes)
        return workspace

    def give(self, workspace: Workspace) -> None:
        """Nobody reads `workspace` any more."""
        self._free.append(workspace)
        del self._free[:-KEPT]

    @contextmanager
    def lend(self, batch: int, width: int, n_nodes: int, like: Tensor) -> Iterator[Workspace]:
        """A workspace for a run of which nothing is kept."""
        workspace = self.take(1, batch, width, n_nodes, like)
        try:
            yield workspace
        finally:
            self.give(workspace)
