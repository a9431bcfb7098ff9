"""Graphviz and Mermaid files: exact small texts, every box and arrow, hostile names."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from helpers import pictures

from nasforge.cli.common import load_plugins
from nasforge.graph.dot import dot
from nasforge.graph.mermaid import mermaid
from nasforge.graph.picture import Arrow, Box, Picture
from nasforge.run.compile import compile_space
from nasforge.spec.run_spec import load_run_spec

ROOT = Path(__file__).parents[2]

SMALL = Picture(
    (
        Box("x", ("x[t]",), "input"),
        Box("a", ("0 · relu",), "op", tints=(1,)),
        Box("b", ("1",), "op", options=("tanh", "f(0.1)"), chosen=("tanh",), tints=(0, 1)),
        Box("c", ("2",), "op", emphasised=False),
    ),
    (Arrow("x", "a"), Arrow("a", "b"), Arrow("a", "c", emphasised=False)),
    title="small",
)

SMALL_DOT = """\
digraph {
  graph [label="small", labelloc=t, rankdir=TB, bgcolor="#ffffff", fontname="Helvetica", fontsize=11.5, fontcolor="#1f2933"];
  node [shape=box, style="rounded,filled", fillcolor="#ffffff", color="#52606d", fontname="Helvetica", fontsize=10, fontcolor="#1f2933", height=0.3, margin="0.12,0.05"];
  n0 [label="x[t]", shape=plaintext, style=solid];
  n1 [label="0 · relu", fillcolor="#fbdfd3"];
  n2 [label=<<table border="0" cellborder="0" cellspacing="0" cellpadding="2">
    <tr><td><b>1</b></td></tr>
    <tr><td bgcolor="#d5e5f6"><b>tanh</b></td></tr>
    <tr><td><font color="#8a94a0">f(0.1)</font></td></tr>
    </table>>];
  n3 [label="2", color="#c3cad2", fontcolor="#8a94a0"];
  edge [color="#c3cad2", penwidth=0.6, arrowsize=0.5];
  n1 -> n3;
  edge [color="#c0341d", penwidth=1.3, arrowsize=0.6];
  n0 -> n1;
  n1 -> n2;
}
"""

SMALL_MERMAID = """\
---
title: "small"
---
flowchart TB
  n0["x[t]"]:::bare
  n1("0 · relu"):::tint1
  n2("<b>1</b><br/><b>tanh</b><br/>f#40;0.1#41;"):::op
  n3("2"):::opFaint
  n1 -.-> n3
  n0 --> n1
  n1 --> n2
  classDef bare fill:none,stroke:none,color:#1f2933
  classDef tint1 fill:#fbdfd3,stroke:#52606d,color:#1f2933
  classDef op fill:#ffffff,stroke:#52606d,color:#1f2933
  classDef opFaint fill:#ffffff,stroke:#c3cad2,color:#8a94a0
  linkStyle 0 stroke:#c3cad2,stroke-width:1px
  linkStyle 1,2 stroke:#c0341d,stroke-width:2px
"""

HOSTILE = (
    '<script>alert("x")</script>&\'$\\frac{1$]]>',
    "style:x#y;",
    "ends in \\",
    "\\N\\G\\l",
    '"',
    "&amp;&#35;#quot;",
    "1. one",
    "- a",
    "`code` **b** [a](b) https://a.b",
    "%%{init: {}}%%",
    "end",
    "--> n1; click n0",
    "激活 é",
)

_TOKEN = re.compile(
    r'\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<word>[A-Za-z_]\w*|[0-9]+(?:\.[0-9]+)?)|(?P<arrow>->)|(?P<mark>[{}\[\]=,;])|(?P<html><))'
)


def _tokens(text: str) -> list[str]:
    """DOT as tokens, strictly: what is no token is an error. An HTML-like text is one token, with its brackets."""
    tokens, at = [], 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        assert found is not None, text[at : at + 60]
        start, at = found.start(found.lastgroup or 0), found.end()
        if found.lastgroup == "html":
            depth = 1
            while depth:
                depth += {"<": 1, ">": -1}.get(text[at], 0)
                at += 1
        tokens.append(text[start:at])
    return tokens


def _parsed(text: str) -> tuple[dict[str, dict[str, str]], list[tuple[str, str, str]]]:
    """Attributes by node (and of ``graph``), and arrows as (source, target, colour)."""
    tokens = _tokens(text)
    assert tokens[:2] == ["digraph", "{"] and tokens[-1] == "}"
    described: dict[str, dict[str, str]] = {}
    arrows, colour, statement = [], "", list[str]()
    for token in tokens[2:-1]:
        if token != ";":
            statement.append(token)
            continue
        if statement[1] == "->":
            source, _, target = statement
            assert {source, target} <= set(described)
            arrows.append((source, target, colour))
        else:
            assert statement[1] == "[" and statement[-1] == "]"
            inner = [*statement[2:-1], ","]
            assert len(inner) % 4 == 0 and set(inner[1::4]) == {"="} and set(inner[3::4]) == {","}
            attributes = dict(zip(inner[::4], inner[2::4], strict=True))
            colour = attributes["color"] if statement[0] == "edge" else colour
            if statement[0] != "edge":
                assert statement[0] not in described
                described[statement[0]] = attributes
        statement = []
    assert not statement
    return described, arrows


def _words(label: str) -> list[str]:
    """The lines of a DOT label as Graphviz shows them."""
    if label.startswith("<"):
        cells = ElementTree.fromstring(label[1:-1]).iter("td")
        return [re.sub(r"\\(.)", r"\1", "".join(cell.itertext())) for cell in cells]
    lines = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], label[1:-1])
    return html.unescape(lines).split("\n")


_NODE = re.compile(r'  (n\d+)(?:\["([^"\n]+)"\]|\("([^"\n]+)"\)):::(\w+)')


def _chart(text: str) -> tuple[dict[str, list[str]], list[tuple[str, str, str]]]:
    """Shown lines by node, and arrows as (source, kind, target); every line must be known."""
    nodes: dict[str, list[str]] = {}
    arrows = []
    for line in text[text.index("flowchart TB\n") :].splitlines()[1:]:
        if node := _NODE.fullmatch(line):
            label = re.sub(r"</?b>", "", node[2] or node[3])
            assert "<" not in label.replace("<br/>", "")
            nodes[node[1]] = [_decoded(part) for part in label.split("<br/>")]
        elif arrow := re.fullmatch(r"  (n\d+) (-->|-\.->) (n\d+)", line):
            assert arrow[1] in nodes and arrow[3] in nodes
            arrows.append((arrow[1], arrow[2], arrow[3]))
        else:
            assert re.fullmatch(r"  classDef \w+ [\w:#,]+|  linkStyle [\d,]+ [\w:#,-]+", line), line
    return nodes, arrows


def _decoded(label: str) -> str:
    text = re.sub(r"#(\d+|quot);", lambda found: '"' if found[1] == "quot" else chr(int(found[1])), label)
    return text.replace("\N{WORD JOINER}", "")


def _pictures() -> list[Picture]:
    plugins = load_plugins(None)
    spec = load_run_spec(ROOT / "spaces" / "ptb_rnn.yaml", plugins, profile=None, overrides=())
    return pictures(compile_space(spec, "search", plugins.catalogue.operations))


def _hostile() -> Picture:
    boxes = [Box(f"box {number}", (name, name), "op") for number, name in enumerate(HOSTILE)]
    last = Box("last", ("0",), "op", options=HOSTILE, chosen=HOSTILE[::2])
    return Picture((*boxes, last), tuple(Arrow(box.id, "last") for box in boxes), title=" ".join(HOSTILE))


def test_small_picture_in_dot() -> None:
    assert dot(SMALL) == SMALL_DOT


def test_small_picture_in_mermaid() -> None:
    assert mermaid(SMALL) == SMALL_MERMAID


def test_every_box_and_arrow_of_a_cell_of_twelve_nodes_is_in_both() -> None:
    for picture in _pictures():
        names = {box.id: f"n{number}" for number, box in enumerate(picture.boxes)}
        expected = {(names[arrow.source], names[arrow.target]) for arrow in picture.arrows}
        described, arrows = _parsed(dot(picture))
        shown, courses = _chart(mermaid(picture))
        assert len(arrows) == len(courses) == len(picture.arrows)
        assert {arrow[:2] for arrow in arrows} == {(source, target) for source, _, target in courses} == expected
        assert set(described) - {"graph", "node"} == set(shown) == set(names.values())
        for box in picture.boxes:
            words = [*box.lines, *box.options]
            assert _words(described[names[box.id]]["label"]) == shown[names[box.id]] == words


def test_an_overlay_tells_the_chosen_from_the_rest() -> None:
    picture = _pictures()[2]
    names = {box.id: f"n{number}" for number, box in enumerate(picture.boxes)}
    strong = {(names[arrow.source], names[arrow.target]) for arrow in picture.arrows if arrow.emphasised}
    described, arrows = _parsed(dot(picture))
    assert 0 < len(strong) < len(arrows)
    assert {arrow[:2] for arrow in arrows if arrow[2] == '"#c0341d"'} == strong
    assert {arrow[2] for arrow in arrows} == {'"#c0341d"', '"#c3cad2"'}
    document = mermaid(picture)
    assert {(source, target) for source, kind, target in _chart(document)[1] if kind == "-->"} == strong
    for box in picture.boxes:
        if box.chosen:
            label = described[names[box.id]]["label"]
            assert [option for option in box.options if f"<b>{option}</b>" in label] == list(box.chosen)
            (line,) = (line for line in document.splitlines() if line.startswith(f"  {names[box.id]}("))
            assert [option for option in box.options if f"<b>{option}</b>" in line] == list(box.chosen)


def test_hostile_names_are_text_in_dot() -> None:
    described, arrows = _parsed(dot(_hostile()))
    assert len(arrows) == len(HOSTILE) and len(described) == len(HOSTILE) + 3
    for number, name in enumerate(HOSTILE):
        assert _words(described[f"n{number}"]["label"]) == [name, name]
    label = described[f"n{len(HOSTILE)}"]["label"]
    assert _words(label) == ["0", *HOSTILE]
    assert _words(described["graph"]["label"]) == [" ".join(HOSTILE)]


def test_hostile_names_are_text_in_mermaid() -> None:
    document = mermaid(_hostile())
    shown, courses = _chart(document)
    assert len(courses) == len(HOSTILE)
    for number, name in enumerate(HOSTILE):
        assert shown[f"n{number}"] == [name, name]
    assert shown[f"n{len(HOSTILE)}"] == ["0", *HOSTILE]
    head = yaml.safe_load(document.split("---\n")[1])
    assert head == {"title": " ".join(HOSTILE).replace("<", "‹").replace(">", "›")}


def test_mermaid_is_kept_from_reading_icons_and_line_breaks() -> None:
    document = mermaid(Picture((Box("a", ("fa:fa-car \\n",), "op"),), ()))
    assert "fa#58;\N{WORD JOINER}fa-car #92;\N{WORD JOINER}n" in document


@pytest.mark.parametrize("write", [dot, mermaid])
def test_line_breaks_and_control_characters_stay_out(write: Callable[[Picture], str]) -> None:
    plain = write(Picture((Box("a", ("x y\N{REPLACEMENT CHARACTER}",), "op"),), (), title="t t"))
    assert write(Picture((Box("a", ("x\ny\x1b",), "op"),), (), title="t\nt")) == plain


@pytest.mark.parametrize("write", [dot, mermaid])
def test_pictures_without_title_labels_or_boxes_are_written(write: Callable[[Picture], str]) -> None:
    assert "label=" not in write(Picture((), ())) and "title" not in write(Picture((), ()))
    assert '""' not in mermaid(Picture((Box("a", ("",), "op"), Box("b", (), "input")), ()))


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_reads_what_is_written() -> None:
    for picture in (SMALL, *_pictures(), _hostile()):
        done = subprocess.run(["dot", "-Tsvg"], input=dot(picture).encode(), capture_output=True, check=True)
        root = ElementTree.fromstring(done.stdout)
        texts = [(element.text or "").replace("\xa0", " ") for element in root.iter("{http://www.w3.org/2000/svg}text")]
        for box in picture.boxes:
            assert {*box.lines, *box.options} <= set(texts)
