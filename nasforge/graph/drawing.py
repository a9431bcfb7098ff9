"""A laid-out picture as shapes with colours: what SVG and PNG draw alike. Lengths are in points.

The colours are also those of `nasforge.graph.dot` and `nasforge.graph.mermaid`, which leave the layout to others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nasforge.graph.boxes import CHIP_PAD, FONT_SIZE, TITLE_SIZE, Word
from nasforge.graph.layout import HEAD, PlacedBox, Point, Route, layout
from nasforge.graph.picture import Arrow, Box, Picture

INK = "#1f2933"
QUIET = "#8a94a0"
FRAME = "#52606d"
FAINT = "#c3cad2"
ACCENT = "#c0341d"
MERGE = "#eceff2"
PAPER = "#ffffff"

TINTS = ("#d5e5f6", "#fbdfd3", "#dcefd6", "#fbeec2", "#e6dcf3", "#cfeeea", "#f6d9e6", "#e9e3d5")
"""Pale fills, told apart in colour-blind vision as far as pale fills can be; the text says the rest."""


@dataclass(frozen=True)
class Rect:
    """A rectangle with rounded corners; `stroke` empty for none."""

    x: float
    y: float
    width: float
    height: float
    radius: float
    fill: str
    stroke: str = ""
    stroke_width: float = 0.0


@dataclass(frozen=True)
class Curve:
    """A start and cubic Bézier segments."""

    points: tuple[Point, ...]
    stroke: str
    stroke_width: float


@dataclass(frozen=True)
class Polygon:
    """A filled polygon."""

    points: tuple[Point, ...]
    fill: str


@dataclass(frozen=True)
class Text:
    """One line, centred at `x`, its baseline at `y`. What is no printable character is replaced."""

    text: str
    x: float
    y: float
    size: float
    fill: str
    bold: bool = False


Shape = Rect | Curve | Polygon | Text


@dataclass(frozen=True)
class Drawing:
    """Shapes from back to front on a white sheet."""

    title: str
    width: float
    height: float
    shapes: tuple[Shape, ...]


def drawing(picture: Picture) -> Drawing:
    """Lay `picture` out and give it colours."""
    placed = layout(picture)
    shapes: list[Shape] = []
    for text, (x, y) in placed.captions:
        shapes.append(Text(printable(text), round(x, 2), round(y, 2), TITLE_SIZE, INK, bold=True))
    for strong in (False, True):
        for route in placed.routes:
            if route.arrow.emphasised == strong:
                shapes += _arrow(route, arrow_colour(route.arrow, picture))
    for box in placed.boxes:
        shapes += _box(box)
    return Drawing(printable(picture.title), round(placed.width, 2), round(placed.height, 2), tuple(shapes))


def printable(text: str) -> str:
    """`text` on one line, without characters that XML forbids or that move the pen."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)


def arrow_colour(arrow: Arrow, picture: Picture) -> str:
    """The colour of `arrow`: strong ones stand out where `picture` has faint ones too."""
    if not arrow.emphasised:
        return FAINT
    return INK if all(other.emphasised for other in picture.arrows) else ACCENT


def box_fill(box: Box) -> str:
    """What a box with a frame is filled with: the colour of its operation where it has one."""
    if box.tints and not box.options and len(set(box.tints)) == 1:
        return tint_fill(box.tints[0])
    return MERGE if box.style == "merge" else PAPER


def tint_fill(tint: int) -> str:
    """The fill of an operation by the number of its colour, -1 for none."""
    return TINTS[tint % len(TINTS)] if tint >= 0 else MERGE


def _arrow(route: Route, colour: str) -> list[Shape]:
    strong = route.arrow.emphasised
    (x, y), (bx, by) = route.points[-1], route.points[-4]
    length = math.hypot(x - bx, y - by)
    ux, uy = (x - bx) / length, (y - by) / length
    half = 2.8 if strong else 2.2
    base = (x - ux * HEAD, y - uy * HEAD)
    head = ((x, y), (base[0] - uy * half, base[1] + ux * half), (base[0] + uy * half, base[1] - ux * half))
    corners = tuple((round(px, 2), round(py, 2)) for px, py in head)
    return [Curve(route.points[:-3], colour, 1.3 if strong else 0.6), Polygon(corners, colour)]


def _box(placed: PlacedBox) -> list[Shape]:
    box, content = placed.box, placed.content
    ink = INK if box.emphasised else QUIET
    framed = box.style in ("op", "merge")
    shapes: list[Shape] = []
    if framed:
        stroke = FRAME if box.emphasised else FAINT
        shapes.append(Rect(placed.x, placed.y, placed.width, placed.height, 7.0, box_fill(box), stroke, 0.9))
    dx, dy = placed.x + (placed.width - content.width) / 2, placed.y
    for word in content.words:
        x, y = dx + word.x, dy + word.y
        if word.role == "chosen":
            shapes.append(_chip(word, x, y))
        fill = ink if word.role != "option" or not box.chosen else QUIET
        bold = word.role == "chosen" or (bool(box.options) and word.role == "label")
        baseline = round(y + 0.36 * FONT_SIZE, 2)
        shapes.append(Text(printable(word.text), round(x, 2), baseline, FONT_SIZE, fill, bold))
    return shapes


def _chip(word: Word, x: float, y: float) -> Rect:
    width = word.width + 2 * CHIP_PAD
    return Rect(round(x - width / 2, 2), round(y - 8, 2), round(width, 2), 16.0, 5.0, tint_fill(word.tint))
