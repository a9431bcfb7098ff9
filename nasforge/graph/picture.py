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

from nasforge.graph.outline import Outline, OutlineNode, architecture_outline, chosen_sizes, space_outline
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
        group: the part of the picture that it belongs to, drawn apart under this caption; empty where there is one.
    """

    id: str
    lines: tuple[str, ...]
    style: Style
    emphasised: bool = True
    options: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    tints: tuple[int, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Arrow:
    """An arrow between two boxes, by id; strong where `emphasised`, else thin and grey."""

    source: str
    target: str
    emphasised: bool = True


@dataclass(frozen=True)
class Picture:
    """Boxes in topological order (every arrow leads to a later box), arrows, and a title that may be empty.

    The boxes of a group stand together, and arrows do not leave it.
    """

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
    supergraph: Supergraph, architecture: Mapping[str, str], template: str | None = None, title: str = ""
) -> Picture:
    """What `architecture` computes: its nodes, their operations and the chosen edges.

    Args:
        supergraph: the space's graph.
        architecture: the chosen option of every decision.
        template: the template that is drawn; None for all in which something is chosen.
        title: shown above, before the sizes that the architecture chose.

    Raises:
        SpaceError: there is no such template, or the child does not call it.
    """
    tints = _tints(supergraph, template)
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    for group, name in _groups(supergraph, template):
        outline = architecture_outline(supergraph, architecture, name)
        boxes += [
            Box(
                _id(group, node.id),
                _lines(node),
                node.kind,
                tints=tuple(tints[label] for label in node.operations),
                group=group,
            )
            for node in outline.nodes
        ]
        arrows += [Arrow(_id(group, source), _id(group, target)) for source, target in outline.edges]
    return Picture(tuple(boxes), tuple(arrows), _titled(title, supergraph, architecture))


def space_picture(
    supergraph: Supergraph,
    template: str | None = None,
    architecture: Mapping[str, str] | None = None,
    title: str = "",
) -> Picture:
    """Every alternative; an `architecture` is laid over it where one is given.

    Args:
        supergraph: the space's graph.
        template: the template that is drawn; None for all in which something is chosen.
        architecture: its edges are strong and its operations marked.
        title: shown above, before the sizes that the architecture chose.

    Raises:
        SpaceError: there is no such template, or the child does not call it.
    """
    tints = _tints(supergraph, template)
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    for group, name in _groups(supergraph, template):
        outline = space_outline(supergraph, name)
        child = None if architecture is None else architecture_outline(supergraph, architecture, name)
        used = {node.id: node.operations for node in child.nodes} if child else {}
        strong = _strong_edges(outline, child) if child else frozenset()
        touched = {end for edge in strong for end in edge}
        for node in outline.nodes:
            several = len(node.operations) > 1
            boxes.append(
                Box(
                    _id(group, node.id),
                    _joined(node.label, node.scale) if several else _lines(node),
                    node.kind,
                    emphasised=child is None or node.id in touched,
                    options=node.operations if several else (),
                    chosen=used.get(node.id, ()) if several else (),
                    tints=tuple(tints[label] for label in node.operations),
                    group=group,
                )
            )
        arrows += [
            Arrow(_id(group, source), _id(group, target), (source, target) in strong)
            for source, target in outline.edges
        ]
    if architecture is not None:
        title = _titled(title, supergraph, architecture)
    return Picture(tuple(boxes), tuple(arrows), title)


def _groups(supergraph: Supergraph, template: str | None) -> list[tuple[str, str]]:
    """Caption and template of each part; no caption where there is one part."""
    if template is not None:
        return [("", template)]
    names = supergraph.searched
    return [("", names[0])] if len(names) == 1 else [(name, name) for name in names]


def _id(group: str, node: str) -> str:
    return f"{group}/{node}" if group else node


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
    shown = node.values or node.operations
    if len(shown) == 1 and node.label:
        return _joined(node.label, shown[0], node.scale)
    return (*(_joined(node.label, node.scale) if node.label or not shown else ()), *shown)


def _joined(*parts: str) -> tuple[str]:
    """A line of the parts that are there."""
    return (" · ".join(filter(None, parts)),)


def _titled(title: str, supergraph: Supergraph, architecture: Mapping[str, str]) -> str:
    """The title, and what the architecture chose that belongs to no box."""
    return _joined(title, *chosen_sizes(supergraph, architecture))[0]


def _tints(supergraph: Supergraph, template: str | None) -> dict[str, int]:
    """A number per operation in the order of the space, so that all architectures of a space share their colours."""
    outlines = [space_outline(supergraph, name) for _, name in _groups(supergraph, template)]
    labels = dict.fromkeys(label for outline in outlines for node in outline.nodes for label in node.operations)
    return {label: number for number, label in enumerate(labels)}
