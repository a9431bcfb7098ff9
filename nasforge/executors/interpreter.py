"""The interpreter: runs a plan with weights from a bank.

A plan is bound once: names become slots, operations become functions, share keys become parameters. What is left per
call is a loop over instructions. The same interpreter runs a child of the supergraph (hard gates), a mixture (soft
gates) and a derived network (a bank of its own).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nasforge.components import Operation, Shape
from nasforge.errors import SpaceError
from nasforge.executors.bank import WeightBank
from nasforge.executors.bound import Function, bound_operation
from nasforge.executors.code import Code, Instruction
from nasforge.executors.norms import BatchNorm
from nasforge.executors.reuse import Group
from nasforge.graph.count import merged_shape
from nasforge.graph.plan import Plan, Step, TemplatePlan, call_scope, scan_phases, weight_key
from nasforge.graph.supergraph import Node

Gates = Mapping[str, Tensor]
"""Soft gates: for each template, the weight of each of its wires ``[n_wires]``."""

_GATES_SLOT = 0


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
        code: the calls; the output is the first of what it keeps.
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
        instructions = binder.compile(main.steps)
        self._slots = binder.slots
        self._outputs = {name: binder.slots[node] for name, node in main.outputs.items()}
        self.code = Code(instructions, binder.n_slots, [binder.slots[main.output], *self._outputs.values()])
        self.parameters: Mapping[str, nn.Parameter] = binder.parameters
        self.statistics: Mapping[str, Tensor] = binder.statistics
        self.shape = binder.shapes[main.output]
        self.output_shapes = {name: binder.shapes[node] for name, node in main.outputs.items()}

    def __call__(self, inputs: Mapping[str, Tensor | None], gates: Gates | None = None) -> Tensor:
        """Run the plan.

        Args:
            inputs: a value for each input of the main template; None where an input may be absent (masks).
            gates: with `soft`, the weight of every wire of every template; else None.

        Returns:
            The value of the template's output.
        """
        if (group := self._group()) is not None:
            (given,) = inputs.values()
            assert given is not None
            return group.run(self.code, given, self.modes.norms.use)
        output: Tensor = self._values(inputs, gates)[self.code.output]
        return output

    def with_outputs(self, inputs: Mapping[str, Tensor | None]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The value of the template's output, and those of the outputs that the plan was asked for, by name."""
        values = self._values(inputs, None)
        return values[self.code.output], {name: values[slot] for name, slot in self._outputs.items()}

    def _group(self) -> Group | None:
        """What this call shares values with; None where a gradient, statistics or chance are wanted of them."""
        group, pure = self.modes.reuse.group, self.modes.norms.use != "update" and not self.modes.drops.rate
        return group if group is not None and group.holds(self.code) and pure and not torch.is_grad_enabled() else None

    def _values(self, inputs: Mapping[str, Tensor | None], gates: Gates | None) -> list[Any]:
        if self.soft != (gates is not None):
            raise ValueError("gates are given exactly when the program was built with soft=True")
        values: list[Any] = [None] * self.code.n_slots
        values[_GATES_SLOT] = gates
        for name, value in inputs.items():
            values[self._slots[name]] = value
        self.code.run(values)
        return values


class _Binder:
    """Turns the steps of one template into instructions: names to slots, operations to functions and parameters.

    A call has no instruction of its own: those of the called template stand in its place.
    """

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
        self.n_slots = 1 + len(self.slots)
        self.shapes: dict[str, Shape] = dict(shapes)
        self.parameters: dict[str, nn.Parameter] = {}
        self.statistics: dict[str, Tensor] = {}

    def compile(self, steps: Sequence[Step]) -> list[Instruction]:
        code: list[Instruction] = []
        for step in steps:
            if step.node.role == "call":
                code += self._inlined(step)
                continue
            shapes = [self.shapes[source] for source in step.inputs]
            function, weights, shape = self._bind(step, shapes)
            ins = tuple([self.slots[source] for source in step.inputs])
            if self.soft and step.node.role != "op":
                ins = (_GATES_SLOT, *ins)
            self.slots[step.name] = self.n_slots
            self.n_slots += 1
            self.shapes[step.name] = shape
            code.append(Instruction(self.slots[step.name], function, ins, weights))
        return code

    def _inlined(self, step: Step) -> list[Instruction]:
        """The instructions of a called template, with values and weights of their own."""
        called = self.plan.templates[step.node.template]
        names = called.template.inputs
        shapes = {name: self.shapes[source] for name, source in zip(names, step.inputs, strict=True)}
        scope, drop = call_scope(step.node, self.scope), step.node.drop * self.drop
        inner = _Binder(self.plan, self.operations, self.bank, self.soft, called, shapes, scope, drop)
        inner.slots = {name: self.slots[source] for name, source in zip(names, step.inputs, strict=True)}
        inner.n_slots = self.n_slots
        code = inner.compile(called.steps)
        self.n_slots = inner.n_slots
        self.slots[step.name], self.shapes[step.name] = inner.slots[called.output], inner.shapes[called.output]
        self.parameters.update(inner.parameters)
        self.statistics.update(inner.statistics)
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
        scan = _Scan(self, node)
        self.parameters.update(scan.parameters)
        self.statistics.update(scan.statistics)
        return scan, (), scan.shape


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


class _Scan:
    """A loop over time. What does not descend from the carry runs once, on the whole sequence."""

    def __init__(self, outer: _Binder, node: Node) -> None:
        called = outer.plan.templates[node.template]
        shapes = {key: outer.shapes[source] for key, _, source in node.bind}
        binder = _Binder(outer.plan, outer.operations, outer.bank, outer.soft, called, shapes, outer.scope)
        phases = scan_phases(called, node.bind)
        before = binder.compile((*phases.once, *phases.hoisted))
        self._loop = [(i.out, i.function, i.ins, i.weights) for i in binder.compile(phases.loop)]
        slots = binder.slots
        read = {source for step in phases.loop for source in step.inputs} | {called.output}
        sequences = [key for key, mode, _ in node.bind if mode == "sequence"]
        self._length_of = slots[sequences[0]]
        self._per_step = [slots[name] for name in (*sequences, *(s.name for s in phases.hoisted)) if name in read]
        self._carry = [slots[key] for key, mode, _ in node.bind if mode == "carry"]
        self._inputs = [slots[key] for key, _, _ in node.bind]
        self._output, self._soft = slots[called.output], binder.soft
        # The loop reads all of it, so that nothing is forgotten.
        self._before = Code(before, binder.n_slots, [self._output, *range(binder.n_slots)])
        self.parameters, self.statistics = binder.parameters, binder.statistics
        self.shape = binder.shapes[called.output]

    def __call__(self, *inputs: Any) -> Tensor:
        slots: list[Any] = [None] * self._before.n_slots
        values: Sequence[Any] = inputs
        if self._soft:
            slots[_GATES_SLOT], *values = inputs
        for slot, value in zip(self._inputs, values, strict=True):
            slots[slot] = value
        self._before.run(slots)
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
