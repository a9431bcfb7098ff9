"""Mermaid flowcharts of pictures, for Markdown pages that draw them; the layout is Mermaid's."""

from __future__ import annotations

import json
import re
from itertools import groupby

from nasforge.graph.drawing import FAINT, FRAME, INK, QUIET, TINTS, arrow_colour, box_fill, printable
from nasforge.graph.picture import Arrow, Box, Picture

# Mermaid reads a label as HTML and as Markdown before it decodes its entities, so whatever could be either is coded.
# Left as they are: a decimal point, `-` and `_` inside a word, and `[],=`, which mean nothing within quotes. A ":"
# would make a line with the word "style" lose its last ";".
_CODED = re.compile(r"(?!(?<=[0-9])\.(?=[0-9])|(?<=[^\W_])[-_](?=[^\W_])|[\[\],=])[!-/:-@\[-`{-~]")
# What Mermaid still reads after it decoded its entities: a line break, an icon, its own form of an entity. A word
# joiner, which has no width, stands between.
_SPLIT = re.compile(r"\\(?=n)|:(?=fa-)|ﬂ(?=°)|¶(?=ß)")
_JOINER = "\N{WORD JOINER}"
# Mermaid takes tags out of a title, and it decodes no entities there.
_TITLE = str.maketrans("<>", "‹›")


def mermaid(picture: Picture) -> str:
    """`picture` as a Mermaid flowchart; equal pictures give equal text.

    Boxes are ``n0``, ``n1``, ... in the order of the picture. Options are lines of the label, the chosen bold. Faint
    arrows are dotted, so that they are told apart where a page brings its own colours.
    """
    names = {box.id: f"n{number}" for number, box in enumerate(picture.boxes)}
    head: list[str] = []
    if picture.title:
        # The head is YAML, and a text in JSON is one in YAML.
        title = json.dumps(printable(picture.title).translate(_TITLE), ensure_ascii=False)
        head = ["---", f"title: {title}", "---"]
    boxes: list[str] = []
    for number, (group, members) in enumerate(groupby(picture.boxes, key=lambda box: box.group)):
        listed = [f"  {names[box.id]}{_shape(box)}:::{_style(box)[0]}" for box in members]
        if group:
            listed = [f'  subgraph g{number} ["{_label(group)}"]', *(f"  {line}" for line in listed), "  end"]
        boxes += listed
    arrows = sorted(picture.arrows, key=lambda arrow: arrow.emphasised)
    courses = [
        f"  {names[arrow.source]} {'-->' if arrow.emphasised else '-.->'} {names[arrow.target]}" for arrow in arrows
    ]
    styles = [f"  classDef {name} {style}" for name, style in dict(map(_style, picture.boxes)).items()]
    return "\n".join([*head, "flowchart TB", *boxes, *courses, *styles, *_pens(arrows, picture)]) + "\n"


def _shape(box: Box) -> str:
    lines = [_label(line) for line in box.lines]
    if box.options:
        options = (f"<b>{_label(option)}</b>" if option in box.chosen else _label(option) for option in box.options)
        lines = [*(f"<b>{line}</b>" for line in lines), *options]
    # An empty label between quotes is a syntax error.
    label = "<br/>".join(lines) or " "
    return f'["{label}"]' if box.style in ("input", "output") else f'("{label}")'


def _label(text: str) -> str:
    split = _SPLIT.sub(lambda found: found[0] + _JOINER, printable(text))
    return _CODED.sub(lambda found: "#quot;" if found[0] == '"' else f"#{ord(found[0])};", split)


def _style(box: Box) -> tuple[str, str]:
    """The name and the properties of the class that `box` belongs to."""
    ink = INK if box.emphasised else QUIET
    suffix = "" if box.emphasised else "Faint"
    if box.style in ("input", "output"):
        return f"bare{suffix}", f"fill:none,stroke:none,color:{ink}"
    fill = box_fill(box)
    name = f"tint{TINTS.index(fill)}" if fill in TINTS else box.style
    return f"{name}{suffix}", f"fill:{fill},stroke:{FRAME if box.emphasised else FAINT},color:{ink}"


def _pens(arrows: list[Arrow], picture: Picture) -> list[str]:
    """Colours of arrows; Mermaid counts them in the order in which they are written."""
    pens = []
    for strong in (False, True):
        numbers = [str(number) for number, arrow in enumerate(arrows) if arrow.emphasised == strong]
        if numbers:
            colour = arrow_colour(arrows[int(numbers[0])], picture)
            pens.append(f"  linkStyle {','.join(numbers)} stroke:{colour},stroke-width:{2 if strong else 1}px")
    return pens
