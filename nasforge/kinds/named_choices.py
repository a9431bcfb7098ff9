"""Named choices without a network: the decisions of a table, or of whatever gives an architecture a score.

Each decision stands in the graph as alternatives that pass their input on and are told apart by their labels, so that
sampling, pictures, digests and encodings need to know nothing of this kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from nasforge.components import Options, SpaceKind, Stage
from nasforge.graph.builder import GraphBuilder
from nasforge.graph.supergraph import OperationUse
from nasforge.space.decision import Literal as Sign
from nasforge.space.decision import all_of
from nasforge.space.search_space import SearchSpace
from nasforge.spec.expectation import shown

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


def _decisions(value: Any) -> Any:
    """Names to options as text; numbers are options too."""
    if not isinstance(value, Mapping):
        return value
    found: dict[str, tuple[str, ...]] = {}
    for name, options in value.items():
        if not _NAME.fullmatch(str(name)):
            raise _fault(f"a decision is named by a letter, then letters, digits, _, - or ., found {shown(name)}")
        if not isinstance(options, list | tuple) or not options:
            raise _fault(f"`{name}` must be a list of options, at least one, found {shown(options)}")
        texts = [_text(str(name), option) for option in options]
        repeated = sorted({text for text in texts if texts.count(text) > 1})
        if repeated:
            raise _fault(f"`{name}` has the option '{repeated[0]}' twice")
        found[str(name)] = tuple(texts)
    return found


def _text(name: str, option: Any) -> str:
    if isinstance(option, bool):
        return str(option).lower()
    if not isinstance(option, str | int | float) or option == "":
        raise _fault(f"the options of `{name}` must be texts or numbers, found {shown(option)}")
    return str(option)


def _fault(message: str) -> PydanticCustomError:
    return PydanticCustomError("decisions", "{message}", {"message": message})


class ChoicesSpec(Options):
    """The ``space`` block of named choices.

    Attributes:
        kind: ``choices``.
        decisions: for each decision its options, in the order in which a table numbers them.
    """

    kind: Literal["choices"] = "choices"
    decisions: Annotated[dict[str, Annotated[tuple[str, ...], Field(strict=False)]], BeforeValidator(_decisions)] = (
        Field(min_length=1)
    )


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
