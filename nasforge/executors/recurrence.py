"""A recurrent cell over a whole sequence as one function with a hand-written backward.

The projection of x runs once for all time steps; the gradient of each weight is one product after the time loop instead
of a sum over it. Gradients of gradients are not computed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from nasforge.executors.loops import Loops, Run
from nasforge.executors.lowering import Cell
from nasforge.executors.precision import uncast
from nasforge.executors.workspace import WorkspacePool


def run_cell(
    cell: Cell, loops: Loops, pool: WorkspacePool, inputs: Tensor, state: Tensor, mask: Tensor | None
) -> Tensor:
    """Run `cell` over time.

    Args:
        cell: what runs.
        loops: how.
        pool: where buffers come from.
        inputs: ``[steps, batch, width]``.
        state: ``[batch, width]``.
        mask: ``[batch, width]`` or None; it gets no gradient.

    Returns:
        ``[steps, batch, width]``.
    """
    weights = [node.weight for node in cell.nodes]
    leaves = (inputs, state, cell.from_x, cell.bias, *weights)
    if torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in leaves):
        found: Tensor = _Recurrence.apply((cell, loops, pool), mask, *leaves)  # type: ignore[no-untyped-call]
        return found
    with torch.no_grad(), pool.lend(state.shape[0], cell.width, len(cell.nodes), inputs) as workspace:
        projected = _projected(inputs, cell.from_x, cell.bias, None)
        run = Run(cell, weights, mask, projected, _history(inputs, state), workspace, keep=False)
        loops.forward(run)
    return run.history[1:]


def _history(inputs: Tensor, state: Tensor) -> Tensor:
    history = inputs.new_empty(len(inputs) + 1, *state.shape)
    history[0] = state
    return history


def _projected(inputs: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor | None) -> Tensor:
    steps, batch, width = inputs.shape
    flat = inputs.reshape(steps * batch, width)
    out = inputs.new_empty(steps, batch, weight.shape[1]) if out is None else out
    target = out.view(steps * batch, -1)
    if bias is None:
        torch.mm(flat, weight, out=target)
    else:
        torch.addmm(bias, flat, weight, out=target)
    return out


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        how: tuple[Cell, Loops, WorkspacePool],
        mask: Tensor | None,
        inputs: Tensor,
        state: Tensor,
        from_x: Tensor,
        bias: Tensor | None,
        *weights: Tensor,
    ) -> Tensor:
        cell, loops, pool = how
        steps = len(inputs)
        workspace = pool.take(steps, state.shape[0], cell.width, len(cell.nodes), inputs)
        projected = _projected(inputs, from_x, bias, workspace.nodes[0].gates[:steps])
        run = Run(cell, (), mask, projected, _history(inputs, state), workspace, keep=True)
        loops.forward(replace(run, weights=weights))
        ctx.how, ctx.run = how, run
        # Saved rather than kept, so that weights that were changed in between are noticed.
        ctx.save_for_backward(inputs, run.history, from_x, *weights)
        return run.history[1:]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # once_differentiable would give a constant, silently, where the gradient of the output needs no gradient.
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a fused recurrent cell does not compute gradients of gradients (create_graph=True); use "
                "executor.backend: interpreter"
            )
        if ctx.run is None:
            raise RuntimeError(
                "a fused recurrent cell goes backward once: its buffers are used again afterwards. Call it again, or "
                "use executor.backend: interpreter"
            )
        with uncast(gradient) as given:
            return _Recurrence._gradients(ctx, given)

    @staticmethod
    def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        cell, loops, pool = ctx.how
        inputs, history, from_x, *weights = ctx.saved_tensors
        run, ctx.run = replace(ctx.run, history=history, weights=weights), None
        carried = loops.backward(run, gradient.contiguous())
        steps, batch, _ = inputs.shape
        rows, space = steps * batch, run.workspace
        _, _, for_inputs, for_state, for_from_x, for_bias, *for_weights = ctx.needs_input_grad
        flat = [buffers.gates[:steps].view(rows, -1) for buffers in space.nodes[: len(cell.nodes)]]
        found = []
        for needed, node, pre in zip(for_weights, cell.nodes, flat, strict=True):
            if node.source < 0:
                read = history[:-1] if run.mask is None else space.history_masked[:steps]
            else:
                buffers = space.nodes[node.source]
                read = (buffers.state if run.mask is None else buffers.masked)[:steps]
            found.append(torch.mm(read.reshape(rows, -1).t(), pre) if needed else None)
        own = (
            torch.mm(flat[0], from_x.t()).view_as(inputs) if for_inputs else None,
            carried if for_state else None,
            torch.mm(inputs.reshape(rows, -1).t(), flat[0]) if for_from_x else None,
            flat[0].sum(0) if for_bias else None,
        )
        pool.give(space)
        return None, None, *own, *found
