"""The fused core of a recurrent network: in place of the interpreter wherever the plan has such a form."""

from __future__ import annotations

import logging
from typing import Any

from torch import Tensor

from nasforge.executors.loops import Loops
from nasforge.executors.lowering import Cell, NoForm, lower
from nasforge.executors.network import Core, GraphCore, SequenceCore
from nasforge.executors.precision import uncast
from nasforge.executors.recurrence import run_cell
from nasforge.executors.workspace import WorkspacePool

_log = logging.getLogger(__name__)


class RecurrentBackend:
    """How the recurrent cells of one executor run; it owns their buffers.

    Args:
        loops: the time loop.
    """

    def __init__(self, loops: Loops) -> None:
        self.loops = loops
        self.pool = WorkspacePool()
        self._said: set[str] = set()

    def say_once(self, text: str) -> None:
        """One line in the log, the first time."""
        if text not in self._said:
            self._said.add(text)
            _log.warning("%s", text)


class FusedCore(SequenceCore):
    """A core that runs a `Cell`; its state is its last output ``[batch, width]``."""

    def __init__(self, core: GraphCore, cell: Cell, backend: RecurrentBackend) -> None:
        self._core, self._cell, self._backend = core, cell, backend
        self.width = core.width
        self.parameters = core.parameters

    def start(self, batch: int, like: Tensor) -> Tensor:
        """Zeros."""
        return self._core.start(batch, like)

    def __call__(self, inputs: Tensor, state: Any, mask: Tensor | None) -> tuple[Tensor, Any]:
        """See `SequenceCore`."""
        if mask is not None and mask.requires_grad:
            return self._core(inputs, state, mask)
        with uncast(inputs) as sequence:
            outputs = run_cell(self._cell, self._backend.loops, self._backend.pool, sequence, state, mask)
        return outputs, outputs[-1]


def recurrent_core(core: Core, backend: RecurrentBackend | None) -> Core:
    """`core`, fused where it interprets a recurrent plan of that form; `core` itself where it does not.

    Args:
        core: what a task made of a program.
        backend: how fused cells run; None for the interpreter.
    """
    if backend is None or not isinstance(core, GraphCore):
        return core
    try:
        cell = lower(core.program)
    except NoForm as reason:
        backend.say_once(f"cells run step by step, which is slower: {reason}")
        return core
    lacking = backend.loops.lacks(cell)
    if lacking:
        backend.say_once(f"cells run in the Python loop, which is slower: {lacking}")
    return FusedCore(core, cell, backend)
