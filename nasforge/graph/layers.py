"""Layered drawing of acyclic graphs: which layer, which order, which abscissa.

The scheme is that of Sugiyama, Tagawa and Toda (1981): longest-path layering, dummy vertices on long edges, an order
per layer by barycentres; abscissas minimise a weighted sum of squared horizontal lengths, layer by layer, under the
order (least squares with pool-adjacent-violators). Everything is deterministic: ties go to the vertex given first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_SWEEPS = 16
_RELAXATIONS = 240
_RELAXATIONS_LEAST = 8
_UPDATES = 120_000
"""Updates of one vertex that a drawing may cost: large drawings are relaxed less often."""

Edge = tuple[int, int]


@dataclass(frozen=True)
class Layered:
    """A graph whose edges join neighbouring layers.

    Attributes:
        layers: the vertices of each layer, from left to right; numbers from `n_boxes` on are dummies.
        chains: for each edge its vertices from source to target, dummies included.
        n_boxes: number of real vertices.
    """

    layers: tuple[tuple[int, ...], ...]
    chains: tuple[tuple[int, ...], ...]
    n_boxes: int

    @property
    def n_dummies(self) -> int:
        """Number of dummy vertices."""
        return sum(map(len, self.layers)) - self.n_boxes


def longest_path_layers(n_boxes: int, edges: Sequence[Edge]) -> list[int]:
    """The layer of every vertex; edges must lead to higher numbers. Sources stand right before what reads them."""
    layer = [0] * n_boxes
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        layer[target] = max(layer[target], layer[source] + 1)
    read = {source: min(layer[t] for s, t in edges if s == source) for source, _ in edges}
    targets = {target for _, target in edges}
    return [read.get(v, 1) - 1 if v not in targets else layer[v] for v in range(n_boxes)]


def layered(n_boxes: int, edges: Sequence[Edge]) -> Layered:
    """Layers with dummies, in an order with few crossings."""
    layer = longest_path_layers(n_boxes, edges)
    of_vertex = list(layer)
    chains: list[tuple[int, ...]] = []
    for source, target in edges:
        between = range(layer[source] + 1, layer[target])
        first = len(of_vertex)
        of_vertex += between
        chains.append((source, *range(first, first + len(between)), target))
    below: list[list[int]] = [[] for _ in of_vertex]
    above: list[list[int]] = [[] for _ in of_vertex]
    for chain in chains:
        for one, other in pairwise(chain):
            below[one].append(other)
            above[other].append(one)
    order = _depth_first(of_vertex, below, [v for v in range(n_boxes) if not above[v]])
    return Layered(tuple(map(tuple, _improve(order, above, below))), tuple(chains), n_boxes)


def _depth_first(of_vertex: Sequence[int], below: Sequence[Sequence[int]], roots: Sequence[int]) -> list[list[int]]:
    """Layers in the order of a depth-first walk: a tree whose leaves meet in one vertex has no crossing then."""
    order: list[list[int]] = [[] for _ in range(max(of_vertex, default=-1) + 1)]
    seen: set[int] = set()
    waiting = list(reversed(roots))
    while waiting:
        vertex = waiting.pop()
        if vertex in seen:
            continue
        seen.add(vertex)
        order[of_vertex[vertex]].append(vertex)
        waiting += reversed(below[vertex])
    return order


def _improve(order: list[list[int]], above: Sequence[Sequence[int]], below: Sequence[Sequence[int]]) -> list[list[int]]:
    best, least = [list(row) for row in order], _crossings(order, below)
    for sweep in range(_SWEEPS):
        if least == 0:
            break
        down = sweep % 2 == 0
        rows = range(1, len(order)) if down else range(len(order) - 2, -1, -1)
        for row in rows:
            fixed = order[row - 1 if down else row + 1]
            place = {vertex: position for position, vertex in enumerate(fixed)}
            here = {vertex: position for position, vertex in enumerate(order[row])}
            key: dict[int, tuple[float, int]] = {}
            for vertex in order[row]:
                near = [place[other] for other in (above if down else below)[vertex]]
                key[vertex] = (sum(near) / len(near) if near else here[vertex], here[vertex])
            order[row] = sorted(order[row], key=key.__getitem__)
        count = _crossings(order, below)
        if count < least:
            best, least = [list(row) for row in order], count
    return best


def _crossings(order: Sequence[Sequence[int]], below: Sequence[Sequence[int]]) -> int:
    total = 0
    for upper, lower in pairwise(order):
        place = {vertex: position for position, vertex in enumerate(lower)}
        ends = [sorted(place[other] for other in below[vertex]) for vertex in upper]
        for at, one in enumerate(ends):
            total += sum(1 for later in ends[at + 1 :] for a in one for b in later if b < a)
    return total


def abscissas(graph: Layered, widths: Sequence[float], gap: float) -> list[float]:
    """The centre of every vertex, in the units of `widths` (one per vertex, dummies included).

    Args:
        graph: layers in order.
        widths: the room that each vertex takes.
        gap: between neighbours of a layer.
    """
    pulls: list[list[tuple[int, float]]] = [[] for _ in widths]
    n_in = Counter(chain[-1] for chain in graph.chains)
    for chain in graph.chains:
        for one, other in pairwise(chain):
            dummies = (one >= graph.n_boxes) + (other >= graph.n_boxes)
            # What gathers many arrows must not draw a tree out of shape, so its arrows pull with the weight of one.
            weight = (1.0, 0.15, 4.0)[dummies] / max(n_in[other], 1)
            pulls[one].append((other, weight))
            pulls[other].append((one, weight))
    centre = [0.0] * len(widths)
    for row in graph.layers:
        at = 0.0
        for vertex in row:
            centre[vertex] = at + widths[vertex] / 2
            at += widths[vertex] + gap
        for vertex in row:
            centre[vertex] -= at / 2
    offsets: list[list[float]] = []
    weights: list[list[float]] = []
    for row in graph.layers:
        offset = [0.0]
        for left, right in pairwise(row):
            offset.append(offset[-1] + (widths[left] + widths[right]) / 2 + gap)
        offsets.append(offset)
        weights.append([sum([w for _, w in pulls[v]]) or 1.0 for v in row])
    turns = max(_RELAXATIONS_LEAST, min(_RELAXATIONS, _UPDATES // max(len(widths), 1)))
    rows = list(zip(graph.layers, offsets, weights, strict=True))
    for turn in range(turns):
        for row, offset, weight_of in rows if turn % 2 == 0 else reversed(rows):
            shifted = [
                (sum([w * centre[o] for o, w in pulls[v]]) / total if pulls[v] else centre[v]) - move
                for v, total, move in zip(row, weight_of, offset, strict=True)
            ]
            for vertex, value, move in zip(row, _increasing(shifted, weight_of), offset, strict=True):
                centre[vertex] = value + move
    for chain in graph.chains:
        _straighten(graph, chain, centre, widths, gap)
    return centre


def _straighten(graph: Layered, chain: Sequence[int], centre: list[float], widths: Sequence[float], gap: float) -> None:
    """Give the dummies of `chain` as few different abscissas as the room between their neighbours allows."""
    room: dict[int, tuple[float, float]] = {}
    for row in graph.layers:
        for at, vertex in enumerate(row):
            if vertex in chain[1:-1]:
                left, right = row[at - 1] if at else -1, row[at + 1] if at + 1 < len(row) else -1
                low = centre[left] + (widths[left] + widths[vertex]) / 2 + gap if left >= 0 else float("-inf")
                high = centre[right] - (widths[right] + widths[vertex]) / 2 - gap if right >= 0 else float("inf")
                room[vertex] = low, high
    run: list[int] = []
    low, high, before = float("-inf"), float("inf"), centre[chain[0]]
    for vertex in (*chain[1:-1], -1):
        narrow = (max(low, room[vertex][0]), min(high, room[vertex][1])) if vertex >= 0 else (1.0, 0.0)
        if run and narrow[0] > narrow[1]:
            mean = sum(centre[v] for v in run) / len(run)
            before = before if low <= before <= high else min(max(mean, low), high)
            for v in run:
                centre[v] = before
            run, narrow = [], room.get(vertex, narrow)
        run.append(vertex)
        low, high = narrow


def _increasing(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The non-decreasing sequence next to `values` in weighted squares (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        pool = (value, weight, 1)
        while pools and pools[-1][0] > pool[0]:
            mean, total, count = pools.pop()
            joint = total + pool[1]
            pool = ((mean * total + pool[0] * pool[1]) / joint, joint, count + pool[2])
        pools.append(pool)
    return [mean for mean, _, count in pools for _ in range(count)]
