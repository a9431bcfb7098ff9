"""Identifiers and docstrings of exported code: the only ways in which foreign text enters it (promise P13).

Names of nodes, owners and labels may come from plugins, titles and facts from users. The former are reduced to
identifiers of one pattern; the latter become escaped lines of a docstring.
"""

from __future__ import annotations

import builtins
import keyword
import re
import textwrap
from collections.abc import Iterable, Sequence

LINE_LENGTH = 120

_PATTERN = re.compile(r"[a-z][a-z0-9_]*")
_LONGEST = 32
# Linters refuse 'l' for its likeness to '1' (E741).
_NEVER = frozenset(dir(builtins)) | frozenset(keyword.kwlist) | {"l", "self"}


def identifier(text: str) -> str:
    """Any text as lower-case words and numbers joined by ``_``, e.g. ``node3.masked`` as ``node_3_masked``."""
    words = re.findall(r"[a-z]+|[0-9]+", text.lower())
    name = "_".join(words)[:_LONGEST].rstrip("_")
    return name if _PATTERN.fullmatch(name) else f"value_{name}".rstrip("_")


class Namespace:
    """Hands out identifiers, each once.

    Args:
        reserved: names that are taken from the start, besides Python's own.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._taken = {*_NEVER, *reserved}

    def take(self, text: str) -> str:
        """An identifier made of `text` that nobody has, numbered where it must be."""
        base = name = identifier(text)
        number = 2
        while name in self._taken:
            name = f"{base}_{number}"
            number += 1
        self._taken.add(name)
        return name


def docstring_lines(text: str, *, first: str = "", rest: str = "") -> list[str]:
    r"""`text` as lines that may stand in a docstring: white space folded, quotes and backslashes escaped, wrapped.

    Args:
        text: anything, newlines and lone surrogates included.
        first: what the first line starts with; not escaped.
        rest: what the others start with; not escaped.
    """
    escaped = "".join(_escape(character) for character in " ".join(text.split()))
    # Single quotes in the text read well as they are; three of them would end the docstring.
    escaped = escaped.replace('"""', r"\"\"\"")
    return textwrap.wrap(
        escaped,
        LINE_LENGTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def string_literal(text: str) -> str:
    """Any text as a string on one line, in the quotes that formatters prefer."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    return quote + "".join(_escape(character) for character in text).replace(quote, f"\\{quote}") + quote


def tuple_literal(name: str, values: Sequence[str]) -> list[str]:
    """The assignment of a tuple, laid out as formatters do: on one line, or each value on its own."""
    line = f"{name} = ({', '.join(values)}{',' * (len(values) == 1)})"
    return [line] if len(line) <= LINE_LENGTH else [f"{name} = (", *(f"    {value}," for value in values), ")"]


def _escape(character: str) -> str:
    if character == "\\":
        return r"\\"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
