"""Pareto fronts: which of several vectors no other dominates, in what order the rest follows, and what a front covers.

In all of this higher is better in every component. One vector *dominates* another if it is at least as good in all
components and better in one; equal vectors do not dominate one another, so that a front holds all of them.

Sorting and crowding are those of NSGA-II (Deb et al. 2002, "A Fast and Elitist Multiobjective Genetic Algorithm",
sections III-A and III-B). The hypervolume (Zitzler and Thiele 1998) is exact, in two dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = tuple[float, ...]


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether `a` is nowhere worse than `b`, and somewhere better."""
    return all(x >= y for x, y in zip(a, b, strict=True)) and any(x > y for x, y in zip(a, b, strict=True))


def front(points: Sequence[Sequence[float]]) -> list[int]:
    """The places of the points that none dominates, in their order.

    From the best to the worst in the first component, then in the second and so on, a point can be dominated by earlier
    ones only, and if by any, then by one of the front.

    Args:
        points: vectors of one length.
    """
    chosen: list[int] = []
    for place in sorted(range(len(points)), key=lambda each: tuple(-x for x in points[each])):
        if not any(dominates(points[each], points[place]) for each in reversed(chosen)):
            chosen.append(place)
    return sorted(chosen)


def fronts(points: Sequence[Sequence[float]]) -> list[list[int]]:
    """All places, cut into fronts: the first of all points, the next of those that are left, and so on."""
    left, found = list(range(len(points))), []
    while left:
        best = front([points[place] for place in left])
        found.append([left[each] for each in best])
        taken = set(found[-1])
        left = [place for place in left if place not in taken]
    return found


def crowding(points: Sequence[Sequence[float]]) -> list[float]:
    """How far the neighbours of each point of a front are apart: the sum over the components, each scaled to its range.

    Infinite at both ends of a component, so that ends are kept; where all points are equal there, it adds nothing.
    """
    distances = [0.0] * len(points)
    for component in range(len(points[0]) if points else 0):
        order = sorted(range(len(points)), key=lambda place: points[place][component])
        low, high = points[order[0]][component], points[order[-1]][component]
        if low == high:
            continue
        distances[order[0]] = distances[order[-1]] = math.inf
        for before, place, after in zip(order, order[1:], order[2:], strict=False):
            distances[place] += (points[after][component] - points[before][component]) / (high - low)
    return distances


def fitness(points: Sequence[Sequence[float]]) -> list[tuple[int, float]]:
    """What NSGA-II compares: the negative number of a point's front, then its crowding in it; higher is better."""
    found = [(0, 0.0)] * len(points)
    for number, places in enumerate(fronts(points)):
        for place, distance in zip(places, crowding([points[each] for each in places]), strict=True):
            found[place] = (-number, distance)
    return found


def hypervolume(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """The area in which something is dominated by one of `points` and better than `reference`; 0 for none.

    Args:
        points: vectors of two components. Those that are not better than `reference` in both add nothing.
        reference: the worst corner.

    Raises:
        ValueError: there are not two components.
    """
    if len(reference) != 2:
        raise ValueError(f"the hypervolume is computed for two components, not for {len(reference)}")
    inside = [(x, y) for x, y in points if x > reference[0] and y > reference[1]]
    area, height = 0.0, reference[1]
    for x, y in sorted(inside, key=lambda point: (-point[0], -point[1])):
        if y > height:
            area += (x - reference[0]) * (y - height)
            height = y
    return area


def spread(points: Sequence[Sequence[float]], count: int) -> list[int]:
    """Up to `count` places, evenly spaced along a front from the best in the first component to the best in the last.

    Both ends are among them where `count` is at least 2.

    Args:
        points: a front of two components.
        count: at least 1.
    """
    order = sorted(range(len(points)), key=lambda place: tuple(-x for x in points[place]))
    if count >= len(order):
        return order
    if count == 1:
        return order[:1]
    return [order[round(i * (len(order) - 1) / (count - 1))] for i in range(count)]
