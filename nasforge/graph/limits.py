"""Limits on architectures: parameters, FLOPs, depth, and how often an operation is chosen. Without torch.

Parameters and FLOPs are those of the final network without the task's own layers, as `nasforge.graph.count` counts
them. The depth is the largest number of chosen operations in a row, from an input to the output of any searched
template of the final network (see `depth`). The count of an operation is the number of existing decisions of role
``op`` that chose it: a decision that several places share counts once, an operation that the space fixes not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from nasforge.components import Operation, Shape
from nasforge.graph.count import Meter
from nasforge.graph.plan import Step, TemplatePlan, plan_support
from nasforge.graph.supergraph import OperationUse, Supergraph, operation_of

REMEMBERED = 50_000
"""Architectures whose violations are kept: the same are asked about when drawn, scored, varied and trained."""


@dataclass(frozen=True)
class Bound:
    """The least and the largest number that is admitted, each included; None for no bound on that side."""

    least: float | None = None
    most: float | None = None

    def broken(self, number: float) -> str:
        """What is wrong with `number`; empty if nothing is."""
        if self.most is not None and number > self.most:
            return f"{number:,} {'is' if number == 1 else 'are'} more than {self.most:,}"
        if self.least is not None and number < self.least:
            return f"{number:,} {'is' if number == 1 else 'are'} less than {self.least:,}"
        return ""


@dataclass(frozen=True)
class Bounds:
    """What architectures must keep.

    Attributes:
        parameters: number of weights of the final network, None for any.
        flops: of the final network, for one example and one time step; None for any.
        depth: chosen operations in a row; None for any.
        count: operation name, or option label such as ``sep_conv(kernel=3)``, to how often it may be chosen.
    """

    parameters: Bound | None = None
    flops: Bound | None = None
    depth: Bound | None = None
    count: Mapping[str, Bound] = field(default_factory=dict)

    @property
    def need_shapes(self) -> tuple[str, ...]:
        """Those of the limits that can be checked only where the shapes of the network's inputs are known."""
        return tuple(name for name in ("parameters", "flops") if getattr(self, name) is not None)


class LimitRule:
    """Bounds on the architectures of one space: a rule for `SearchSpace.limited`.

    Args:
        bounds: what must be kept.
        final: the final stage of the space.
        operations: the catalogue's operations by name.
        shapes: as for `Meter`; None where no one says them, which `bounds` must not need then.
    """

    def __init__(
        self,
        bounds: Bounds,
        final: Supergraph,
        operations: Mapping[str, Operation],
        shapes: Callable[[Mapping[str, str]], Mapping[str, Shape]] | None,
    ) -> None:
        if shapes is None and bounds.need_shapes:
            raise ValueError(f"limits on {' and '.join(bounds.need_shapes)} need shapes")
        self.bounds = bounds
        self._final = final
        self._operations = operations
        self._meter = Meter(final, operations, shapes) if shapes is not None else None
        self._choosing = tuple(decision.name for decision in final.space.decisions if decision.role == "op")
        self._remembered = lru_cache(REMEMBERED)(self._violations)

    def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
        """One sentence for each limit that the architecture breaks; none where it keeps all.

        Args:
            architecture: all choices of an architecture of the space.

        Raises: as `Meter.count`.
        """
        return self._remembered(tuple(architecture.items()))

    def admits(self, architecture: Mapping[str, str]) -> bool:
        """Whether the architecture keeps all limits."""
        return not self.violations(architecture)

    def _violations(self, choices: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
        architecture, bounds = dict(choices), self.bounds
        found: list[tuple[str, str]] = []
        if self._meter is not None and bounds.need_shapes:
            counts = self._meter.count(architecture)
            for name, bound, number in (
                ("parameters", bounds.parameters, counts.parameters),
                ("flops", bounds.flops, counts.flops),
            ):
                found.append((name, bound.broken(number) if bound else ""))
        if bounds.depth:
            found.append(("depth", bounds.depth.broken(depth(self._final, architecture, self._operations))))
        if bounds.count:
            chosen = [architecture[name] for name in self._choosing if name in architecture]
            for name, bound in bounds.count.items():
                found.append((f"count of {name}", bound.broken(count_of(name, chosen))))
        return tuple(f"{name}: {text}" for name, text in found if text)


def count_of(name: str, chosen: Iterable[str]) -> int:
    """How many of the `chosen` options of decisions of role ``op`` have that label or are that operation."""
    return sum(name in (option, operation_of(option)) for option in chosen)


def depth(supergraph: Supergraph, architecture: Mapping[str, str], operations: Mapping[str, Operation]) -> int:
    """The largest number of chosen operations in a row, from an input to the output of any searched template.

    What counts is read off the graph: an operation that YAML can name (of another family than ``structure``, or with
    such a part, as a highway step has), and whatever stands in its place: a wire that a decision of role ``op`` opens
    counts one, if nothing between it and the merge before did. A strided ``identity`` is thus one operation although
    the final network computes a factorised reduction instead; the 1x1 convolutions around operations are none.

    Args:
        supergraph: the final stage of the space.
        architecture: all choices of an architecture.
        operations: the catalogue's operations by name.
    """
    open_wires = {name: template.open_wires(architecture) for name, template in supergraph.templates.items()}
    plans = plan_support(supergraph, open_wires, architecture).templates
    choosing = {decision.name for decision in supergraph.space.decisions if decision.role == "op"}
    return max(
        (_depth(plans[name], choosing, operations) for name in supergraph.searched if name in plans),
        default=0,
    )


def _depth(plan: TemplatePlan, choosing: set[str], operations: Mapping[str, Operation]) -> int:
    # For each value its depth, and whether an operation since the last merge is in it.
    known: dict[str, tuple[int, bool]] = dict.fromkeys(plan.template.inputs, (0, False))
    for step in plan.steps:
        if step.node.role == "merge":
            known[step.name] = max(_through(plan, step, at, choosing, known) for at in range(len(step.inputs))), False
            continue
        before, counted = max((known[source] for source in step.inputs), default=(0, False))
        named = step.operation is not None and _can_be_named(step.operation, operations)
        known[step.name] = (before + 1, True) if named else (before, counted)
    return known[plan.output][0]


def _through(
    plan: TemplatePlan, merge: Step, at: int, choosing: set[str], known: Mapping[str, tuple[int, bool]]
) -> int:
    """The depth of what one wire brings to a merge."""
    before, counted = known[merge.inputs[at]]
    chosen = choosing.intersection(plan.template.wires[merge.wires[at]].when.decisions())
    return before + bool(chosen and not counted)


def _can_be_named(use: OperationUse, operations: Mapping[str, Operation]) -> bool:
    return any(set(operations[each.name].families) != {"structure"} for each in (use, *use.parts))
