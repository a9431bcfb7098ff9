"""SVG files of pictures: standalone, without scripts, links or embedded fonts."""

from __future__ import annotations

from xml.sax.saxutils import escape

from nasforge.graph.drawing import PAPER, Curve, Polygon, Rect, Shape, Text, drawing
from nasforge.graph.picture import Picture

_FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"


def svg(picture: Picture) -> str:
    """`picture` as a standalone SVG document, lengths in points; equal pictures give equal text."""
    sheet = drawing(picture)
    wide, high = _number(sheet.width), _number(sheet.height)
    # Bare numbers are CSS pixels, 3/4 of a point; some renderers give lengths in "pt" no size.
    size = f'width="{_number(sheet.width * 4 / 3)}" height="{_number(sheet.height * 4 / 3)}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {wide} {high}" role="img" font-family="{_FONT}">'
    )
    title = [f"<title>{escape(sheet.title)}</title>"] if sheet.title else []
    paper = f'<rect width="{wide}" height="{high}" fill="{PAPER}"/>'
    body = [head, *title, paper, *map(_shape, sheet.shapes), "</svg>"]
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', *body]) + "\n"


def _shape(shape: Shape) -> str:
    match shape:
        case Rect():
            stroke = f' stroke="{shape.stroke}" stroke-width="{_number(shape.stroke_width)}"' if shape.stroke else ""
            x, y, width, height = map(_number, (shape.x, shape.y, shape.width, shape.height))
            size = f'x="{x}" y="{y}" width="{width}" height="{height}" rx="{_number(shape.radius)}"'
            return f'<rect {size} fill="{shape.fill}"{stroke}/>'
        case Curve():
            pairs = [f"{_number(x)},{_number(y)}" for x, y in shape.points]
            path = f"M{pairs[0]} C{' '.join(pairs[1:])}"
            pen = f'stroke="{shape.stroke}" stroke-width="{_number(shape.stroke_width)}"'
            return f'<path d="{path}" fill="none" {pen}/>'
        case Polygon():
            corners = " ".join(f"{_number(x)},{_number(y)}" for x, y in shape.points)
            return f'<polygon points="{corners}" fill="{shape.fill}"/>'
        case Text():
            weight = ' font-weight="bold"' if shape.bold else ""
            place = f'x="{_number(shape.x)}" y="{_number(shape.y)}" font-size="{_number(shape.size)}"'
            return f'<text {place} text-anchor="middle" fill="{shape.fill}"{weight}>{escape(shape.text)}</text>'


def _number(value: float) -> str:
    """At most two decimals, no trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
