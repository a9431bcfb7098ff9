"""What users write about conv cells; `nasforge.kinds.conv_cell` builds their networks."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from nasforge.components import Options
from nasforge.kinds.places import most_halvings
from nasforge.spec.choices import ChooseCount, ChooseImageOperation, ChooseInput, ChooseWidth, Count, Width

CellName = Literal["normal", "reduction"]


class Branches(Options):
    """What each node adds.

    Attributes:
        branches: how many (input, operation) pairs.
        input: what each reads.
        op: what each computes.
    """

    branches: Annotated[int, Field(ge=1, le=8)] = 2
    input: ChooseInput = ChooseInput()
    op: ChooseImageOperation


class ConvOutput(Options):
    """How the output of a cell is formed.

    Attributes:
        combine: ``concat``.
        of: ``leaves`` (nodes and inputs that no node reads; the paper) or ``all`` (all nodes, no inputs; DARTS).
    """

    combine: Literal["concat"] = "concat"
    of: Literal["leaves", "all"] = "leaves"


class Stack(Options):
    """How cells make up a network: blocks of normal cells with reductions in between.

    Attributes:
        normal: normal cells of each block.
        reductions: how many there are; each halves the image and doubles the channels. ``reductions + 1`` blocks.
        channels: of the first block, or a choice of several numbers.
    """

    normal: Annotated[int, Field(ge=1, le=64)] = 2
    reductions: Annotated[int, Field(ge=0, le=8)] = 2
    channels: Width | ChooseWidth = 20


class FinalStack(Options):
    """The ``train.stack`` block of a conv cell: what is different in the final network.

    Attributes:
        normal: normal cells of each block; null as in the search.
        reductions: null as in the search.
        channels: of the first block; null as in the search.
    """

    normal: Annotated[int, Field(ge=1, le=64)] | None = None
    reductions: Annotated[int, Field(ge=0, le=8)] | None = None
    channels: Width | None = None


def _different(cells: tuple[CellName, ...]) -> tuple[CellName, ...]:
    for index, cell in enumerate(cells):
        if cell in cells[:index]:
            message = f"'{cell}' is listed twice"
            raise PydanticCustomError("repeated_option", "{message}", {"message": message, "inner": (index,)})
    if cells == ("reduction",):
        message = "reduction cells alone make no network: add 'normal'"
        raise PydanticCustomError("repeated_option", "{message}", {"message": message, "inner": (0,)})
    return cells


class ConvCellSpec(Options):
    """The ``space`` block of conv cells.

    Attributes:
        kind: ``conv_cell``.
        image: channels, height and width of the images.
        cells: which are searched. Without ``reduction``, a plain factorised reduction stands in its place.
        nodes: number of nodes of each cell, the two inputs not counted (the paper: 5); or a choice of several numbers,
            which is then the first decision of each cell.
        each: what each node adds.
        output: how the output of a cell is formed.
        stack: the network that is searched in.
    """

    kind: Literal["conv_cell"] = "conv_cell"
    image: tuple[Count, Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = Field((3, 32, 32), strict=False)
    cells: Annotated[tuple[CellName, ...], Field(min_length=1, strict=False), AfterValidator(_different)] = (
        "normal",
        "reduction",
    )
    nodes: Count | ChooseCount
    each: Branches
    output: ConvOutput = ConvOutput()
    stack: Stack = Stack()

    @model_validator(mode="after")
    def _reductions_have_a_place(self) -> Self:
        if "reduction" in self.cells and self.stack.reductions == 0:
            message = "`reductions` must be at least 1 where `cells` holds 'reduction', found 0"
            inner = ("stack", "reductions")
            raise PydanticCustomError("repeated_option", "{message}", {"message": message, "inner": inner})
        most = most_halvings(self.image)
        if self.stack.reductions > most:
            size = f"{self.image[1]}x{self.image[2]}"
            message = f"`reductions` can be at most {most} for images of {size} pixels, found {self.stack.reductions}"
            inner = ("stack", "reductions")
            raise PydanticCustomError("repeated_option", "{message}", {"message": message, "inner": inner})
        return self
