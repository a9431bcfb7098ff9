"""What the formulas for distinct architectures need to know of a block: how many different things a place can hold.

A number of architectures is a number of canonical digests. Choices of one name under ``let`` may come to nothing, as a
kernel does where no convolution is chosen, so that two architectures are one network: then there is no formula.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from nasforge.graph.supergraph import Open, OperationUse
from nasforge.spec.choices import ChooseActivation, ChooseCount, ChooseImageOperation, ChooseWidth


def n_operations(choice: OperationUse | ChooseActivation | ChooseImageOperation) -> int | None:
    """How many different operations a place can hold, each searched parameter decided; None where a name is shared.

    Two options may come to one operation: ``conv`` of a fixed kernel 3, and of a searched one.
    """
    if isinstance(choice, OperationUse):
        uses: tuple[OperationUse, ...] = (choice,)
    elif choice.use:
        return None
    else:
        uses = choice.from_
    found: set[str] = set()
    for use in uses:
        keys = [key for key, _ in use.parameters]
        if any(isinstance(value, Open) and value.name for _, value in use.parameters):
            return None
        for values in product(*(value.values if isinstance(value, Open) else (value,) for _, value in use.parameters)):
            found.add(replace(use, parameters=tuple(zip(keys, values, strict=True))).label)
    return len(found)


def numbers(count: int | ChooseCount) -> tuple[int, ...]:
    """The numbers of nodes or layers that there may be."""
    return (count,) if isinstance(count, int) else count.from_


def n_widths(width: int | ChooseWidth | None, count: int | ChooseCount) -> int:
    """How many widths an architecture of one number of nodes or layers may have."""
    if width is None or isinstance(width, int):
        return 1
    said = not isinstance(count, int) and width.use and width.use == count.use
    return 1 if said else len(width.from_)
