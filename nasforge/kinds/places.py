"""Decisions at the places of a space: drawn anew at each place, or shared where a name under ``let`` is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from nasforge.graph.builder import GraphBuilder
from nasforge.graph.supergraph import Chosen, Open, OperationUse
from nasforge.space.decision import ALWAYS, Condition, Decision, Literal, Role, also
from nasforge.spec.choices import ChooseActivation, ChooseCount, ChooseImageOperation, ChooseWidth


@dataclass(frozen=True)
class Alternative:
    """One option of an operation choice at a place.

    Attributes:
        label: the option, as the space names it.
        use: what is computed; its searched parameters name their decisions.
        chosen: literals that hold when it is chosen; none where the operation is fixed.
    """

    label: str
    use: OperationUse
    chosen: tuple[Literal, ...]


class Places:
    """Adds decisions to a builder.

    Args:
        builder: what is filled.
    """

    def __init__(self, builder: GraphBuilder) -> None:
        self._builder = builder
        self._named: dict[str, Decision] = {}

    def decision(
        self, name: str, options: Sequence[str], role: Role, *, owner: str, when: Condition = ALWAYS, use: str = ""
    ) -> Decision:
        """A decision of its own; with `use` the one of that name, which always exists."""
        if not use:
            return self._builder.decision(name, options, role, owner=owner, when=when)
        if use not in self._named:
            self._named[use] = self._builder.decision(use, options, role, owner=use)
        return self._named[use]

    def operations(
        self,
        name: str,
        choice: OperationUse | ChooseActivation | ChooseImageOperation,
        *,
        owner: str,
        when: Condition = ALWAYS,
    ) -> list[Alternative]:
        """The alternatives at a place, with a decision of that name where there is a choice.

        A searched parameter is a decision ``NAME.OPERATION.PARAMETER``, which exists when its operation is chosen.
        """
        if isinstance(choice, OperationUse):
            return [Alternative(choice.label, self._placed(f"{name}.{choice.name}", choice, owner, when), ())]
        labels = [use.label for use in choice.from_]
        decision = self.decision(name, labels, "op", owner=owner, when=when, use=choice.use)
        found: list[Alternative] = []
        names = Counter(use.name for use in choice.from_)
        for use in choice.from_:
            chosen = Literal(decision.name, use.label)
            place = f"{name}.{use.name if names[use.name] == 1 else use.label}"
            found.append(Alternative(use.label, self._placed(place, use, owner, also(when, chosen)), (chosen,)))
        return found

    def _placed(self, place: str, use: OperationUse, owner: str, when: Condition) -> OperationUse:
        parameters: list[tuple[str, Any]] = []
        for key, value in use.parameters:
            if isinstance(value, Open):
                options = [str(each) for each in value.values]
                decision = self.decision(f"{place}.{key}", options, "number", owner=owner, when=when, use=value.name)
                value = Chosen(decision.name, tuple(zip(options, value.values, strict=True)))
            parameters.append((key, value))
        return replace(use, parameters=tuple(parameters))

    def width(self, name: str, width: int | ChooseWidth) -> int | Chosen:
        """A number of features or channels."""
        if isinstance(width, int):
            return width
        options = [str(each) for each in width.from_]
        decision = self.decision(name, options, "number", owner=name, use=width.use)
        return Chosen(decision.name, tuple(zip(options, width.from_, strict=True)))

    def sizes(self, name: str, count: int | ChooseCount) -> Sizes:
        """A number of nodes or layers."""
        if isinstance(count, int):
            return Sizes((count,), None)
        decision = self.decision(name, [str(size) for size in count.from_], "size", owner=name, use=count.use)
        return Sizes(count.from_, decision)


@dataclass(frozen=True)
class Sizes:
    """The numbers of nodes or layers that an architecture may have, and the decision between them."""

    numbers: tuple[int, ...]
    decision: Decision | None

    @property
    def most(self) -> int:
        """The largest number."""
        return max(self.numbers)

    def is_(self, size: int) -> tuple[Literal, ...]:
        """What must hold for an architecture of `size`."""
        return (Literal(self.decision.name, str(size)),) if self.decision else ()

    def above(self, index: int) -> Condition:
        """When there is a node or layer of number `index`, counted from 0: one term for each larger size."""
        if min(self.numbers) > index:
            return ALWAYS
        return Condition(tuple(self.is_(size) for size in self.numbers if size > index))


def most_halvings(image: tuple[int, int, int]) -> int:
    """How often an image of (channels, height, width) can be halved, rounded up, before a pixel would be."""
    return (min(image[1:]) - 1).bit_length()


def scaled(width: int | Chosen, factor: int) -> int | Chosen:
    """`factor` times a width."""
    return width.scaled(factor) if isinstance(width, Chosen) else width * factor


def network_op(name: str, **values: Any) -> OperationUse:
    """An operation of the network itself, which no architecture chooses."""
    return OperationUse(name, given=tuple(values.items()))


def given(use: OperationUse, **values: Any) -> OperationUse:
    """The same use with parameters that the network says, such as the stride."""
    return replace(use, given=(*use.given, *values.items()))
