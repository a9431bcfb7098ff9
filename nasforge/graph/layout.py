"""Coordinates for a picture, top to bottom. Lengths are in points (1/72 inch), y grows downwards.

Trees and other sparse pictures are laid out in layers; long arrows run through room that the layers keep free. Boxes
that form one chain with other arrows beside it (the space of a cell, skip connections) stand in a column, and the long
arrows are arcs: those into the final merge on the left, all others on the right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from nasforge.graph.boxes import TITLE_SIZE, Content, arrange, text_width
from nasforge.graph.layers import Layered, abscissas, layered, longest_path_layers
from nasforge.graph.picture import Arrow, Box, Picture

MARGIN = 14.0
HEAD = 6.0
_GAP = 18.0
_LANE = 4.0
_LAYER_GAP = 30.0
_LAYER_GAP_MOST = 54.0
_ROW_GAP = 20.0
_PORT = 13.0
_PORT_MOST = 30.0

Point = tuple[float, float]


@dataclass(frozen=True)
class PlacedBox:
    """A box with its place: `x`, `y` is the top left corner."""

    box: Box
    content: Content
    x: float
    y: float
    width: float
    height: float

    @property
    def centre(self) -> float:
        """The abscissa of its middle."""
        return self.x + self.width / 2


@dataclass(frozen=True)
class Route:
    """The course of an arrow: a start and cubic Bézier segments (two control points and an end each).

    The last point is the tip; the last segment ends in a straight piece of length `HEAD` for the arrowhead.
    """

    arrow: Arrow
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Layout:
    """A picture with coordinates; all lies within `width` and `height`.

    Captions are the title and what stands above each part: text and the point at the middle of its baseline.
    """

    picture: Picture
    width: float
    height: float
    captions: tuple[tuple[str, Point], ...]
    boxes: tuple[PlacedBox, ...]
    routes: tuple[Route, ...]


def layout(picture: Picture) -> Layout:
    """Place the boxes and route the arrows of `picture`; equal pictures give equal layouts."""
    groups = tuple(dict.fromkeys(box.group for box in picture.boxes))
    if len(groups) > 1:
        return _side_by_side(picture, [layout(_part(picture, group)) for group in groups])
    number = {box.id: at for at, box in enumerate(picture.boxes)}
    edges = [(number[arrow.source], number[arrow.target]) for arrow in picture.arrows]
    contents = [arrange(box) for box in picture.boxes]
    layer = longest_path_layers(len(contents), edges)
    passing = any(layer[target] - layer[source] > 1 for source, target in edges)
    if passing and all(count == 1 for number, count in Counter(layer).items() if number > 0):
        boxes, routes = _column(picture, contents, edges, layer)
    else:
        boxes, routes = _layers(picture, contents, layered(len(contents), edges))
    return _framed(picture, boxes, routes)


def _framed(picture: Picture, boxes: Sequence[PlacedBox], routes: Sequence[Route]) -> Layout:
    """Move everything into a frame that starts at (0, 0)."""
    xs = [x for box in boxes for x in (box.x, box.x + box.width)] + [x for r in routes for x in _extent(r)]
    left, right = min(xs, default=0.0), max(xs, default=0.0)
    bottom = max((box.y + box.height for box in boxes), default=0.0)
    title_height = _title_height(picture.title)
    inner = max(right - left, text_width(picture.title, TITLE_SIZE) * 1.1)
    dx, dy = MARGIN + (inner - (right - left)) / 2 - left, MARGIN + title_height
    moved = tuple(replace(box, x=round(box.x + dx, 2), y=round(box.y + dy, 2)) for box in boxes)
    shifted = tuple(
        Route(route.arrow, tuple((round(x + dx, 2), round(y + dy, 2)) for x, y in route.points)) for route in routes
    )
    width = inner + 2 * MARGIN
    return Layout(picture, width, bottom + 2 * MARGIN + title_height, _caption(picture.title, width), moved, shifted)


def _title_height(title: str) -> float:
    return 2 * TITLE_SIZE if title else 0.0


def _caption(title: str, width: float) -> tuple[tuple[str, Point], ...]:
    return ((title, (width / 2, MARGIN + 0.8 * TITLE_SIZE)),) if title else ()


def _part(picture: Picture, group: str) -> Picture:
    boxes = tuple(replace(box, group="") for box in picture.boxes if box.group == group)
    inside = {box.id for box in boxes}
    return Picture(boxes, tuple(arrow for arrow in picture.arrows if arrow.source in inside), group)


def _side_by_side(picture: Picture, parts: Sequence[Layout]) -> Layout:
    """The parts from left to right, their captions on one line, below the title of the whole."""
    top = _title_height(picture.title)
    wide = sum(part.width for part in parts)
    width = max(wide, text_width(picture.title, TITLE_SIZE) * 1.1 + 2 * MARGIN)
    captions = list(_caption(picture.title, width))
    boxes: list[PlacedBox] = []
    routes: list[Route] = []
    left = (width - wide) / 2
    for part in parts:
        captions += [(text, (x + left, y + top)) for text, (x, y) in part.captions]
        boxes += [replace(box, x=round(box.x + left, 2), y=round(box.y + top, 2)) for box in part.boxes]
        routes += [
            Route(route.arrow, tuple((round(x + left, 2), round(y + top, 2)) for x, y in route.points))
            for route in part.routes
        ]
        left += part.width
    height = top + max(part.height for part in parts)
    return Layout(picture, width, height, tuple(captions), tuple(boxes), tuple(routes))


def _extent(route: Route) -> tuple[float, float]:
    """Left and right end; a segment reaches at most three quarters of the way to its controls from its ends."""
    xs = [route.points[0][0]]
    for (cx, _), (dx, _), (ex, _) in zip(route.points[1::3], route.points[2::3], route.points[3::3], strict=True):
        sx = xs[-1]
        steps = [t / 8 for t in range(1, 9)]
        xs += [(1 - t) ** 3 * sx + 3 * t * (1 - t) ** 2 * cx + 3 * t * t * (1 - t) * dx + t**3 * ex for t in steps]
    return min(xs), max(xs)


# Layers ---------------------------------------------------------------------------------------------------------------


def _layers(picture: Picture, contents: Sequence[Content], graph: Layered) -> tuple[list[PlacedBox], list[Route]]:
    n_in = [0] * len(contents)
    for chain in graph.chains:
        n_in[chain[-1]] += 1
    widths = [max(content.width, _PORT * (n + 1)) for content, n in zip(contents, n_in, strict=True)]
    centre = abscissas(graph, widths + [_LANE] * graph.n_dummies, _GAP)
    top, bottom = [0.0] * len(centre), [0.0] * len(centre)
    placed: dict[int, PlacedBox] = {}
    y = 0.0
    for row, gap in zip(graph.layers, _gaps(graph, centre), strict=True):
        height = max((contents[v].height for v in row if v < graph.n_boxes), default=0.0)
        for v in row:
            top[v], bottom[v] = y, y + height
            if v < graph.n_boxes:
                content = contents[v]
                at = y + (height - content.height) / 2
                placed[v] = PlacedBox(
                    picture.boxes[v], content, centre[v] - widths[v] / 2, at, widths[v], content.height
                )
        y += height + gap
    ports = _ports(graph, centre, widths)
    routes: list[Route] = []
    for arrow, chain in zip(picture.arrows, graph.chains, strict=True):
        end = (centre[chain[-1]] + ports[chain], placed[chain[-1]].y)
        points = [(centre[chain[0]], placed[chain[0]].y + placed[chain[0]].height)]
        for one, other in pairwise(chain):
            last = other == chain[-1]
            points = _line(points, (centre[one], bottom[one]))
            x = end[0] if last else centre[other]
            points = _bend(points, (x, top[other] - (HEAD if last else 0.0)))
            if last:
                points = _line(points, end)
        routes.append(Route(arrow, tuple(points)))
    return [placed[v] for v in range(graph.n_boxes)], routes


def _gaps(graph: Layered, centre: Sequence[float]) -> list[float]:
    """The room below each layer: more where arrows go far to the side, so that they do not run flat."""
    layer = {v: number for number, row in enumerate(graph.layers) for v in row}
    far = [0.0] * len(graph.layers)
    for chain in graph.chains:
        for one, other in pairwise(chain):
            far[layer[one]] = max(far[layer[one]], abs(centre[other] - centre[one]))
    return [min(_LAYER_GAP + 0.1 * distance, _LAYER_GAP_MOST) for distance in far]


def _ports(graph: Layered, centre: Sequence[float], widths: Sequence[float]) -> dict[tuple[int, ...], float]:
    """How far from the middle of its target's upper side each chain ends: in the order in which they come."""
    arriving: dict[int, list[tuple[int, ...]]] = {}
    for chain in graph.chains:
        arriving.setdefault(chain[-1], []).append(chain)
    offsets: dict[tuple[int, ...], float] = {}
    for target, chains in arriving.items():
        apart = min(max(_PORT, (widths[target] - 2 * _PORT) / len(chains)), _PORT_MOST)
        for position, chain in enumerate(sorted(chains, key=lambda c: centre[c[-2]])):
            offsets[chain] = apart * (position - (len(chains) - 1) / 2)
    return offsets


def _line(points: Sequence[Point], end: Point) -> list[Point]:
    (x, y), (ex, ey) = points[-1], end
    if points[-1] == end:
        return list(points)
    return [*points, (x + (ex - x) / 3, y + (ey - y) / 3), (x + 2 * (ex - x) / 3, y + 2 * (ey - y) / 3), end]


def _bend(points: Sequence[Point], end: Point) -> list[Point]:
    """An S with upright ends."""
    (x, y), (ex, ey) = points[-1], end
    return [*points, (x, y + (ey - y) * 0.55), (ex, ey - (ey - y) * 0.55), end]


# A column with arcs ---------------------------------------------------------------------------------------------------


def _column(
    picture: Picture, contents: Sequence[Content], edges: Sequence[tuple[int, int]], layer: Sequence[int]
) -> tuple[list[PlacedBox], list[Route]]:
    rows = _rows(edges, layer)
    row_of = {v: at for at, row in enumerate(rows) for v in row}
    with_arcs = {v for edge in edges if row_of[edge[1]] - row_of[edge[0]] > 1 for v in edge}
    wide = max(contents[v].width for v in with_arcs)
    placed: dict[int, PlacedBox] = {}
    y = 0.0
    for row in rows:
        widths = [wide if v in with_arcs else contents[v].width for v in row]
        x = -(sum(widths) + _GAP * (len(row) - 1)) / 2
        for v, width in zip(row, widths, strict=True):
            placed[v] = PlacedBox(picture.boxes[v], contents[v], x, y, width, contents[v].height)
            x += width + _GAP
        y += max(contents[v].height for v in row) + _ROW_GAP
    merges = {v for v, box in enumerate(picture.boxes) if box.style in ("merge", "output")}
    routes: list[Route] = []
    for arrow, (source, target) in zip(picture.arrows, edges, strict=True):
        one, other = placed[source], placed[target]
        if row_of[target] - row_of[source] > 1:
            points = _arc(one, other, side=-1 if target in merges else 1)
        else:
            end = other.centre + max(-0.3 * other.width, min(0.3 * other.width, (one.centre - other.centre) / 3))
            points = _bend([(one.centre, one.y + one.height)], (end, other.y - HEAD))
            points = _line(points, (end, other.y))
        routes.append(Route(arrow, tuple(points)))
    return [placed[v] for v in range(len(contents))], routes


def _rows(edges: Sequence[tuple[int, int]], layer: Sequence[int]) -> list[list[int]]:
    """Layers, but boxes with arcs alone in their row."""
    rows = [[v for v, at in enumerate(layer) if at == number] for number in range(max(layer) + 1)]
    while True:
        row_of = {v: at for at, row in enumerate(rows) for v in row}
        long = {v for edge in edges if row_of[edge[1]] - row_of[edge[0]] > 1 for v in edge}
        split = [part for row in rows for part in ([[v] for v in row] if long.intersection(row) else [row])]
        if split == rows:
            return rows
        rows = split


def _arc(one: PlacedBox, other: PlacedBox, side: int) -> list[Point]:
    """Out at the lower part of one side, in at the upper part: arcs that end in a box share its port."""
    start = (one.centre + side * one.width / 2, one.y + one.height * 0.7)
    tip = (other.centre + side * other.width / 2, other.y + other.height * 0.3)
    end = (tip[0] + side * HEAD, tip[1])
    reach = 14.0 + 0.42 * (end[1] - start[1])
    points = [start, (start[0] + side * reach, start[1]), (end[0] + side * reach, end[1]), end]
    return _line(points, tip)
