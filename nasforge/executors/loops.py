"""The time loop of a fused cell and its backward: the interface, and the loop in Python, which is the oracle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nasforge.executors.lowering import Cell
from nasforge.executors.workspace import Workspace


@dataclass(frozen=True)
class Run:
    """What a loop works on.

    Attributes:
        cell: the description.
        weights: ``[width, 2 width]`` by node.
        mask: ``[batch, width]`` or None.
        projected: what the first node gets from the input ``[steps, batch, 2 width]``. Where it is kept, these are the
            gates of the first node.
        history: ``[steps + 1, batch, width]``: the initial state, then the outputs.
        workspace: buffers.
        keep: whether everything is kept for backward, time step by time step; else in the slots of the first one.
    """

    cell: Cell
    weights: Sequence[Tensor]
    mask: Tensor | None
    projected: Tensor
    history: Tensor
    workspace: Workspace
    keep: bool


class Loops(ABC):
    """A backend of fused cells; subclasses are final. No call records gradients."""

    def lacks(self, cell: Cell) -> str:
        """Why cells like this one run in another backend's loop; empty where they do not."""
        return ""

    @abstractmethod
    def forward(self, run: Run) -> None:
        """Fill ``history[1:]`` and, where `Run.keep`, what backward reads."""

    @abstractmethod
    def backward(self, run: Run, gradient: Tensor) -> Tensor:
        """The gradient of the initial state ``[batch, width]``, from that of the outputs ``[steps, batch, width]``.

        Puts the gradients of the pre-activations in place of the gates of every node.
        """


class PythonLoops(Loops):
    """In torch calls on preallocated buffers; for every device and every activation that has a derivative."""

    def forward(self, run: Run) -> None:
        """See `Loops`."""
        cell, mask, space = run.cell, run.mask, run.workspace
        buffers = space.nodes
        sources = {node.source for node in cell.nodes}
        states, projected = run.history.unbind(0), run.projected.unbind(0)
        first, *later = cell.leaves
        for t in range(len(projected)):
            slot = t if run.keep else 0
            for i, node in enumerate(cell.nodes):
                pre, candidate, gate, state = buffers[i].steps[slot]
                if i == 0:
                    source = before = states[t]
                    if mask is not None:
                        before = torch.mul(source, mask, out=space.history_masked[slot])
                    torch.addmm(projected[t], before, run.weights[0], out=pre)
                else:
                    source = buffers[node.source].steps[slot][3]
                    before = source if mask is None else buffers[node.source].masked_steps[slot]
                    torch.mm(before, run.weights[i], out=pre)
                if node.kernel.keeps_input:
                    buffers[i].inputs[slot].copy_(candidate)
                node.kernel.forward(candidate)
                gate.sigmoid_()
                torch.lerp(source, candidate, gate, out=state)
                if mask is not None and i in sources:
                    torch.mul(state, mask, out=buffers[i].masked_steps[slot])
            output = states[t + 1].copy_(buffers[first].steps[slot][3])
            for leaf in later:
                output.add_(buffers[leaf].steps[slot][3])
            if later:
                output.div_(len(cell.leaves))
            if cell.limit is not None:
                norm = torch.linalg.vector_norm(output, dim=-1, keepdim=True, out=space.norms[slot])
                output.mul_(cell.limit / norm.clamp_min(cell.limit))

    def backward(self, run: Run, gradient: Tensor) -> Tensor:
        """See `Loops`."""
        space, cell = run.workspace, run.cell
        n_steps, n_nodes = len(gradient), len(cell.nodes)
        transposed = [weight.t() for weight in run.weights]
        clip = _Clip(run, n_steps) if cell.limit is not None else None
        carry, total, through = (space.gradient(n_nodes + k) for k in range(3))
        outputs, gradients = run.history.unbind(0), gradient.unbind(0)
        sources = {node.source for node in cell.nodes}
        carry.zero_()
        for end in range(n_steps, 0, -space.block):
            begin = max(0, end - space.block)
            closed = [self._prepared(run, i, begin, end) for i in range(n_nodes)]
            for t in reversed(range(begin, end)):
                torch.add(gradients[t], carry, out=total)
                if clip is not None:
                    clip(total, outputs[t + 1], t)
                if len(cell.leaves) > 1:
                    total.div_(len(cell.leaves))
                given = {-1: carry} | {i: space.gradient(i) for i in range(n_nodes)}
                empty = {i for i in given if i not in cell.leaves}
                for leaf in cell.leaves:
                    # What nobody adds to is only read.
                    given[leaf] = given[leaf].copy_(total) if leaf in sources else total
                for i in reversed(range(n_nodes)):
                    source = cell.nodes[i].source
                    own, target = given[i], given[source]
                    if i in empty:
                        own.zero_()
                    space.nodes[i].pairs[t].mul_(own.unsqueeze(1))
                    if source in empty:
                        empty.remove(source)
                        torch.mul(own, closed[i][t - begin], out=target)
                    else:
                        target.addcmul_(own, closed[i][t - begin])
                    pre = space.nodes[i].steps[t][0]
                    if run.mask is None:
                        target.addmm_(pre, transposed[i])
                    else:
                        target.addcmul_(torch.mm(pre, transposed[i], out=through), run.mask)
        return carry.clone()

    @staticmethod
    def _prepared(run: Run, i: int, begin: int, end: int) -> tuple[Tensor, ...]:
        """Put the derivatives of state i by its pre-activations in place of its gates.

        With s = lerp(p, f, c): ds/du = c f'(u), ds/dt = (f - p) c (1 - c), ds/dp = 1 - c.

        Returns:
            1 - c for every time step from `begin` to `end`.
        """
        node, buffers = run.cell.nodes[i], run.workspace.nodes[i]
        source = run.history if node.source < 0 else run.workspace.nodes[node.source].state
        candidate, gate = buffers.candidate[begin:end], buffers.gate[begin:end]
        closed = run.workspace.closed_of(i)[: end - begin]
        difference = torch.sub(candidate, source[begin:end], out=closed)
        inputs = buffers.inputs[begin:end] if node.kernel.keeps_input else None
        node.kernel.backward(gate, candidate, inputs)
        difference.mul_(gate)
        kept = 1 - gate
        torch.mul(difference, kept, out=gate)
        return closed.copy_(kept).unbind(0)


class _Clip:
    """The derivative of scaling rows down to a norm L: with y = x s, s = L / |x|: dx = s (dy - y (y . dy) / L^2)."""

    def __init__(self, run: Run, n_steps: int) -> None:
        limit = run.cell.limit
        assert limit is not None
        norms = run.workspace.norms[:n_steps]
        self._scales = limit / norms.clamp_min(limit)
        self._factors = torch.where(norms >= limit, self._scales / limit**2, 0.0)

    def __call__(self, gradient: Tensor, output: Tensor, t: int) -> None:
        along = (gradient * output).sum(-1, keepdim=True).mul_(self._factors[t])
        gradient.mul_(self._scales[t]).addcmul_(output, along, value=-1)
