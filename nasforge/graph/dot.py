"""Graphviz files of pictures: boxes and arrows in the DOT language; the layout is Graphviz's."""

from __future__ import annotations

from itertools import groupby
from xml.sax.saxutils import escape

from nasforge.graph.boxes import FONT_SIZE, TITLE_SIZE
from nasforge.graph.drawing import (
    FAINT,
    FRAME,
    INK,
    PAPER,
    QUIET,
    arrow_colour,
    box_fill,
    printable,
    tint_fill,
)
from nasforge.graph.picture import Box, Picture

_FONT = "Helvetica"


def dot(picture: Picture) -> str:
    """`picture` as a directed graph in the DOT language; equal pictures give equal text.

    Boxes are ``n0``, ``n1``, ... in the order of the picture. Options are rows of an HTML-like label, the chosen bold.
    """
    names = {box.id: f"n{number}" for number, box in enumerate(picture.boxes)}
    title = f"label={_quoted(picture.title)}, labelloc=t, " if picture.title else ""
    lines = [
        "digraph {",
        f'  graph [{title}rankdir=TB, bgcolor="{PAPER}", '
        f'fontname="{_FONT}", fontsize={TITLE_SIZE:g}, fontcolor="{INK}"];',
        f'  node [shape=box, style="rounded,filled", fillcolor="{PAPER}", color="{FRAME}", '
        f'fontname="{_FONT}", fontsize={FONT_SIZE:g}, fontcolor="{INK}", height=0.3, margin="0.12,0.05"];',
    ]
    for group, boxes in groupby(picture.boxes, key=lambda box: box.group):
        listed = [f"  {names[box.id]} [{_attributes(box)}];" for box in boxes]
        if group:
            lines += [f"  subgraph {_cluster(group)} {{", f'    label={_quoted(group)}; color="{FAINT}";']
            listed = [*(f"  {line}" for line in listed), "  }"]
        lines += listed
    for strong in (False, True):
        arrows = [arrow for arrow in picture.arrows if arrow.emphasised == strong]
        if arrows:
            width, head = (1.3, 0.6) if strong else (0.6, 0.5)
            lines.append(f'  edge [color="{arrow_colour(arrows[0], picture)}", penwidth={width}, arrowsize={head}];')
            lines += [f"  {names[arrow.source]} -> {names[arrow.target]};" for arrow in arrows]
    return "\n".join([*lines, "}"]) + "\n"


def _cluster(group: str) -> str:
    """Graphviz frames what begins with ``cluster``."""
    return _quoted(f"cluster {group}")


def _attributes(box: Box) -> str:
    attributes = [f"label={_table(box) if box.options else _quoted(*box.lines)}"]
    if box.style in ("input", "output"):
        attributes.append("shape=plaintext, style=solid")
    elif (fill := box_fill(box)) != PAPER:
        attributes.append(f'fillcolor="{fill}"')
    if not box.emphasised:
        attributes.append(f'color="{FAINT}", fontcolor="{QUIET}"')
    return ", ".join(attributes)


def _quoted(*lines: str) -> str:
    """A quoted label. Graphviz reads backslashes as escapes and ``&`` as the start of an entity there."""
    coded = (printable(line).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") for line in lines)
    return '"' + r"\n".join(coded) + '"'


def _table(box: Box) -> str:
    rows = [_row(line, bold=True) for line in box.lines]
    for number, option in enumerate(box.options):
        if option in box.chosen:
            rows.append(_row(option, bold=True, fill=tint_fill(box.tints[number] if box.tints else -1)))
        else:
            rows.append(_row(option, ink=QUIET if box.chosen else ""))
    return "\n    ".join(['<<table border="0" cellborder="0" cellspacing="0" cellpadding="2">', *rows, "</table>>"])


def _row(text: str, *, bold: bool = False, fill: str = "", ink: str = "") -> str:
    # Graphviz replaces \N and its like by the names of things in HTML-like labels too.
    content = escape(printable(text).replace("\\", "\\\\")) or " "
    content = f"<b>{content}</b>" if bold else content
    content = f'<font color="{ink}">{content}</font>' if ink else content
    cell = f'<td bgcolor="{fill}">' if fill else "<td>"
    return f"<tr>{cell}{content}</td></tr>"
