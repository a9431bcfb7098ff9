"""Pictures of architectures and spaces before they have coordinates: boxes and arrows.

An architecture is drawn as in figure 1 of ENAS (Pham et al. 2018): the chosen edges only, the leaves going into
``avg``. A space is drawn with every possible edge, faint; an architecture may be laid over it. The layout is made by
`nasforge.graph.layout`, the files by `nasforge.graph.svg` and `nasforge.graph.png`; `nasforge.graph.dot` and
`nasforge.graph.mermaid` write boxes and arrows as text and leave the layout to the program that reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nasforge.graph.outline import Outline, OutlineNode, architecture_outline, space_outline
from nasforge.graph.supergraph import Supergraph

Style = Literal["input", "op", "merge", "output"]


@dataclass(frozen=True)
class Box:
    """One box.

    Attributes:
        id: unique in the picture.
        lines: its label, line by line.
        style: ``input`` and ``output`` are bare labels, ``op`` and ``merge`` have a frame.
        emphasised: whether it is drawn strong; a node that an overlaid architecture does not use is not.
        options: alternatives that are listed beside the label.
        chosen: those of `options` that are marked.
        tints: per label line that names an operation, or per option, the number of its colour; empty for none.
    """

    id: str
    lines: tuple[str, ...]
    style: Style
    emphasised: bool = True
    options: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    tints: tuple[int, ...] = ()


@dataclass(frozen=True)
class Arrow:
    """An arrow between two boxes, by id; strong where `emphasised`, else thin and grey."""

    source: str
    target: str
    emphasised: bool = True


@dataclass(frozen=True)
class Picture:
    """Boxes in topological order (every arrow leads to a later box), arrows, and a title that may be empty."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    title: str = ""

    def __post_init__(self) -> None:
        """Check the order.

        Raises:
            ValueError: two boxes have one id, or an arrow does not lead from a box to a later one.
        """
        rank = {box.id: position for position, box in enumerate(self.boxes)}
        if len(rank) != len(self.boxes):
            raise ValueError("a picture has two boxes of one id")
        for arrow in self.arrows:
            if not (arrow.source in rank and arrow.target in rank and rank[arrow.source] < rank[arrow.target]):
                raise ValueError(f"the arrow {arrow.source} -> {arrow.target} does not lead from a box to a later one")


def architecture_picture(
    supergraph: Supergraph, architecture: Mapping[str, str], template: str = "cell", title: str = ""
) -> Picture:
    """What `architecture` computes in one template: its nodes, their operations and the chosen edges.

    Args:
        supergraph: the space's graph.
        architecture: the chosen option of every decision.
        template: the template that is drawn.
        title: shown above.

    Raises:
        SpaceError: there is no such template, or the child does not call it.
    """
    outline = architecture_outline(supergraph, architecture, template)
    tints = _tints(space_outline(supergraph, template))
    boxes = tuple(
        Box(node.id, _lines(node), node.kind, tints=tuple(tints[label] for label in node.operations))
        for node in outline.nodes
    )
    return Picture(boxes, tuple(Arrow(source, target) for source, target in outline.edges), title)


def space_picture(
    supergraph: Supergraph, template: str = "cell", architecture: Mapping[str, str] | None = None, title: str = ""
) -> Picture:
    """Every alternative of one template; an `architecture` is laid over it where one is given.

    Args:
        supergraph: the space's graph.
        template: the template that is drawn.
        architecture: its edges are strong and its operations marked.
        title: shown above.

    Raises:
        SpaceError: there is no such template, or the child does not call it.
    """
    outline = space_outline(supergraph, template)
    tints = _tints(outline)
    child = None if architecture is None else architecture_outline(supergraph, architecture, template)
    used = {node.id: node.operations for node in child.nodes} if child else {}
    strong = _strong_edges(outline, child) if child else frozenset()
    touched = {name for edge in strong for name in edge}
    boxes = tuple(
        Box(
            node.id,
            (node.label,) if len(node.operations) > 1 else _lines(node),
            node.kind,
            emphasised=child is None or node.id in touched,
            options=node.operations if len(node.operations) > 1 else (),
            chosen=used.get(node.id, ()) if len(node.operations) > 1 else (),
            tints=tuple(tints[label] for label in node.operations),
        )
        for node in outline.nodes
    )
    arrows = tuple(Arrow(source, target, (source, target) in strong) for source, target in outline.edges)
    return Picture(boxes, arrows, title)


def _strong_edges(outline: Outline, child: Outline) -> frozenset[tuple[str, str]]:
    """The edges of the space that the child uses; a single leaf goes through the merge that the child does without."""
    chosen = set(child.edges)
    merges = [node.id for node in outline.nodes if node.kind == "merge"]
    ends = [node.id for node in outline.nodes if node.kind == "output"]
    for merge in merges:
        for end in ends:
            chosen |= {(source, merge) for source, target in child.edges if target == end and source != merge}
            chosen.add((merge, end))
    return frozenset(chosen & set(outline.edges))


def _lines(node: OutlineNode) -> tuple[str, ...]:
    if len(node.operations) == 1:
        return (f"{node.label} · {node.operations[0]}",)
    return (node.label, *node.operations)


def _tints(outline: Outline) -> dict[str, int]:
    """A number per operation in the order of the space, so that all architectures of a space share their colours."""
    labels = dict.fromkeys(label for node in outline.nodes for label in node.operations)
    return {label: number for number, label in enumerate(labels)}
