"""What a text says about the decisions of a space, and the way back.

The places of operations and of their searched parameters are those of `nasforge.kinds.places`, which makes the
decisions: ``NAME`` for the operation, ``NAME.OPERATION.PARAMETER`` for a parameter, the name under ``let`` for both
where one is shared. Operations are mapped by name and parameters, because each code numbers them differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nasforge.errors import SpaceError
from nasforge.graph.supergraph import Open, OperationUse
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.spec.choices import ChooseImageOperation

MAX_FAULTS = 10
"""How many faults of one text are listed."""


class Said:
    """Collects what a text says, and what is wrong with it.

    Args:
        form: the name of the encoding, for messages.
        space: the decisions.
    """

    def __init__(self, form: str, space: SearchSpace) -> None:
        self._form, self._space = form, space
        self._choices: dict[str, str] = {}
        self._where: dict[str, str] = {}
        self._faults: list[str] = []

    def put(self, where: str, decision: str, option: str) -> None:
        """`where`, a place of the text, is `option`."""
        before = self._choices.setdefault(decision, option)
        first = self._where.setdefault(decision, where)
        if before != option:
            self._faults.append(
                f"{where} is '{option}', but {first} is '{before}', and the space decides both at once ('{decision}')"
            )

    def refuse(self, fault: str) -> None:
        """`fault`, in a sentence, is wrong with the text."""
        self._faults.append(fault)

    def operation(
        self, where: str, name: str, choice: OperationUse | ChooseImageOperation, wanted: OperationUse
    ) -> None:
        """`where` is the operation `wanted`; `name` and `choice` are those of its place in the space."""
        offered = _offered(choice)
        found = next((use for use in offered if _is(use, wanted)), None)
        if found is None:
            listed = ", ".join(use.label for use in offered)
            rule = "the space fixes it to" if isinstance(choice, OperationUse) else "the space offers there"
            self._faults.append(f"{where} is '{wanted.label}', but {rule} {listed}")
            return
        if not isinstance(choice, OperationUse):
            self.put(where, choice.use or name, found.label)
        for (key, value), (_, chosen) in zip(found.parameters, wanted.parameters, strict=True):
            if isinstance(value, Open):
                option = next(str(each) for each in value.values if each == chosen)
                self.put(where, _parameter(name, choice, found, key, value), option)

    def architecture(self) -> Architecture:
        """The architecture that was said.

        Raises:
            SpaceError: what is wrong with it, or every decision of which the text says nothing.
        """
        if self._faults:
            raise SpaceError("\n".join(self._faults[:MAX_FAULTS]))
        unsaid = [
            f"'{decision.name}' ({', '.join(decision.options)})"
            for decision in self._space.decisions
            if decision.name not in self._choices and decision.when.holds(self._choices)
        ]
        if unsaid:
            raise SpaceError(
                f"the space searches {'; '.join(unsaid[:MAX_FAULTS])}, of which {self._form} says nothing; "
                "it fits where the space fixes it to one option"
            )
        return self._space.architecture(self._choices)


def operation_of(
    architecture: Mapping[str, str], name: str, choice: OperationUse | ChooseImageOperation
) -> OperationUse:
    """The operation of an architecture at a place, with its parameters."""
    if isinstance(choice, OperationUse):
        use = choice
    else:
        use = next(each for each in choice.from_ if each.label == architecture[choice.use or name])
    parameters = (
        (
            key,
            next(each for each in value.values if str(each) == architecture[_parameter(name, choice, use, key, value)])
            if isinstance(value, Open)
            else value,
        )
        for key, value in use.parameters
    )
    return OperationUse(use.name, tuple(parameters))


def check_known(form: str, found: Mapping[str, OperationUse], known: Sequence[OperationUse]) -> None:
    """Refuse operations that an encoding has no sign for.

    Args:
        form: the name of the encoding.
        found: the operations by their places, in words.
        known: those that it has.

    Raises:
        SpaceError: every such place.
    """
    listed = ", ".join(use.label for use in known)
    faults = [
        f"{where} is '{use.label}', which {form} cannot write; it has {listed}"
        for where, use in found.items()
        if use not in known
    ]
    if faults:
        raise SpaceError("\n".join(faults[:MAX_FAULTS]))


def check_says(form: str, architecture: Mapping[str, str], again: Mapping[str, str]) -> None:
    """Refuse what an encoding cannot tell from something else, such as two options that are one operation.

    Args:
        form: the name of the encoding.
        architecture: what was written.
        again: what its text reads as.

    Raises:
        SpaceError: they differ.
    """
    for name, option in architecture.items():
        if again.get(name) != option:
            raise SpaceError(
                f"{form} cannot say that '{name}' is '{option}': its text reads as '{again.get(name, 'nothing')}'"
            )


def _offered(choice: OperationUse | ChooseImageOperation) -> tuple[OperationUse, ...]:
    return (choice,) if isinstance(choice, OperationUse) else choice.from_


def _is(use: OperationUse, wanted: OperationUse) -> bool:
    """Whether an option of a space is, or may be, that operation."""
    if use.name != wanted.name or [key for key, _ in use.parameters] != [key for key, _ in wanted.parameters]:
        return False
    pairs = zip(use.parameters, wanted.parameters, strict=True)
    return all(
        chosen in value.values if isinstance(value, Open) else value == chosen for (_, value), (_, chosen) in pairs
    )


def _parameter(name: str, choice: OperationUse | ChooseImageOperation, use: OperationUse, key: str, value: Open) -> str:
    """The decision of a searched parameter."""
    alone = sum(each.name == use.name for each in _offered(choice)) == 1
    return value.name or f"{name}.{use.name if alone else use.label}.{key}"
