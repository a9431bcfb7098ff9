"""The interpreter: runs a plan with weights from a bank.

A plan is bound once: names become slots, operations become functions, share keys become parameters. What is left per
call is a loop over instructions. The same interpreter runs a child of the supergraph (hard gates), a mixture (soft
gates) and a derived network (a bank of its own).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nasforge.components import Operation, Shape
from nasforge.executors.bank import WeightBank
from nasforge.executors.resolve import operation_function
from nasforge.graph.plan import Plan, Step, TemplatePlan, scan_phases, weight_key
from nasforge.graph.supergraph import Node
from nasforge.graph.uses import operation_options

Gates = Mapping[str, Tensor]
"""Soft gates: for each template, the weight of each of its wires ``[n_wires]``."""

_GATES_SLOT = 0
_Function = Callable[..., Tensor]


@dataclass(frozen=True)
class _Instruction:
    out: int
    function: _Function
    ins: tuple[int, ...]
    weights: tuple[nn.Parameter, ...]


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
        shape: the shape of the output, without time and batch.
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
        binder = _Binder(plan, operations, bank, soft, main, shapes)
        self._soft = soft
        self._slots = binder.slots
        self._code = binder.compile(main.steps)
        self._output = binder.slots[main.output]
        self.parameters: Mapping[str, nn.Parameter] = binder.parameters
        self.shape = binder.shapes[main.output]

    def __call__(self, inputs: Mapping[str, Tensor | None], gates: Gates | None = None) -> Tensor:
        """Run the plan.

        Args:
            inputs: a value for each input of the main template; None where an input may be absent (masks).
            gates: with `soft`, the weight of every wire of every template; else None.

        Returns:
            The value of the template's output.
        """
        if self._soft != (gates is not None):
            raise ValueError("gates are given exactly when the program was built with soft=True")
        values: list[Any] = [None] * (1 + len(self._slots))
        values[_GATES_SLOT] = gates
        for name, value in inputs.items():
            values[self._slots[name]] = value
        _run(self._code, values)
        output: Tensor = values[self._output]
        return output


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
    ) -> None:
        self.plan, self.operations, self.bank, self.soft, self.this = plan, operations, bank, soft, this
        self.slots: dict[str, int] = {name: 1 + i for i, name in enumerate(this.template.inputs)}
        self.shapes: dict[str, Shape] = dict(shapes)
        self.parameters: dict[str, nn.Parameter] = {}

    def compile(self, steps: Sequence[Step]) -> list[_Instruction]:
        code = []
        for step in steps:
            shapes = [self.shapes[source] for source in step.inputs]
            function, weights, shape = self._bind(step, shapes)
            ins = tuple(self.slots[source] for source in step.inputs)
            if self.soft and step.node.role in ("merge", "scan"):
                ins = (_GATES_SLOT, *ins)
            self.slots[step.name] = 1 + len(self.slots)
            self.shapes[step.name] = shape
            code.append(_Instruction(self.slots[step.name], function, ins, weights))
        return code

    def _bind(self, step: Step, shapes: Sequence[Shape]) -> tuple[_Function, tuple[nn.Parameter, ...], Shape]:
        node = step.node
        if node.operation is not None:
            operation = self.operations[node.operation.name]
            options = operation_options(node.operation, self.operations)
            specs = operation.weights(options, shapes)
            key = weight_key(self.this.template, node)
            weights = self.bank.take(key, specs) if specs else ()
            self.parameters.update({f"{key}.{spec.name}": w for spec, w in zip(specs, weights, strict=True)})
            return operation_function(node.operation, self.operations), weights, operation.shape(options, shapes)
        if node.role == "merge":
            mean = node.combine == "mean"
            if self.soft:
                return _SoftMerge(self.this.template.name, step.wires, mean), (), shapes[0]
            return (_mean if mean else _sum), (), shapes[0]
        scan = _Scan(self, node)
        self.parameters.update(scan.parameters)
        return scan, (), scan.shape


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
        binder = _Binder(outer.plan, outer.operations, outer.bank, outer.soft, called, shapes)
        phases = scan_phases(called, node.bind)
        self._before = binder.compile((*phases.once, *phases.hoisted))
        self._loop = [(i.out, i.function, i.ins, i.weights) for i in binder.compile(phases.loop)]
        slots = binder.slots
        read = {source for step in phases.loop for source in step.inputs} | {called.output}
        sequences = [key for key, mode, _ in node.bind if mode == "sequence"]
        self._inputs = [slots[key] for key, _, _ in node.bind]
        self._length_of = slots[sequences[0]]
        self._per_step = [slots[name] for name in (*sequences, *(s.name for s in phases.hoisted)) if name in read]
        self._carry = [slots[key] for key, mode, _ in node.bind if mode == "carry"]
        self._output = slots[called.output]
        self._n_slots = 1 + len(slots)
        self._soft = outer.soft
        self.parameters = binder.parameters
        self.shape = binder.shapes[called.output]

    def __call__(self, *inputs: Any) -> Tensor:
        slots: list[Any] = [None] * self._n_slots
        if self._soft:
            slots[_GATES_SLOT], *inputs_only = inputs
        else:
            inputs_only = list(inputs)
        for slot, value in zip(self._inputs, inputs_only, strict=True):
            slots[slot] = value
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
