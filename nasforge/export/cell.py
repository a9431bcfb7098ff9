"""The class of a scanned template: its parameters, what is computed once per sequence, and one time step."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nasforge.components import Operation, Shape
from nasforge.export.expressions import Body, landmarks, merge_text
from nasforge.export.names import Namespace
from nasforge.export.parts import (
    cell_weights,
    defined_functions,
    helpers_of,
    operation_text,
    plain_name,
    size_text,
)
from nasforge.graph.plan import Step, TemplatePlan, scan_phases, weight_key


@dataclass(frozen=True)
class CellSource:
    """An exported cell.

    Attributes:
        text: the class ``Cell``.
        helpers: the functions that it calls, each once.
        parameters: names in the weight bank to attributes of the class.
        projects: whether it has a method ``project``, to be called once on the whole sequence.
        projects_with_constants: whether ``project`` takes the constants, too.
        per_step: how many values of one time step ``forward`` takes before the state.
        constants: how many values ``forward`` takes after the state, each of which may be None.
    """

    text: str
    helpers: tuple[str, ...]
    parameters: Mapping[str, str]
    projects: bool
    projects_with_constants: bool
    per_step: int
    constants: int


def cell_source(
    plan: TemplatePlan,
    bind: tuple[tuple[str, str, str], ...],
    operations: Mapping[str, Operation],
    shapes: Mapping[str, Shape],
    width: int,
    reserved: Collection[str],
) -> CellSource:
    """Write the class of one scanned template.

    Args:
        plan: the steps of one time step.
        bind: how its inputs are bound, as in `Node.bind`; one sequence, one carry.
        operations: the catalogue's operations.
        shapes: shapes of its inputs, without time and batch.
        width: features of the state; sizes are written as multiples of it.
        reserved: names of the module around it.

    Raises:
        NasforgeError: a step cannot be written as one expression.
    """
    return _Cell(plan, bind, operations, shapes, width, reserved).source()


class _Cell:
    def __init__(
        self,
        plan: TemplatePlan,
        bind: tuple[tuple[str, str, str], ...],
        operations: Mapping[str, Operation],
        shapes: Mapping[str, Shape],
        width: int,
        reserved: Collection[str],
    ) -> None:
        self._plan, self._operations, self._width = plan, operations, width
        self._helpers = helpers_of(plan.steps, operations, reserved)
        functions = {name for text in self._helpers for name in defined_functions(text)}
        self._phases = scan_phases(plan, bind)
        (self._sequence,) = (key for key, mode, _ in bind if mode == "sequence")
        (self._carry,) = (key for key, mode, _ in bind if mode == "carry")
        read = {source for step in plan.steps for source in step.inputs} | {plan.output}
        self._constants = [key for key, mode, _ in bind if mode == "constant" and key in read]
        read = {source for step in self._phases.loop for source in step.inputs} | {plan.output}
        candidates = (self._sequence, *(step.name for step in self._phases.hoisted))
        self._per_step = [name for name in candidates if name in read] or [self._sequence]
        self._projects = self._per_step != [self._sequence]
        before = (*self._phases.once, *self._phases.hoisted)
        self._projects_with_constants = any(key in step.inputs for step in before for key in self._constants)
        self._weights = cell_weights(plan, operations, shapes)
        self._names = self._value_names({*reserved, *functions})

    def _value_names(self, reserved: Collection[str]) -> Mapping[str, str]:
        names = Namespace(reserved)
        found = {name: names.take(name) for name in (self._sequence, self._carry, *self._constants)}
        for name in self._per_step:
            if name not in found:
                projected = f"{found[self._sequence]}_projected"
                found[name] = names.take(projected if len(self._per_step) == 1 else plain_name(name, self._plan))
        for owner, name in landmarks(self._plan.steps).items():
            found[name] = found.get(name) or names.take(owner)
        for step in self._plan.steps:
            found[step.name] = found.get(step.name) or names.take(plain_name(step.name, self._plan))
            if step.node.role == "merge":
                found[f"{step.name}.states"] = names.take("states")
        return found

    def source(self) -> CellSource:
        lines = ["class Cell(nn.Module):", *self._introduction(), "", *self._init()]
        if self._projects:
            lines += ["", *self._project()]
        lines += ["", *self._forward()]
        parameters = {name: weight.attribute for name, weight in self._weights.items()}
        return CellSource(
            "\n".join(lines),
            self._helpers,
            parameters,
            projects=self._projects,
            projects_with_constants=self._projects_with_constants,
            per_step=len(self._per_step),
            constants=len(self._constants),
        )

    def _introduction(self) -> Iterator[str]:
        nodes = len(landmarks(self._plan.steps))
        shown = "1 node" if nodes == 1 else f"{nodes} nodes"
        yield f'    """One time step of the searched cell ({shown}): what it gives is the next state."""'

    def _init(self) -> Iterator[str]:
        yield "    def __init__(self, width: int) -> None:"
        yield "        super().__init__()"
        for weight in self._weights.values():
            sizes = ", ".join(size_text(size, self._width) for size in weight.shape)
            yield f"        self.{weight.attribute} = nn.Parameter(torch.empty({sizes}))"

    def _project(self) -> Iterator[str]:
        x = self._names[self._sequence]
        constants = self._arguments_of_constants() if self._projects_with_constants else ""
        n_values = len(self._per_step)
        returned = "Tensor" if n_values == 1 else f"tuple[{', '.join(['Tensor'] * n_values)}]"
        yield f"    def project(self, {x}: Tensor{constants}) -> {returned}:"
        yield '        """What depends on the input alone: computed once for the sequence `[time, batch, width]`."""'
        given = {self._sequence, *self._constants}
        yield from self._body((*self._phases.once, *self._phases.hoisted), given, ()).returning(self._per_step)

    def _forward(self) -> Iterator[str]:
        names = self._names
        per_step = [names[name] for name in self._per_step]
        state = names[self._carry]
        arguments = ", ".join(f"{name}: Tensor" for name in (*per_step, state))
        yield f"    def forward(self, {arguments}{self._arguments_of_constants()}) -> Tensor:"
        yield '        """The next state `[batch, width]`.'
        yield ""
        yield "        Args:"
        if self._projects and len(per_step) == 1:
            yield f"            {per_step[0]}: the value of `project` at this time step."
        else:
            for name in per_step:
                yield f"            {name}: a value of this time step."
        yield f"            {state}: the state before `[batch, width]`."
        for name in self._constants:
            what = "dropout mask of the state `[batch, width]`, the same at every time step; None for none"
            yield f"            {names[name]}: {what}."
        yield '        """'
        given = {*self._per_step, self._carry, *self._constants}
        keep = landmarks(self._phases.loop).values()
        yield from self._body((*self._phases.once, *self._phases.loop), given, keep).returning([self._plan.output])

    def _arguments_of_constants(self) -> str:
        return "".join(f", {self._names[name]}: Tensor | None = None" for name in self._constants)

    def _body(self, steps: Sequence[Step], given: Collection[str], keep: Collection[str]) -> Body:
        return Body(steps, self._names.__getitem__, given, keep, self._render)

    def _render(self, step: Step, inputs: Sequence[str]) -> str:
        node = step.node
        if step.operation is None:
            return merge_text(node.combine, inputs)
        key = weight_key(self._plan.template, node)
        weights = [f"self.{weight.attribute}" for weight in self._weights.values() if weight.key == key]
        return operation_text(step.operation, self._operations, inputs, weights)
