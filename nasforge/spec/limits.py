"""The ``limits`` of a run spec: bounds that every architecture must keep."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from nasforge.components import Options, SpaceKind
from nasforge.errors import SpaceError, suggest
from nasforge.graph.compile import compile_kind
from nasforge.graph.limits import Bound, Bounds
from nasforge.graph.supergraph import operation_of
from nasforge.spec.expectation import shown
from nasforge.spec.nodes import printable
from nasforge.spec.validate import Faults

AMOUNT = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)(?:([kMG])|[eE]\+?([0-9]{1,2}))")
"""A number with a suffix, such as 5M or 1.5M, or with an exponent, which YAML 1.1 takes for text: 5e6."""

_FACTORS: Mapping[str, int] = MappingProxyType({"k": 10**3, "M": 10**6, "G": 10**9})
_SIDES: Mapping[str, str] = MappingProxyType({"min": "least", "max": "most"})


def _fault(message: str, hint: str = "", *, inner: tuple[str, ...] = (), at_key: bool = False) -> PydanticCustomError:
    context = {"message": message, "hint": hint, "inner": inner, "at_key": at_key}
    return PydanticCustomError("bound", "{message}", context)


def _amount(value: Any, what: str, least: int | None, inner: tuple[str, ...] = ()) -> float:
    """The whole number that `value` means, at least `least`; any number where that is None."""
    number = _number(value)
    if least is None:
        if number is None:
            raise _fault(
                f"{what} must be a number, also with k, M or G, such as 2.5M, found {shown(value)}", inner=inner
            )
        return int(number) if number.denominator == 1 else float(number)
    if number is None or number.denominator != 1 or number < least:
        expected = f"{what} must be a whole number of at least {least}, also with k, M or G, such as 5M"
        raise _fault(f"{expected}, found {shown(value)}", inner=inner)
    return int(number)


def _number(value: Any) -> Fraction | None:
    if isinstance(value, str) and (match := AMOUNT.fullmatch(value)):
        return Fraction(match[1]) * (_FACTORS[match[2]] if match[2] else 10 ** int(match[3]))
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf"):
        return Fraction(value)
    return None


def _bound(value: Any, least: int | None, name: str) -> Bound:
    if isinstance(value, Bound):
        return value
    if not isinstance(value, dict):
        return Bound(most=_amount(value, name, least))
    for key in value:
        if key not in _SIDES:
            message = f"unknown key '{printable(str(key), 60)}' in a bound.{suggest(str(key), _SIDES)}"
            raise _fault(message, "known here: min, max", inner=(str(key),), at_key=True)
    if not value:
        raise _fault("a bound must say min, max or both")
    sides = {_SIDES[key]: _amount(each, f"`{key}`", least, (key,)) for key, each in value.items()}
    bound = Bound(**sides)
    if bound.least is not None and bound.most is not None and bound.least > bound.most:
        raise _fault(f"`min` must be at most `max`, which is {bound.most:,}, found {bound.least:,}", inner=("min",))
    return bound


def bound_schema(least: int | None) -> dict[str, Any]:
    """The JSON schema of a bound; `least` as for `_amount`."""
    number = {"type": "number"} if least is None else {"type": "integer", "minimum": least}
    amount = {"anyOf": [number, {"type": "string", "pattern": f"^{AMOUNT.pattern}$"}]}
    sides = {
        "type": "object",
        "properties": {"min": amount, "max": amount},
        "additionalProperties": False,
        "minProperties": 1,
    }
    return {"anyOf": [*amount["anyOf"], sides]}


def _positive(value: Any, info: ValidationInfo) -> Bound:
    return _bound(value, 1, f"`{info.field_name}`")


def _milliseconds(value: Any, info: ValidationInfo) -> Bound:
    bound = _bound(value, None, f"`{info.field_name}`")
    for key, side in _SIDES.items():
        number = getattr(bound, side)
        if number is not None and number <= 0:
            inner = (key,) if isinstance(value, dict) else ()
            raise _fault(f"a time must be above 0, found {shown(number)}", inner=inner)
    return bound


def _times(value: Any) -> Bound:
    return _bound(value, 0, "how often an operation is chosen")


Positive = Annotated[Bound, BeforeValidator(_positive), WithJsonSchema(bound_schema(1))]
"""A largest number, or ``{min: ..., max: ...}``; at least 1 each."""

Times = Annotated[Bound, BeforeValidator(_times), WithJsonSchema(bound_schema(0))]
"""As `Positive`, 0 included."""


Milliseconds = Annotated[Bound, BeforeValidator(_milliseconds), WithJsonSchema(bound_schema(None))]
"""As `Positive`, fractions included."""


class Limits(Options):
    """Bounds that every proposed architecture keeps, in search, baseline and result; others are never trained.

    A bound is the largest number, or ``{min: ..., max: ...}``; k, M and G stand for thousands, millions and billions.

    Attributes:
        parameters: weights of the final network, the task's own layers apart, as ``nasforge check`` counts them.
        flops: of the final network for one example and one time step, the task's own layers apart; a multiply-add
            counts two.
        depth: chosen operations in a row, from an input to the output of a searched cell (of the network, where it has
            no cells).
        latency_ms: milliseconds of one evaluation of the final network, measured on the machine of the run when an
            architecture is first looked at (``latency`` says how).
        count: how often an operation may be chosen, by its name (``sep_conv``) or as an option of the space with its
            parameters (``sep_conv(kernel=3)``).
    """

    parameters: Positive | None = None
    flops: Positive | None = None
    depth: Positive | None = None
    latency_ms: Milliseconds | None = None
    count: dict[str, Times] = Field(default={}, strict=False)

    @property
    def bounds(self) -> Bounds:
        """The same for the graph, which knows no clock."""
        return Bounds(self.parameters, self.flops, self.depth, self.count)


def columns_of(data: Mapping[str, Any], faults: Faults) -> dict[str, Bound]:
    """The ``limits`` of a table: a bound for each of its further columns that is named.

    Args:
        data: the block, plain.
        faults: collects what is wrong; whether there are such columns only the table shows.
    """
    found: dict[str, Bound] = {}
    for name, value in data.items():
        try:
            found[name] = _bound(value, None, f"`{printable(name, 60)}`")
        except PydanticCustomError as error:
            context = error.context or {}
            place = ("limits", name, *context["inner"])
            faults.add(place, context["message"], context["hint"], at_key=context["at_key"])
    return found


def plain_bound(bound: Bound) -> float | dict[str, float]:
    """A bound as a user writes it."""
    if bound.least is None and bound.most is not None:
        return bound.most
    return {key: number for key, side in _SIDES.items() if (number := getattr(bound, side)) is not None}


def check_counts(limits: Limits, kind: SpaceKind, space: Options, faults: Faults) -> None:
    """Collect the names under ``limits.count`` that no decision of the space can choose."""
    if not limits.count:
        return
    try:
        decisions = compile_kind(kind, space).space.decisions
    except SpaceError:
        return  # Whoever compiles the space for use reports it.
    options = {option for decision in decisions if decision.role == "op" for option in decision.options}
    known = sorted(options | {operation_of(option) for option in options})
    for name in limits.count:
        if name not in known:
            message = f"no decision of the space chooses the operation '{printable(name, 60)}'.{suggest(name, known)}"
            hint = f"known here: {', '.join(known)}" if known else "the space chooses no operations"
            faults.add(("limits", "count", name), message, hint, at_key=True)
