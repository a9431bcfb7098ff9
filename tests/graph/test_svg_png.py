"""SVG and PNG files: well formed, harmless, complete."""

from __future__ import annotations

import re
import struct
from xml.etree import ElementTree

import pytest
from helpers import cell, pictures

from nasforge.graph.picture import Arrow, Box, Picture
from nasforge.graph.png import png_bytes
from nasforge.graph.svg import svg

_HOSTILE = '<script>alert("x")</script>&\'$\\frac{1$]]>'


def _hostile() -> Picture:
    name = _HOSTILE
    boxes = (
        Box(name, (name,), "input"),
        Box("b", (f"3 · {name}\n\x00\x1b",), "op"),
        Box("c", ("0",), "op", options=(name, "a")),
    )
    return Picture(boxes, (Arrow(name, "b"), Arrow(name, "c", emphasised=False)), title=name)


def _texts(document: str) -> list[str]:
    root = ElementTree.fromstring(document)
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_svg_is_xml_of_plain_shapes_only() -> None:
    allowed = {f"{{http://www.w3.org/2000/svg}}{tag}" for tag in ("svg", "title", "rect", "path", "polygon", "text")}
    for picture in (*pictures(cell(12)), _hostile()):
        root = ElementTree.fromstring(svg(picture))
        assert {element.tag for element in root.iter()} <= allowed
        names = {name for element in root.iter() for name in element.attrib}
        assert not [name for name in names if name.startswith("on") or "href" in name]


def test_svg_shows_every_label_and_operation() -> None:
    for picture in pictures(cell(12)):
        shown = _texts(svg(picture))
        for box in picture.boxes:
            for word in (*box.lines, *box.options):
                assert word in shown


def test_svg_has_one_course_and_one_head_per_arrow() -> None:
    for picture in pictures(cell(12)):
        document = svg(picture)
        assert document.count("<path ") == document.count("<polygon ") == len(picture.arrows)


def test_hostile_names_are_text_in_the_svg() -> None:
    document = svg(_hostile())
    assert "<script" not in document
    shown = _texts(document)
    assert _HOSTILE in shown
    assert f"3 · {_HOSTILE} \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}" in shown


def test_numbers_of_the_svg_are_short_and_finite() -> None:
    for picture in pictures(cell(12)):
        document = svg(picture)
        assert not re.search(r"nan|inf\b|\d\.\d{3}|\de[-+]?\d", re.sub(r"<text.*?</text>|#\w{6}", "", document))


@pytest.mark.parametrize("make", [_hostile, lambda: pictures(cell(12))[0], lambda: pictures(cell(12))[2]])
def test_png_is_a_png_of_the_size_of_the_svg(make: object) -> None:
    assert callable(make)
    picture = make()
    data = png_bytes(picture, dpi=80)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert 2_000 < len(data) < 1_000_000
    width, height = struct.unpack(">II", data[16:24])
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg(picture))
    assert found is not None
    assert width == pytest.approx(float(found.group(1)) * 80 / 72, abs=1.5)
    assert height == pytest.approx(float(found.group(2)) * 80 / 72, abs=1.5)


def test_png_is_the_same_twice() -> None:
    picture = pictures(cell(12))[0]
    assert png_bytes(picture, dpi=60) == png_bytes(picture, dpi=60)


def test_png_takes_names_in_scripts_that_the_font_lacks() -> None:
    assert png_bytes(Picture((Box("a", ("激活",), "op"),), ()), dpi=60).startswith(b"\x89PNG")


def test_empty_picture_has_files() -> None:
    empty = Picture((), ())
    ElementTree.fromstring(svg(empty))
    assert png_bytes(empty, dpi=60).startswith(b"\x89PNG")
