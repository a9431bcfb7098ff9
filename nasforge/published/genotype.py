"""A strict reader of the text form of DARTS' recurrent genotypes; nothing is evaluated.

::

    text   = "Genotype" "(" field ("," field)* [","] ")"
    field  = "recurrent" "=" "[" [pair ("," pair)* [","]] "]"  |  "concat" "=" (numbers | range)
    pair   = "(" 'operation' "," number ")"
    range  = "range" "(" [number ","] number ")"
    numbers = "[" [number ("," number)* [","]] "]", or the same in "(" ")"
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn, TypeVar

from nasforge.errors import UsageError
from nasforge.spec.nodes import printable

MAX_CHARACTERS = 1 << 16
MAX_NODES = 1000

_TOKEN = re.compile(
    r"\s*(?:(?P<word>[A-Za-z_]\w*)|(?P<number>\d{1,4})(?!\w)|(?P<text>'[^']*'|\"[^\"]*\")|(?P<sign>[(),=\[\]]))"
)

Item = TypeVar("Item")


def parse_genotype(text: str) -> tuple[list[tuple[str, int]], list[int]]:
    """The pairs (operation, predecessor) of nodes 1, 2, ..., and the nodes that are averaged.

    Raises:
        UsageError: the text is not of this form; the message says what was expected and where.
    """
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"darts-rnn: a text of {len(text):,} characters; at most {MAX_CHARACTERS:,} are read")
    return _Parser(text).genotype()


class _Parser:
    """Reads tokens from left to right; every method leaves the place behind what it read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def genotype(self) -> tuple[list[tuple[str, int]], list[int]]:
        self._expect("Genotype")
        self._expect("(")
        pairs: list[tuple[str, int]] | None = None
        concat: list[int] | None = None
        while not self._next_is(")"):
            if self._next_is("recurrent") and pairs is None:
                self._expect("recurrent")
                self._expect("=")
                pairs = self._list("[", self._pair)
            elif self._next_is("concat") and concat is None:
                self._expect("concat")
                self._expect("=")
                concat = self._range() if self._next_is("range") else self._numbers()
            else:
                missing = [key for key, value in (("'recurrent='", pairs), ("'concat='", concat)) if value is None]
                self._stop(" or ".join(missing) or "')'")
            if not self._next_is(")"):
                self._expect(",")
        if pairs is None or concat is None:
            self._stop("'recurrent='" if pairs is None else "'concat='")
        self._expect(")")
        if self._text[self._at :].strip():
            self._stop("the end")
        return pairs, concat

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
            f"darts-rnn: expected {expected} at character {column}, found {found}; "
            "the form is Genotype(recurrent=[('tanh', 0), ...], concat=range(1, 9))"
        )
