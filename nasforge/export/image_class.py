"""A template of a network of images as a class: its parameters and batch norms, and what it computes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from nasforge.components import Operation
from nasforge.executors.norms import EPS
from nasforge.export.expressions import Body, landmarks, merge_text
from nasforge.export.image_shapes import Sized
from nasforge.export.names import Namespace, identifier
from nasforge.export.parts import operation_text
from nasforge.graph.plan import Step
from nasforge.graph.supergraph import Node

NORM_VALUES = {"scale": "weight", "offset": "bias", "mean": "running_mean", "variance": "running_var"}
"""What the tensors of a batch norm are called in a weight bank, and in a ``nn.BatchNorm2d``."""

_SEGMENTS = re.compile(r"\.(?![^(]*\))")
"""The dots of a node's name outside of parentheses."""


@dataclass(frozen=True)
class Call:
    """An instance of a class.

    Attributes:
        attribute: where the network keeps it.
        created: the expression that makes it.
    """

    attribute: str
    created: str


class ClassWriter:
    """Writes the class of one template.

    Args:
        of: the template and what it owns.
        operations: the catalogue's operations.
        momentum: how far batch norms move their running statistics at a step.
        reserved: names of the module around it.
        attributes: names that attributes may not have.
        calls: for calls of other templates, by the node's name, what is called.
    """

    def __init__(
        self,
        of: Sized,
        operations: Mapping[str, Operation],
        momentum: float,
        reserved: Collection[str],
        attributes: Collection[str] = (),
        calls: Mapping[str, Call] | None = None,
    ) -> None:
        self._of, self._operations = of, operations
        self._calls = calls or {}
        self._momentum = "" if momentum == 0.1 else f", momentum={momentum!r}"
        taken = {*dir(nn.Module()), *attributes, *(call.attribute for call in self._calls.values())}
        self._attributes = self._attribute_names(Namespace(taken))
        self._keep, self._values = self._value_names(Namespace(reserved))

    @property
    def n_nodes(self) -> int:
        """How many architectural nodes it computes."""
        return len(self._owners())

    @property
    def names(self) -> Iterator[tuple[str, str, str]]:
        """(share key, name of a tensor in its set, name in the state dict of the class)."""
        for share, each in self._of.sets.items():
            attributes = self._attributes[share]
            own = len(each.weights)
            yield from ((share, w.name, name) for w, name in zip(each.weights, attributes[:own], strict=True))
            for norm, name in zip(each.norms, attributes[own:], strict=True):
                yield from ((share, f"{norm.name}.{ours}", f"{name}.{torch}") for ours, torch in NORM_VALUES.items())

    def creation(self, sizes: Sequence[str]) -> Iterator[str]:
        """The lines of the constructor; `sizes` are expressions for `Sized.sizes`."""
        waiting = iter(sizes)
        first_uses = {each.node.name: share for share, each in self._of.sets.items()}
        created: set[str] = set()
        for step in self._of.plan.steps:
            if step.name in self._calls and self._calls[step.name].attribute not in created:
                call = self._calls[step.name]
                created.add(call.attribute)
                yield f"        self.{call.attribute} = {call.created}"
            if step.name not in first_uses:
                continue
            each = self._of.sets[first_uses[step.name]]
            attributes = iter(self._attributes[first_uses[step.name]])
            for weight in each.weights:
                shape = ", ".join(next(waiting) for _ in weight.shape)
                yield f"        self.{next(attributes)} = nn.Parameter(torch.empty({shape}))"
            for _ in each.norms:
                norm = f"nn.BatchNorm2d({next(waiting)}, eps={_short(EPS)}{self._momentum})"
                yield f"        self.{next(attributes)} = {norm}"

    def forward(self, name: str, explanation: str) -> Iterator[str]:
        """The method that computes the template's output from its inputs."""
        inputs = self._of.plan.template.inputs
        arguments = ", ".join(f"{self._values[each]}: Tensor" for each in inputs)
        yield f"    def {name}(self, {arguments}) -> Tensor:"
        yield f'        """{explanation}"""'
        steps = self._of.plan.steps
        yield from Body(steps, self._values.__getitem__, inputs, self._keep, self._render).returning(
            [self._of.plan.output]
        )

    def _render(self, step: Step, inputs: Sequence[str]) -> str:
        if step.name in self._calls:
            return f"self.{self._calls[step.name].attribute}({', '.join(inputs)})"
        if step.operation is None:
            return merge_text(step.node.combine, inputs)
        weights = [f"self.{name}" for name in self._attributes.get(step.node.share, ())]
        return operation_text(step.operation, self._operations, inputs, weights)

    def _attribute_names(self, names: Namespace) -> Mapping[str, tuple[str, ...]]:
        owners = Counter(self._owner(each.node) for each in self._of.sets.values())
        found: dict[str, tuple[str, ...]] = {}
        for share, each in self._of.sets.items():
            owner = self._owner(each.node)
            base = identifier(owner if owner and owners[owner] == 1 else self._plain(each.node))
            specs = (*(spec.name for spec in each.weights), *(norm.name for norm in each.norms))
            wanted = [identifier(name) for name in specs]
            found[share] = tuple(names.take(base if base.split("_")[-1] == own else f"{base}_{own}") for own in wanted)
        return found

    def _value_names(self, names: Namespace) -> tuple[Collection[str], Mapping[str, str]]:
        """Values that always get a line of their own, and the names of all values."""
        steps = self._of.plan.steps
        found = {name: names.take(name) for name in self._of.plan.template.inputs}
        last = landmarks(steps)
        keep = {last[owner] for owner in self._owners()}
        keep |= {source for step in steps if step.name in self._calls for source in (step.name, *step.inputs)}
        # Batch norms that are used twice move their statistics twice: in the order of the steps.
        users = Counter(step.node.share for step in steps if step.operation is not None)
        keep |= {step.name for step in steps if step.operation is not None and users[step.node.share] > 1}
        for owner in (*self._owners(), *last):
            found[last[owner]] = found.get(last[owner]) or names.take(
                self._owner(self._of.plan.template.nodes[last[owner]])
            )
        for step in steps:
            found[step.name] = found.get(step.name) or names.take(self._plain(step.node))
            if step.node.role == "merge":
                found[f"{step.name}.states"] = names.take("values")
        return keep, found

    def _owners(self) -> list[str]:
        """The owners of steps that are no part of another one, such as a branch of a node."""
        owners = landmarks(self._of.plan.steps)
        return [each for each in owners if not any(each.startswith(f"{other}.") for other in owners)]

    def _owner(self, node: Node) -> str:
        """The owner of a node without the name of its template."""
        return node.owner.removeprefix(f"{self._of.plan.template.name}.")

    def _plain(self, node: Node) -> str:
        """A node's name without labels of operations, ``layer1.before`` of ``layer1.conv(kernel=3).before``; but the
        name of an operation at the end stays."""
        first, *rest = _SEGMENTS.split(node.name)
        heads = [segment.partition("(")[0] for segment in rest]
        kept = [head for n, head in enumerate(heads, 1) if n == len(heads) or head not in self._operations]
        return ".".join([first, *kept])


def _short(value: float) -> str:
    """A float as people write it: 1e-5."""
    return re.sub(r"e([+-])0", r"e\1", repr(value))
