"""Lowering: the scan of a recurrent plan as a short description, architecture as data.

A plan has such a form where each step of the loop is a tree of highway steps::

    node 0   pre = x W_x (+ b) + (h * m) W_0     s_0 = lerp(h, f_0(u), sigmoid(t))      u, t = the halves of pre
    node i   pre = (s_p * m) W_i                 s_i = lerp(s_p, f_i(u), sigmoid(t))    p < i
    output   h = mean of s_l over the leaves, perhaps scaled down to a norm
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from nasforge.executors.interpreter import Program
from nasforge.executors.kernels import Kernel, kernel_of
from nasforge.graph.plan import Step, TemplatePlan, weight_key
from nasforge.graph.uses import operation_options
from nasforge.ops.recurrent import ClipNormOptions

_STRUCTURE = "nasforge.ops.recurrent_torch"


@dataclass(frozen=True)
class CellNode:
    """One highway step.

    Attributes:
        source: the number of the earlier node whose state it reads; -1 for the state of the step before.
        kernel: its activation.
        weight: ``[width, 2 width]``, to candidate and gate.
    """

    source: int
    kernel: Kernel
    weight: nn.Parameter


@dataclass(frozen=True)
class Cell:
    """A recurrent cell.

    Attributes:
        width: features of the state.
        nodes: in order; the first reads the input too.
        from_x: ``[width, 2 width]``.
        bias: ``[2 width]`` or None.
        leaves: numbers of the nodes whose mean is the output, each once.
        limit: the largest norm of the output; None for none.
    """

    width: int
    nodes: tuple[CellNode, ...]
    from_x: nn.Parameter
    bias: nn.Parameter | None
    leaves: tuple[int, ...]
    limit: float | None


class NoForm(Exception):
    """A plan has no such form; the text says why."""


@dataclass(frozen=True)
class _Masked:
    source: int


@dataclass(frozen=True)
class _State:
    number: int


@dataclass(frozen=True)
class _FromX:
    weight: nn.Parameter
    bias: nn.Parameter | None


@dataclass(frozen=True)
class _Pre:
    source: int
    weight: nn.Parameter
    x: _FromX | None = None


@dataclass(frozen=True)
class _Output:
    leaves: tuple[int, ...]
    limit: float | None = None


@dataclass(frozen=True)
class _Input:
    mode: str


_Value = _Masked | _State | _FromX | _Pre | _Output | _Input


def lower(program: Program) -> Cell:
    """The description of a bound plan.

    Raises:
        NoForm: it has none; the text names what stands in the way.
    """
    main = program.plan.main
    if program.soft:
        raise NoForm("gates are soft")
    if len(main.steps) != 1 or main.steps[0].node.role != "scan" or main.output != main.steps[0].name:
        raise NoForm("the network is not one loop over time")
    node = main.steps[0].node
    modes = {mode: (key, source) for key, mode, source in node.bind}
    if {mode: source for mode, (_, source) in modes.items()} != {
        "sequence": "inputs",
        "carry": "state",
        "constant": "mask",
    } or len(node.bind) != 3:
        raise NoForm("the loop is not one over 'inputs' that carries 'state', with a mask")
    reader = _Reader(program, program.plan.templates[node.template])
    reader.values = {
        modes["sequence"][0]: _Input("x"),
        modes["carry"][0]: _State(-1),
        modes["constant"][0]: _Input("m"),
    }
    return reader.read()


class _Reader:
    def __init__(self, program: Program, plan: TemplatePlan) -> None:
        self._program, self._plan = program, plan
        self.values: dict[str, _Value] = {}
        self._nodes: list[CellNode] = []
        self._x: _FromX | None = None

    def read(self) -> Cell:
        for step in self._plan.steps:
            self.values[step.name] = self._step(step, [self.values[source] for source in step.inputs])
        found = self.values[self._plan.output]
        output = _Output((found.number,)) if isinstance(found, _State) else found
        if not isinstance(output, _Output) or self._x is None or -1 in output.leaves:
            raise NoForm("the output is not a mean of highway steps")
        width = self._program.shape[-1]
        return Cell(width, tuple(self._nodes), self._x.weight, self._x.bias, output.leaves, output.limit)

    def _step(self, step: Step, inputs: Sequence[_Value]) -> _Value:
        if step.node.role == "merge" and step.node.combine == "mean":
            leaves = tuple(each.number for each in inputs if isinstance(each, _State))
            if len(leaves) == len(inputs) == len(set(leaves)):
                return _Output(leaves)
        if step.operation is None:
            raise NoForm(f"'{step.name}' is no operation")
        module, _, name = self._program.operations[step.operation.name].build.partition(":")
        if module == _STRUCTURE:
            match name, *inputs:
                case "mask", _State(source), _Input("m"):
                    return _Masked(source)
                case "projection", _Input("x"):
                    weights = self._weights(step)
                    return _FromX(weights["weight"], weights.get("bias"))
                case "projection", _Masked(source) if "bias" not in (weights := self._weights(step)):
                    return _Pre(source, weights["weight"])
                case "add", _FromX() as x, _Pre(source, weight, None):
                    return _Pre(source, weight, x)
                case "highway", _State(number), _Pre(source) as pre if source == number:
                    return self._highway(step, pre)
                case "clip_norm", _State(number):
                    return _Output((number,), self._limit(step))
                case "clip_norm", _Output(leaves, None):
                    return _Output(leaves, self._limit(step))
        raise NoForm(f"operation '{step.operation.label}' stands where no highway step has it")

    def _highway(self, step: Step, pre: _Pre) -> _State:
        assert step.operation is not None
        (activation,) = step.operation.parts
        kernel = kernel_of(activation, self._program.operations)
        if kernel is None:
            raise NoForm(f"operation '{activation.label}' has no 'derivative'")
        if (pre.x is not None) != (not self._nodes) or (pre.source < 0) != (not self._nodes):
            raise NoForm(f"'{step.name}' reads the input or the state, and is not the first node")
        self._x = self._x or pre.x
        self._nodes.append(CellNode(pre.source, kernel, pre.weight))
        return _State(len(self._nodes) - 1)

    def _weights(self, step: Step) -> Mapping[str, nn.Parameter]:
        prefix = weight_key(self._plan.template, step.node) + "."
        return {
            name: self._program.parameters[prefix + name]
            for name in ("weight", "bias")
            if prefix + name in self._program.parameters
        }

    def _limit(self, step: Step) -> float:
        assert step.operation is not None
        options = operation_options(step.operation, self._program.operations)
        assert isinstance(options, ClipNormOptions)
        return options.max_norm
