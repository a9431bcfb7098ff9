"""The choose-forms of YAML, shared by every kind: ``{choose: 1, from: [...]}``.

Operations are checked against the catalogue while the spec is validated, so that a fault is shown at its line. The
validation context carries the known operations under the key ``operations``. A form that stood under ``let`` and was
taken by ``use`` (`nasforge.spec.lets`) comes with its name under the key ``use``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from nasforge.components import Family, One, Operation, Options
from nasforge.errors import suggest
from nasforge.graph.supergraph import Open, OperationUse

_PLAIN = (bool, int, float, str)


def parse_operation(value: Any, operations: Mapping[str, Operation], family: Family) -> OperationUse:
    """Turn ``name`` or ``{name: {parameter: value}}`` into a checked `OperationUse`.

    What the graph gives (`Options.given`) is no parameter here: it may not be written, and the use does not hold it. A
    parameter may be a choice of several values, of which the operation must take each.

    Raises:
        PydanticCustomError: an unknown name, an operation of another family, or wrong parameters. Its context may hold
            ``inner``, the path below `value` at which the fault stands.
    """
    if isinstance(value, OperationUse):
        return value
    name, parameters = _split(value)
    known = sorted(key for key, operation in operations.items() if family in operation.families)
    operation = operations.get(name)
    if operation is None or family not in operation.families:
        message = f"unknown operation '{name}'.{suggest(name, known)}"
        raise PydanticCustomError(
            "unknown_operation",
            "{message}",
            {"message": message, "hint": f"known here: {', '.join(known)}", "operation": name},
        )
    given = operation.config.given
    for key in parameters:
        if key in given:
            text = f"parameter '{key}' of operation '{name}' is given by the network; leave it out"
            raise _parameter_fault(text, _takes(operation), (name, key))
    chosen = {key: _open(key, name, form) for key, form in parameters.items() if isinstance(form, dict)}
    first = {**parameters, **{key: each.values[0] for key, each in chosen.items()}}
    chosen = {key: _validated(key, each, operation, first) for key, each in chosen.items()}
    config = _checked_parameters(operation, first, {}, spelled=isinstance(value, dict))
    return OperationUse(name, tuple({**config.model_dump(exclude=set(given)), **chosen}.items()))


def _validated(key: str, written: Open, operation: Operation, first: Mapping[str, Any]) -> Open:
    """A searched parameter with the values that the operation makes of those written: 1 is 1.0 where it takes floats.

    Equal options are found by their names in the space, which are the values as text.
    """
    values: dict[str, Any] = {}
    for index, value in enumerate(written.values):
        config = _checked_parameters(operation, {**first, key: value}, {key: (key, "from", index)}, spelled=True)
        number = config.model_dump(by_alias=True)[key]
        if str(number) in values:
            message = f"{number} is listed twice; every option must be different"
            inner = (operation.name, key, "from", index)
            raise PydanticCustomError("repeated_option", "{message}", {"message": message, "inner": inner})
        values[str(number)] = number
    return Open(tuple(values.values()), written.name)


def _checked_parameters(
    operation: Operation, parameters: Mapping[str, Any], places: Mapping[str, tuple[str | int, ...]], *, spelled: bool
) -> Options:
    """The config; `places` says where the values of searched parameters stand, `spelled` whether any may stand."""
    name, given = operation.name, operation.config.given
    try:
        return operation.config.model_validate(dict(parameters))
    except ValidationError as error:
        # A misspelt parameter is often a missing one, too; its name says more.
        first = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
        parameter = ".".join(map(str, first["loc"]))
        where = places.get(str(first["loc"][0]), first["loc"]) if first["loc"] else ()
        inner = (name, *where) if spelled else ()
        what = f"parameter '{parameter}' of operation '{name}'"
        if first["type"] == "extra_forbidden":
            fields = [field for field in operation.config.model_fields if field not in given]
            text = f"{what} is not known.{suggest(str(first['loc'][-1]), fields)}"
            raise _parameter_fault(text, _takes(operation), inner) from None
        if first["type"] == "missing":
            text = f"operation '{name}' needs the parameter '{parameter}'"
            raise _parameter_fault(text, _takes(operation), inner[:-1]) from None
        text = f"{what}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        if isinstance(parameters.get(parameter), list):
            text += "; a choice of several is written {choose: 1, from: [...]}"
        raise _parameter_fault(text, "", inner) from None


def _takes(operation: Operation) -> str:
    fields = [field for field in operation.config.model_fields if field not in operation.config.given]
    return f"'{operation.name}' takes {', '.join(fields) if fields else 'no parameters'}"


def _parameter_fault(text: str, hint: str, inner: tuple[str | int, ...]) -> PydanticCustomError:
    return PydanticCustomError("operation_parameters", "{message}", {"message": text, "hint": hint, "inner": inner})


def _open(key: str, operation: str, form: Mapping[str, Any]) -> Open:
    """A searched parameter: ``{choose: 1, from: [3, 5]}``."""
    what = f"parameter '{key}' of operation '{operation}'"
    values = form.get("from")
    if not set(form) <= {"choose", "from", "use"} or type(form.get("choose")) is not int or form["choose"] != 1:
        text = f"{what} must be a value, or a choice of several: {{choose: 1, from: [...]}}"
        raise _parameter_fault(text, "", (operation, key))
    if not isinstance(values, list) or not values or not all(isinstance(value, _PLAIN) for value in values):
        raise _parameter_fault(f"{what}: `from` must be a list of at least 1 value", "", (operation, key, "from"))
    return Open(tuple(values), form.get("use", ""))


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


def _image_operation(value: Any, info: ValidationInfo) -> Any:
    return parse_operation(value, (info.context or {}).get("operations", {}), "image")


def operation_definition(family: Family) -> str:
    """The name of the JSON schema of what can stand where an operation of a family is named."""
    return f"operation.{family}"


def _by_reference(family: Family) -> WithJsonSchema:
    return WithJsonSchema({"$ref": f"#/$defs/{operation_definition(family)}"})


Activation = Annotated[OperationUse, BeforeValidator(_activation), _by_reference("activation")]
ImageOperation = Annotated[OperationUse, BeforeValidator(_image_operation), _by_reference("image")]


class ChooseForm(Options):
    """What stands where an architecture chooses.

    Attributes:
        example: how users write it.
    """

    example: ClassVar[str]


class Choose(ChooseForm):
    """One of several options.

    Attributes:
        choose: how many; always 1.
        use: the name under ``let`` that it was taken from; empty where it is drawn anew at each place.
    """

    given: ClassVar[frozenset[str]] = frozenset({"use"})

    choose: One = 1
    use: str = ""


def _distinct(uses: tuple[OperationUse, ...]) -> tuple[OperationUse, ...]:
    seen: set[str] = set()
    for index, use in enumerate(uses):
        if use.label in seen:
            message = f"'{use.label}' is listed twice; every option must be different"
            raise PydanticCustomError("repeated_option", "{message}", {"message": message, "inner": (index,)})
        seen.add(use.label)
    return uses


class ChooseActivation(Choose):
    """One activation of a list: ``{choose: 1, from: [tanh, relu, leaky_relu: {slope: 0.1}]}``.

    Attributes:
        choose: how many; always 1.
        from_: the options (written ``from``), at least one, all different.
    """

    example = "{choose: 1, from: [tanh, relu]}"

    from_: Annotated[tuple[Activation, ...], Field(alias="from", min_length=1, strict=False), AfterValidator(_distinct)]


class ChooseImageOperation(Choose):
    """One operation on images of a list: ``{choose: 1, from: [identity, sep_conv: {kernel: 3}]}``.

    Attributes:
        choose: how many; always 1.
        from_: the options (written ``from``), at least one, all different.
    """

    example = "{choose: 1, from: [identity, sep_conv: {kernel: 3}]}"

    from_: Annotated[
        tuple[ImageOperation, ...], Field(alias="from", min_length=1, strict=False), AfterValidator(_distinct)
    ]


def _different(numbers: tuple[int, ...]) -> tuple[int, ...]:
    seen: set[int] = set()
    for index, number in enumerate(numbers):
        if number in seen:
            message = f"{number} is listed twice; every option must be different"
            raise PydanticCustomError("repeated_option", "{message}", {"message": message, "inner": (index,)})
        seen.add(number)
    return numbers


Count = Annotated[int, Field(ge=1, le=64)]
"""A number of nodes or layers."""


class ChooseCount(Choose):
    """One number of nodes or layers of a list: ``{choose: 1, from: [1, 2, 4, 8]}``.

    Attributes:
        choose: how many; always 1.
        from_: the options (written ``from``), at least one, all different, 1 to 64 each.
    """

    example = "{choose: 1, from: [2, 3]}"

    from_: Annotated[
        tuple[Count, ...],
        Field(alias="from", min_length=1, strict=False),
        AfterValidator(_different),
    ]


Width = Annotated[int, Field(ge=1, le=65536)]
"""A number of features or channels."""


class ChooseWidth(Choose):
    """One number of features or channels of a list: ``{choose: 1, from: [16, 32]}``.

    Attributes:
        choose: how many; always 1.
        from_: the options (written ``from``), at least one, all different, 1 to 65536 each.
    """

    example = "{choose: 1, from: [16, 32]}"

    from_: Annotated[
        tuple[Width, ...],
        Field(alias="from", min_length=1, strict=False),
        AfterValidator(_different),
    ]


class Unshared(ChooseForm):
    """A form whose options depend on its place, so that no name can stand for it."""

    @model_validator(mode="before")
    @classmethod
    def _has_no_name(cls, value: Any) -> Any:
        if isinstance(value, dict) and "use" in value:
            message = f"inputs and skips cannot be shared by a name: write {cls.example}"
            context = {"message": message, "hint": "each node or layer chooses its own", "inner": ("use",)}
            raise PydanticCustomError("unshared", "{message}", context)
        return value


class ChooseInput(Unshared):
    """One earlier node: ``{choose: 1, from: previous}``.

    Attributes:
        choose: how many; always 1.
        from_: what can be chosen (written ``from``); ``previous`` is every earlier node.
    """

    example = "{choose: 1, from: previous}"

    choose: One = 1
    from_: Annotated[Literal["previous"], Field(alias="from")] = "previous"


class ChooseSkips(Unshared):
    """Any set of earlier layers: ``{choose: any, from: previous}``.

    Attributes:
        choose: how many; always ``any``.
        from_: what can be chosen (written ``from``); ``previous`` is every earlier layer but the one right before,
            which is always connected.
    """

    example = "{choose: any, from: previous}"

    choose: Literal["any"] = "any"
    from_: Annotated[Literal["previous"], Field(alias="from")] = "previous"
