"""What stands inside a box, and how large it is. Lengths are in points (1/72 inch)."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

from nasforge.graph.picture import Box

FONT_SIZE = 10.0
TITLE_SIZE = 11.5
LINE = 14.0
CHIP_PAD = 6.0
_PAD = 11.0
_HEAD = 29.0
_CHIP_GAP = 4.0
_CHIP_ROW = 17.0
_ROW_WIDTH = 330.0

_NARROW = frozenset("ijltfr.,:;|!'`[](){}/\\ ·-")
_WIDE = frozenset("mwMW@%&—")


@dataclass(frozen=True)
class Word:
    """A piece of text, centred at (`x`, `y`) from the top left corner of its box's content.

    Attributes:
        text: what is written.
        x: points to the right.
        y: points downwards.
        width: estimated width.
        role: ``label``, ``option`` or ``chosen`` (an option that is marked).
        tint: number of its colour, -1 for none.
    """

    text: str
    x: float
    y: float
    width: float
    role: Literal["label", "option", "chosen"] = "label"
    tint: int = -1


@dataclass(frozen=True)
class Content:
    """The words of a box and the room that they need, padding included."""

    width: float
    height: float
    words: tuple[Word, ...]


def text_width(text: str, size: float = FONT_SIZE) -> float:
    """An estimate on the safe side: the font of an SVG is the viewer's, so widths cannot be known."""
    return size * sum(map(_advance, text))


def _advance(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if character in _NARROW:
        return 0.4
    if character in _WIDE:
        return 0.95
    return 0.7 if character.isupper() else 0.62


def arrange(box: Box) -> Content:
    """Place the words of `box`: label lines under one another; options in a grid to the right of the label."""
    widths = [text_width(line) for line in box.lines]
    if box.options:
        return _with_options(box, max(widths, default=0.0))
    pad = 4.0 if box.style in ("input", "output") else _PAD
    width = max(max(widths, default=0.0) + 2 * pad, 30.0)
    height = LINE * max(len(box.lines), 1) + (4.0 if box.style in ("input", "output") else 9.0)
    top = (height - LINE * len(box.lines)) / 2
    words = tuple(
        Word(line, width / 2, top + LINE * (row + 0.5), wide)
        for row, (line, wide) in enumerate(zip(box.lines, widths, strict=True))
    )
    return Content(width, height, words)


def _with_options(box: Box, label_width: float) -> Content:
    wide = [text_width(option) + 2 * CHIP_PAD for option in box.options]
    columns = len(wide)
    while columns > 1 and sum(_column_widths(wide, columns)) + _CHIP_GAP * (columns - 1) > _ROW_WIDTH:
        columns -= 1
    columns = -(-len(wide) // -(-len(wide) // columns))
    column = _column_widths(wide, columns)
    rows = -(-len(wide) // columns)
    head = max(_HEAD, label_width + 14.0)
    height = rows * _CHIP_ROW + (rows - 1) * 2.0 + 8.0
    words = [
        Word(line, 4.0 + head / 2, height / 2 + LINE * (row - (len(box.lines) - 1) / 2), text_width(line))
        for row, line in enumerate(box.lines)
    ]
    for number, option in enumerate(box.options):
        row, at = divmod(number, columns)
        x = 4.0 + head + sum(column[:at]) + _CHIP_GAP * at + column[at] / 2
        y = 4.0 + row * (_CHIP_ROW + 2.0) + _CHIP_ROW / 2
        role: Literal["option", "chosen"] = "chosen" if option in box.chosen else "option"
        words.append(Word(option, x, y, column[at] - 2 * CHIP_PAD, role, box.tints[number] if box.tints else -1))
    return Content(head + sum(column) + _CHIP_GAP * (columns - 1) + 9.0, height, tuple(words))


def _column_widths(wide: list[float], columns: int) -> list[float]:
    return [max(wide[at::columns]) for at in range(columns)]
