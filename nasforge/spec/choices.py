"""The choose-forms of YAML, shared by every kind: ``{choose: 1, from: [...]}``.

Operations are checked against the catalogue while the spec is validated, so that a fault is shown at its line. The
validation context carries the known operations under the key ``operations``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

from nasforge.components import One, Operation, Options
from nasforge.errors import suggest
from nasforge.graph.supergraph import OperationUse


def parse_operation(value: Any, operations: Mapping[str, Operation], family: str) -> OperationUse:
    """Turn ``name`` or ``{name: {parameter: value}}`` into a checked `OperationUse`.

    Raises:
        PydanticCustomError: an unknown name, an operation of another family, or wrong parameters. Its context may hold
            ``inner``, the path below `value` at which the fault stands.
    """
    if isinstance(value, OperationUse):
        return value
    name, parameters = _split(value)
    known = sorted(key for key, operation in operations.items() if operation.family == family)
    operation = operations.get(name)
    if operation is None or operation.family != family:
        message = f"unknown operation '{name}'.{suggest(name, known)}"
        raise PydanticCustomError(
            "unknown_operation",
            "{message}",
            {"message": message, "hint": f"known here: {', '.join(known)}", "operation": name},
        )
    try:
        config = operation.config.model_validate(parameters)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        inner = (name, *first["loc"]) if isinstance(value, dict) else ()
        what = f"parameter '{'.'.join(map(str, first['loc']))}' of operation '{name}'"
        if first["type"] == "extra_forbidden":
            fields = list(operation.config.model_fields)
            text = f"{what} is not known.{suggest(str(first['loc'][-1]), fields)}"
            hint = f"'{name}' takes {', '.join(fields) if fields else 'no parameters'}"
        else:
            text, hint = f"{what}: {first['msg'][:1].lower()}{first['msg'][1:]}", ""
        raise PydanticCustomError(
            "operation_parameters", "{message}", {"message": text, "hint": hint, "inner": inner}
        ) from None
    return OperationUse(name, tuple(config.model_dump().items()))


def _split(value: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(value, str):
        return value, {}
    if isinstance(value, dict) and len(value) == 1:
        ((name, parameters),) = value.items()
        if parameters is None:
            return name, {}
        if isinstance(parameters, dict):
            return name, parameters
    raise PydanticCustomError(
        "operation_form", "{message}", {"message": "write an operation as 'name' or as 'name: {parameter: value}'"}
    )


def _activation(value: Any, info: ValidationInfo) -> Any:
    return parse_operation(value, (info.context or {}).get("operations", {}), "activation")


Activation = Annotated[OperationUse, BeforeValidator(_activation)]


def _distinct(uses: tuple[OperationUse, ...]) -> tuple[OperationUse, ...]:
    seen: set[str] = set()
    for index, use in enumerate(uses):
        if use.label in seen:
            message = f"'{use.label}' is listed twice; every option must be different"
            raise PydanticCustomError("repeated_option", "{message}", {"message": message, "inner": (index,)})
        seen.add(use.label)
    return uses


class ChooseActivation(Options):
    """One activation of a list: ``{choose: 1, from: [tanh, relu, leaky_relu: {slope: 0.1}]}``.

    Attributes:
        choose: how many; always 1.
        from_: the options (written ``from``), at least one, all different.
    """

    choose: One = 1
    from_: Annotated[tuple[Activation, ...], Field(alias="from", min_length=1, strict=False), AfterValidator(_distinct)]


def _different(numbers: tuple[int, ...]) -> tuple[int, ...]:
    for index, number in enumerate(numbers):
        if number in numbers[:index]:
            message = f"{number} is listed twice; every option must be different"
            raise PydanticCustomError("repeated_option", "{message}", {"message": message, "inner": (index,)})
    return numbers


Count = Annotated[int, Field(ge=1, le=64)]
"""A number of nodes."""


class ChooseCount(Options):
    """One number of nodes of a list: ``{choose: 1, from: [1, 2, 4, 8]}``.

    Attributes:
        choose: how many; always 1.
        from_: the options (written ``from``), at least one, all different, 1 to 64 each.
    """

    choose: One = 1
    from_: Annotated[
        tuple[Count, ...],
        Field(alias="from", min_length=1, strict=False),
        AfterValidator(_different),
    ]


class ChooseInput(Options):
    """One earlier node: ``{choose: 1, from: previous}``.

    Attributes:
        choose: how many; always 1.
        from_: what can be chosen (written ``from``); ``previous`` is every earlier node.
    """

    choose: One = 1
    from_: Annotated[Literal["previous"], Field(alias="from")] = "previous"
