"""Named choices without a network: the decisions of a table, or of whatever gives an architecture a score.

Each decision stands in the graph as alternatives that pass their input on and are told apart by their labels, so that
sampling, pictures, digests and encodings need to know nothing of this kind.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from nasforge.components import Options, SpaceKind, Stage
from nasforge.graph.builder import GraphBuilder
from nasforge.graph.supergraph import OperationUse
from nasforge.space.decision import Literal as Sign
from nasforge.space.decision import all_of
from nasforge.space.search_space import SearchSpace
from nasforge.spec.expectation import shown

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


def _text(option: Any) -> Any:
    if isinstance(option, bool):
        return str(option).lower()
    return str(option) if isinstance(option, int | float) else option


def _distinct_options(options: tuple[str, ...]) -> tuple[str, ...]:
    repeated = sorted({option for option in options if options.count(option) > 1})
    if repeated:
        raise _fault(f"the option '{repeated[0]}' stands there twice")
    return options


def _named(decisions: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for name in decisions:
        if not _NAME.fullmatch(name):
            message = f"a decision is named by a letter, then letters, digits, _, - or ., found {shown(name)}"
            raise _fault(message, name)
    return decisions


def _fault(message: str, *inner: str) -> PydanticCustomError:
    return PydanticCustomError("decisions", "{message}", {"message": message, "inner": inner})


Option = Annotated[str, BeforeValidator(_text), Field(min_length=1)]
Alternatives = Annotated[tuple[Option, ...], Field(strict=False, min_length=1), AfterValidator(_distinct_options)]


class ChoicesSpec(Options):
    """The ``space`` block of named choices.

    Attributes:
        kind: ``choices``.
        decisions: for each decision its options, in the order in which a table numbers them.
    """

    kind: Literal["choices"] = "choices"
    decisions: Annotated[dict[str, Alternatives], Field(min_length=1), AfterValidator(_named)]


def _build(config: ChoicesSpec, builder: GraphBuilder, stage: Stage) -> None:
    main = builder.template("main")
    value = main.input("x")
    for name, options in config.decisions.items():
        decision = builder.decision(name, options, "op", owner=name)
        wires = []
        for option in options:
            use = OperationUse("option", (("choice", f"{name} {option}"),))
            node = main.op(f"{name}={option}", use, [value], owner=name)
            wires.append((node, all_of(Sign(decision.name, option))))
        value = main.merge(name, "sum", wires, owner=name)
    main.output(value)


def _distinct(config: ChoicesSpec, space: SearchSpace) -> int:
    return space.size


KIND = SpaceKind(
    name="choices",
    summary="named choices without a network, for tables of scores",
    config=ChoicesSpec,
    build=_build,
    distinct=_distinct,
    networks=False,
)
