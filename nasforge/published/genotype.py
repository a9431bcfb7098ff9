"""A strict reader of the text form of DARTS' genotypes; nothing is evaluated.

::

    text    = "Genotype" "(" field ("," field)* [","] ")"
    field   = pairs "=" "[" [pair ("," pair)* [","]] "]"  |  concat "=" (numbers | range)
    pair    = "(" 'operation' "," number ")"
    range   = "range" "(" [number ","] number ")"
    numbers = "[" [number ("," number)* [","]] "]", or the same in "(" ")"

`Form` says what the fields are called: ``recurrent`` and ``concat`` of a recurrent genotype; ``normal``,
``normal_concat``, ``reduce`` and ``reduce_concat`` of a convolutional one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from nasforge.errors import UsageError
from nasforge.spec.nodes import printable

MAX_CHARACTERS = 1 << 16
MAX_NODES = 1000

_TOKEN = re.compile(
    r"\s*(?:(?P<word>[A-Za-z_]\w*)|(?P<number>\d{1,4})(?!\w)|(?P<text>'[^']*'|\"[^\"]*\")|(?P<sign>[(),=\[\]]))"
)

Item = TypeVar("Item")


@dataclass(frozen=True)
class Form:
    """A kind of genotype.

    Attributes:
        name: of the encoding, for messages.
        cells: for each cell the fields of its pairs and of its concatenation; the first cell must be given.
        example: a text of this form, for messages.
    """

    name: str
    cells: Mapping[str, str]
    example: str


@dataclass(frozen=True)
class CellGenes:
    """One cell of a genotype.

    Attributes:
        pairs: operations and the values that they read.
        concat: the nodes that make up the output.
    """

    pairs: tuple[tuple[str, int], ...]
    concat: tuple[int, ...]


def parse_genotype(text: str, form: Form) -> Mapping[str, CellGenes]:
    """The cells of a genotype, by the name of the field of their pairs.

    Raises:
        UsageError: the text is not of this form; the message says what was expected and where.
    """
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"{form.name}: a text of {len(text):,} characters; at most {MAX_CHARACTERS:,} are read")
    return _Parser(text, form).genotype()


class _Parser:
    """Reads tokens from left to right; every method leaves the place behind what it read."""

    def __init__(self, text: str, form: Form) -> None:
        self._text = text
        self._form = form
        self._at = 0

    def genotype(self) -> Mapping[str, CellGenes]:
        cells = self._form.cells
        pairs: dict[str, list[tuple[str, int]]] = {}
        concats: dict[str, list[int]] = {}
        self._expect("Genotype")
        self._expect("(")
        while not self._next_is(")"):
            fields = [field for cell in cells.items() for field in cell if field not in pairs and field not in concats]
            field = next((each for each in fields if self._next_is(each)), None)
            if field is None:
                self._stop(" or ".join(f"'{each}='" for each in fields) or "')'")
            self._expect(field)
            self._expect("=")
            if field in cells:
                pairs[field] = self._list("[", self._pair)
            else:
                concats[field] = self._range() if self._next_is("range") else self._numbers()
            if not self._next_is(")"):
                self._expect(",")
        first = next(iter(cells))
        for cell, concat in cells.items():
            if cell == first or cell in pairs or concat in concats:
                if cell not in pairs:
                    self._stop(f"'{cell}='")
                if concat not in concats:
                    self._stop(f"'{concat}='")
        self._expect(")")
        if self._text[self._at :].strip():
            self._stop("the end")
        return {cell: CellGenes(tuple(pairs[cell]), tuple(concats[cells[cell]])) for cell in pairs}

    def _pair(self) -> tuple[str, int]:
        self._expect("(")
        operation = self._take("text", "an operation in quotes")[1:-1]
        self._expect(",")
        source = int(self._take("number", "the number of a node"))
        self._expect(")")
        return operation, source

    def _numbers(self) -> list[int]:
        return self._list("(" if self._next_is("(") else "[", lambda: int(self._take("number", "the number of a node")))

    def _range(self) -> list[int]:
        self._expect("range")
        bounds = self._list("(", lambda: int(self._take("number", "a number")))
        if len(bounds) not in (1, 2):
            self._stop("range(stop) or range(start, stop)")
        return list(range(*bounds))

    def _list(self, opening: str, item: Callable[[], Item]) -> list[Item]:
        closing = {"[": "]", "(": ")"}[opening]
        self._expect(opening)
        items: list[Item] = []
        while not self._next_is(closing):
            items.append(item())
            if len(items) > MAX_NODES:
                self._stop(f"at most {MAX_NODES} items")
            if not self._next_is(closing):
                self._expect(",")
        self._expect(closing)
        return items

    def _next_is(self, token: str) -> bool:
        found = _TOKEN.match(self._text, self._at)
        return found is not None and found.group().strip() == token

    def _expect(self, token: str) -> None:
        if not self._next_is(token):
            self._stop(f"'{token}'")
        self._advance()

    def _take(self, group: str, what: str) -> str:
        found = _TOKEN.match(self._text, self._at)
        if found is None or found.group(group) is None:
            self._stop(what)
        self._advance()
        return found.group(group)

    def _advance(self) -> None:
        found = _TOKEN.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _stop(self, expected: str) -> NoReturn:
        rest = self._text[self._at :].lstrip()
        column = len(self._text) - len(rest) + 1
        found = f"'{printable(rest, 40)}'" if rest else "the end"
        raise UsageError(
            f"{self._form.name}: expected {expected} at character {column}, found {found}; "
            f"the form is {self._form.example}"
        )
