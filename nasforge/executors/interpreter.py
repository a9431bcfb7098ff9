"""The interpreter: runs a plan with weights from a bank.

A plan is bound once: names become slots, operations become functions, share keys become parameters. What is left per
call is a loop over instructions. The same interpreter runs a child of the supergraph (hard gates), a mixture (soft
gates) and a derived network (a bank of its own).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nasforge.components import Operation, Shape
from nasforge.errors import SpaceError
from nasforge.executors.bank import WeightBank
from nasforge.executors.bound import Function, bound_operation
from nasforge.executors.norms import BatchNorm
from nasforge.graph.count import merged_shape
from nasforge.graph.plan import Plan, Step, TemplatePlan, call_scope, scan_phases, weight_key
from nasforge.graph.supergraph import Node

Gates = Mapping[str, Tensor]
"""Soft gates: for each template, the weight of each of its wires ``[n_wires]``."""

_GATES_SLOT = 0


@dataclass(frozen=True)
class _Instruction:
    """One call; `weights` are the parameters of an operation, then its batch norms."""

    out: int
    function: Function
    ins: tuple[int, ...]
    weights: tuple[nn.Parameter | BatchNorm, ...]


class Program:
    """A plan bound to functions and parameters.

    Args:
        plan: what runs. For soft gates a plan of a support (`plan_support`), else that of one architecture.
        operations: the catalogue's operations by name.
        bank: where parameters come from; sets that are not there yet are allocated.
        shapes: the shape of each input of the main template, without time and batch.
        soft: whether calls pass gates; merges then weigh their inputs.

    Attributes:
        parameters: the parameters that the plan uses, by name in the bank, and no others.
        statistics: the running statistics of its batch norms, by name in the bank.
        modes: what differs between training and scoring; those of the bank.
        shape: the shape of the output, without time and batch.
        output_shapes: those of the outputs that the plan was asked for, by name.
        plan: what was bound.
        operations: the catalogue's operations, by which it was.
        soft: whether calls pass gates.
    """

    def __init__(
        self,
        plan: Plan,
        operations: Mapping[str, Operation],
        bank: WeightBank,
        shapes: Mapping[str, Shape],
        *,
        soft: bool = False,
    ) -> None:
        main = plan.main
        self.modes = bank.modes
        binder = _Binder(plan, operations, bank, soft, main, shapes)
        self.plan, self.operations, self.soft = plan, operations, soft
        self._slots = binder.slots
        self._code = binder.compile(main.steps)
        self._output = binder.slots[main.output]
        self.parameters: Mapping[str, nn.Parameter] = binder.parameters
        self.statistics: Mapping[str, Tensor] = binder.statistics
        self.shape = binder.shapes[main.output]
        self._outputs = {name: binder.slots[node] for name, node in main.outputs.items()}
        self.output_shapes = {name: binder.shapes[node] for name, node in main.outputs.items()}

    def __call__(self, inputs: Mapping[str, Tensor | None], gates: Gates | None = None) -> Tensor:
        """Run the plan.

        Args:
            inputs: a value for each input of the main template; None where an input may be absent (masks).
            gates: with `soft`, the weight of every wire of every template; else None.

        Returns:
            The value of the template's output.
        """
        output: Tensor = self._values(inputs, gates)[self._output]
        return output

    def with_outputs(self, inputs: Mapping[str, Tensor | None]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The value of the template's output, and those of the outputs that the plan was asked for, by name."""
        values = self._values(inputs, None)
        return values[self._output], {name: values[slot] for name, slot in self._outputs.items()}

    def _values(self, inputs: Mapping[str, Tensor | None], gates: Gates | None) -> list[Any]:
        if self.soft != (gates is not None):
            raise ValueError("gates are given exactly when the program was built with soft=True")
        values: list[Any] = [None] * (1 + len(self._slots))
        values[_GATES_SLOT] = gates
        for name, value in inputs.items():
            values[self._slots[name]] = value
        _run(self._code, values)
        return values


class _Binder:
    """Turns the steps of one template into instructions: names to slots, operations to functions and parameters."""

    def __init__(
        self,
        plan: Plan,
        operations: Mapping[str, Operation],
        bank: WeightBank,
        soft: bool,
        this: TemplatePlan,
        shapes: Mapping[str, Shape],
        scope: str = "",
        drop: float = 1.0,
    ) -> None:
        self.plan, self.operations, self.bank, self.soft, self.this = plan, operations, bank, soft, this
        self.scope, self.drop = scope, drop
        self.slots: dict[str, int] = {name: 1 + i for i, name in enumerate(this.template.inputs)}
        self.shapes: dict[str, Shape] = dict(shapes)
        self.parameters: dict[str, nn.Parameter] = {}
        self.statistics: dict[str, Tensor] = {}

    def compile(self, steps: Sequence[Step]) -> list[_Instruction]:
        code = []
        for step in steps:
            shapes = [self.shapes[source] for source in step.inputs]
            function, weights, shape = self._bind(step, shapes)
            ins = tuple(self.slots[source] for source in step.inputs)
            if self.soft and step.node.role != "op":
                ins = (_GATES_SLOT, *ins)
            self.slots[step.name] = 1 + len(self.slots)
            self.shapes[step.name] = shape
            code.append(_Instruction(self.slots[step.name], function, ins, weights))
        return code

    def _bind(
        self, step: Step, shapes: Sequence[Shape]
    ) -> tuple[Function, tuple[nn.Parameter | BatchNorm, ...], Shape]:
        node = step.node
        if step.operation is not None:
            key = weight_key(self.this.template, node, self.scope)
            drop = node.drop * self.drop
            bound = bound_operation(step.operation, self.operations, self.bank, key, tuple(shapes), drop)
            self.parameters.update(bound.parameters)
            self.statistics.update(bound.statistics)
            return bound.function, bound.weights, bound.shape
        if node.role == "merge":
            shape = merged_shape(node.combine, shapes)
            if not self.soft:
                return _MERGES[node.combine], (), shape
            if node.combine == "concat":
                raise SpaceError(f"'{node.name}' concatenates, which soft gates cannot weigh: use the search stage")
            return _SoftMerge(self.this.template.name, step.wires, node.combine == "mean"), (), shape
        called = _Call(self, step) if node.role == "call" else _Scan(self, node)
        self.parameters.update(called.parameters)
        self.statistics.update(called.statistics)
        return called, (), called.shape


def _run(code: Sequence[_Instruction], values: list[Any]) -> None:
    for instruction in code:
        values[instruction.out] = instruction.function(*[values[i] for i in instruction.ins], *instruction.weights)


def _sum(*values: Tensor) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _mean(*values: Tensor) -> Tensor:
    return torch.stack(values).mean(0)


def _concat(*values: Tensor) -> Tensor:
    return torch.cat(values, 1)


_MERGES: Mapping[str, Function] = {"sum": _sum, "mean": _mean, "concat": _concat}


class _SoftMerge:
    """A sum of gated values; the mean divides by the sum of its gates."""

    def __init__(self, template: str, wires: tuple[int, ...], mean: bool) -> None:
        self._template, self._wires, self._mean = template, wires, mean

    def __call__(self, gates: Gates, *values: Tensor) -> Tensor:
        weights = gates[self._template]
        # Stacked, as in `_mean`: at a vertex the mixture equals the child to the bit.
        total = torch.stack([weights[w] * v for w, v in zip(self._wires, values, strict=True)]).sum(0)
        return total / weights[list(self._wires)].sum() if self._mean else total


class _Called:
    """A template with slots of its own, bound once; what a call and a loop have in common."""

    def __init__(self, binder: _Binder, inputs: Sequence[str]) -> None:
        """Take over what `binder` has compiled; `inputs` are the template's, in the order of the values."""
        self._inputs = [binder.slots[name] for name in inputs]
        self._output = binder.slots[binder.this.output]
        self._n_slots = 1 + len(binder.slots)
        self._soft = binder.soft
        self.parameters = binder.parameters
        self.statistics = binder.statistics
        self.shape = binder.shapes[binder.this.output]

    def _filled(self, values: Sequence[Any]) -> list[Any]:
        """The slots with the inputs in them; for soft gates these come first."""
        slots: list[Any] = [None] * self._n_slots
        if self._soft:
            slots[_GATES_SLOT], *values = values
        for slot, value in zip(self._inputs, values, strict=True):
            slots[slot] = value
        return slots


class _Call(_Called):
    """An instance of a template, with values and weights of its own."""

    def __init__(self, outer: _Binder, step: Step) -> None:
        called = outer.plan.templates[step.node.template]
        names = called.template.inputs
        shapes = dict(zip(names, (outer.shapes[source] for source in step.inputs), strict=True))
        scope, drop = call_scope(step.node, outer.scope), step.node.drop * outer.drop
        binder = _Binder(outer.plan, outer.operations, outer.bank, outer.soft, called, shapes, scope, drop)
        self._code = binder.compile(called.steps)
        super().__init__(binder, names)

    def __call__(self, *inputs: Any) -> Tensor:
        slots = self._filled(inputs)
        _run(self._code, slots)
        output: Tensor = slots[self._output]
        return output


class _Scan(_Called):
    """A loop over time. What does not descend from the carry runs once, on the whole sequence."""

    def __init__(self, outer: _Binder, node: Node) -> None:
        called = outer.plan.templates[node.template]
        shapes = {key: outer.shapes[source] for key, _, source in node.bind}
        binder = _Binder(outer.plan, outer.operations, outer.bank, outer.soft, called, shapes, outer.scope)
        phases = scan_phases(called, node.bind)
        self._before = binder.compile((*phases.once, *phases.hoisted))
        self._loop = [(i.out, i.function, i.ins, i.weights) for i in binder.compile(phases.loop)]
        slots = binder.slots
        read = {source for step in phases.loop for source in step.inputs} | {called.output}
        sequences = [key for key, mode, _ in node.bind if mode == "sequence"]
        self._length_of = slots[sequences[0]]
        self._per_step = [slots[name] for name in (*sequences, *(s.name for s in phases.hoisted)) if name in read]
        self._carry = [slots[key] for key, mode, _ in node.bind if mode == "carry"]
        super().__init__(binder, [key for key, _, _ in node.bind])

    def __call__(self, *inputs: Any) -> Tensor:
        slots = self._filled(inputs)
        _run(self._before, slots)
        length = slots[self._length_of].shape[0]
        per_step = [(slot, slots[slot].unbind(0)) for slot in self._per_step]
        outputs: list[Tensor] = []
        for t in range(length):
            for slot, steps in per_step:
                slots[slot] = steps[t]
            for out, function, ins, weights in self._loop:
                slots[out] = function(*[slots[i] for i in ins], *weights)
            output = slots[self._output]
            outputs.append(output)
            for slot in self._carry:
                slots[slot] = output
        return torch.stack(outputs)
