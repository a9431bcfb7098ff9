"""Canonical labelling of vertex-coloured directed acyclic graphs.

A labelling is canonical when isomorphic graphs get the same labelled graph. It is found by individualisation and
refinement (McKay 1981, "Practical graph isomorphism"; McKay and Piperno 2014, "Practical graph isomorphism, II"):

1. Colours are refined by those of inputs and readers until nothing changes. On trees, which recurrent cells are, this
   separates whatever is not interchangeable.
2. Edges between two cells (classes of equal colour) that are joined completely and alike tell nothing more. Without
   them the graph falls into components, which are ordered one by one (Junttila and Kaski 2011, "Conflict propagation
   and component recursion for canonical labeling"). Equal twins and equal subtrees end here, without a search.
3. Where a component has no cell of one vertex, each vertex of its smallest cell is given a colour of its own in turn,
   and the smallest labelled graph counts. Left out are vertices that an automorphism maps to one that was tried, and
   those whose refined colours already say that another is smaller.

The colour of a vertex is the number of vertices with smaller colours: a vertex alone in its cell has its place in the
order as its colour, and splitting one cell leaves the colours of all others as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

_Rows = tuple[tuple[int, tuple[int, ...]], ...]
"""A labelled part of a graph: for each vertex in order its colour and the places of its inputs (-1: outside)."""

_Map = dict[int, int]
"""An automorphism: vertex to vertex; those that are not named stay where they are."""


@dataclass(frozen=True)
class Dag:
    """A directed acyclic graph whose vertices are numbers in topological order.

    Attributes:
        labels: what each vertex is.
        inputs: the vertices that each one reads, smaller than itself; repeats allowed.
        ordered: for each vertex, whether the order of its inputs matters; otherwise they are a multiset.
    """

    labels: Sequence[str]
    inputs: Sequence[Sequence[int]]
    ordered: Sequence[bool]

    @cached_property
    def readers(self) -> list[list[tuple[int, int]]]:
        """For each vertex, who reads it and at which position (0 where order does not matter)."""
        readers: list[list[tuple[int, int]]] = [[] for _ in self.labels]
        for vertex, sources in enumerate(self.inputs):
            for position, source in enumerate(sources):
                readers[source].append((vertex, position if self.ordered[vertex] else 0))
        return readers


def labelled(dag: Dag) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The canonically labelled graph: for each vertex in order its label and the places of its inputs.

    Two graphs are isomorphic, as labelled graphs with ordered inputs or multisets of them, if and only if it is equal.
    """
    vertices = range(len(dag.labels))
    colour = _first_colours(dag)
    _refine(dag, colour, vertices)
    order = _order(dag, colour, vertices, [])
    rows = _rows(dag, colour, order)
    return tuple([(dag.labels[vertex], places) for vertex, (_, places) in zip(order, rows, strict=True)])


def _rows(dag: Dag, colour: Sequence[int], order: Sequence[int]) -> _Rows:
    place = {vertex: index for index, vertex in enumerate(order)}
    rows = []
    for vertex in order:
        places = [place.get(source, -1) for source in dag.inputs[vertex]]
        if not dag.ordered[vertex]:
            places.sort()
        rows.append((colour[vertex], tuple(places)))
    return tuple(rows)


def _first_colours(dag: Dag) -> list[int]:
    """Colours by what a vertex is and what comes before it, found in one pass that leaves little to refine."""
    labels = {label: index for index, label in enumerate(sorted(set(dag.labels)))}
    level: list[int] = []
    levels: list[list[int]] = []
    for vertex, sources in enumerate(dag.inputs):
        height = 1 + max([level[source] for source in sources], default=-1)
        level.append(height)
        if height == len(levels):
            levels.append([])
        levels[height].append(vertex)
    colour, start = [0] * len(level), 0
    for group in levels:
        keys = {vertex: (labels[dag.labels[vertex]], _before(dag, colour, vertex)) for vertex in group}
        group.sort(key=keys.__getitem__)
        first, last = start, keys[group[0]]
        for vertex in group:
            if keys[vertex] != last:
                first, last = start, keys[vertex]
            colour[vertex] = first
            start += 1
    return colour


def _before(dag: Dag, colour: Sequence[int], vertex: int) -> list[int]:
    """The colours of the inputs of a vertex, sorted where their order does not matter."""
    colours = [colour[source] for source in dag.inputs[vertex]]
    if not dag.ordered[vertex]:
        colours.sort()
    return colours


def _refine(dag: Dag, colour: list[int], vertices: Iterable[int]) -> None:
    """Split the cells of `vertices` by the colours of inputs and readers until nothing changes; changes `colour`."""
    cells: dict[int, list[int]] = {}
    for vertex in vertices:
        cells.setdefault(colour[vertex], []).append(vertex)
    while True:
        cells = {start: cell for start, cell in cells.items() if len(cell) > 1}
        split: dict[int, list[int]] = {}
        for start, cell in cells.items():
            keys = {
                v: (_before(dag, colour, v), sorted([(colour[reader], at) for reader, at in dag.readers[v]]))
                for v in cell
            }
            cell.sort(key=keys.__getitem__)
            if keys[cell[0]] != keys[cell[-1]]:
                _split(split, start, cell, keys)
        if not split:
            return
        for start, cell in split.items():
            for vertex in cell:
                colour[vertex] = start
        cells |= split


def _split(cells: dict[int, list[int]], start: int, vertices: Iterable[int], keys: Mapping[int, object]) -> None:
    """Add the cells of equal keys, whose colours begin at `start`; `vertices` are sorted by their keys."""
    last: object = None
    for index, vertex in enumerate(vertices):
        if index == 0 or keys[vertex] != last:
            cell = cells[start + index] = []
            last = keys[vertex]
        cell.append(vertex)


def _order(dag: Dag, colour: Sequence[int], vertices: Sequence[int], found: list[_Map] | None) -> list[int]:
    """A canonical order of `vertices`, whose colours are refined.

    Args:
        dag: the graph.
        colour: of every vertex.
        vertices: what is ordered; edges to all others are alike within each cell.
        found: collects automorphisms of the coloured graph; None for any order in which a search may end, which is
            canonical only up to the choices of that search.
    """
    if len({colour[vertex] for vertex in vertices}) == len(vertices):
        return sorted(vertices, key=colour.__getitem__)
    parts = _components(dag, colour, vertices)
    if len(parts) == 1:
        return _search(dag, colour, vertices, found)
    orders = [part if len(part) == 1 else _order(dag, colour, part, found) for part in parts]
    orders.sort(key=lambda order: _rows(dag, colour, order))
    return [vertex for order in orders for vertex in order]


def _components(dag: Dag, colour: Sequence[int], vertices: Sequence[int]) -> list[list[int]]:
    """The components of `vertices` without the edges between cells that are joined completely and alike."""
    inside = set(vertices)
    sizes = Counter([colour[vertex] for vertex in vertices])
    joined: dict[tuple[int, int], dict[tuple[int, int], list[int]]] = {}
    for vertex in vertices:
        # A cell of one vertex is joined alike to every other, since the colours are refined.
        if sizes[colour[vertex]] > 1:
            for position, source in enumerate(dag.inputs[vertex]):
                if source in inside and sizes[colour[source]] > 1:
                    edges = joined.setdefault((colour[source], colour[vertex]), {})
                    edges.setdefault((source, vertex), []).append(position if dag.ordered[vertex] else 0)
    neighbours: dict[int, list[int]] = {vertex: [] for vertex in vertices}
    for (one, other), edges in joined.items():
        if len(edges) < sizes[one] * sizes[other] or len(set(map(tuple, edges.values()))) > 1:
            for source, vertex in edges:
                neighbours[source].append(vertex)
                neighbours[vertex].append(source)
    parts = []
    while neighbours:
        vertex, near = neighbours.popitem()
        part = [vertex]
        while near:
            vertex = near.pop()
            if vertex in neighbours:
                part.append(vertex)
                near += neighbours.pop(vertex)
        parts.append(part)
    return parts


def _search(dag: Dag, colour: Sequence[int], vertices: Sequence[int], found: list[_Map] | None) -> list[int]:
    """A canonical order of one component without cells of one vertex; arguments as for `_order`."""
    cells: dict[int, list[int]] = {}
    for vertex in vertices:
        cells.setdefault(colour[vertex], []).append(vertex)
    start, cell = min(cells.items(), key=lambda item: (len(item[1]), item[0]))
    own: list[_Map] = []
    leaves: dict[_Rows, list[int]] = {}
    best: tuple[list[int], _Rows, list[int]] | None = None
    tried: set[int] = set()
    for vertex in cell:
        if not tried.isdisjoint(_orbit(vertex, own)):
            continue
        tried.add(vertex)
        apart = list(colour)
        for other in cell:
            apart[other] = start + (other != vertex)
        _refine(dag, apart, vertices)
        trace = sorted([apart[each] for each in vertices])
        if best is not None and trace > best[0]:
            continue
        leaf = _order(dag, apart, vertices, None)
        if found is None:
            return leaf
        rows = _rows(dag, colour, leaf)
        if rows in leaves:
            own.append(dict(zip(leaves[rows], leaf, strict=True)))
            continue
        leaves[rows] = leaf
        order = _order(dag, apart, vertices, own)
        rows = _rows(dag, colour, order)
        if best is None or (trace, rows) < best[:2]:
            best = trace, rows, order
        elif (trace, rows) == best[:2]:
            own.append(dict(zip(best[2], order, strict=True)))
    assert best is not None
    if found is not None:
        found += own
    return best[2]


def _orbit(vertex: int, automorphisms: Sequence[_Map]) -> set[int]:
    """Where the group of the automorphisms takes a vertex."""
    orbit, waiting = {vertex}, [vertex]
    while waiting:
        reached = waiting.pop()
        for automorphism in automorphisms:
            image = automorphism.get(reached, reached)
            if image not in orbit:
                orbit.add(image)
                waiting.append(image)
    return orbit
