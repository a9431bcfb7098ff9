"""A picture of Pareto fronts: what was scored, and the front of it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any


def pareto_png(found: Mapping[str, Any], title: str, metric: str) -> bytes:
    """A PNG file.

    Args:
        found: ``pareto`` of ``result.json``.
        title: of the picture.
        metric: what the score is called on its axis.
    """
    # matplotlib costs seconds to import; figure and canvas directly, since pyplot keeps global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    (_, score), (direction, cost) = (each.split() for each in found["objectives"])
    # A staircase: between two architectures there is none, and what the worse one costs buys no more than it gives.
    steps = "steps-post" if direction == "min" else "steps-pre"
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    fronts = [("searched", found["front"])]
    if found["baseline"] is not None:
        fronts.append(("random search", found["baseline"]["front"]))
    for label, front in fronts:
        points = sorted((each["values"][cost], each["values"][score]) for each in front)
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, linewidth=1, drawstyle=steps, label=label)
    trained = [each["values"] for each in found["front"] if "trained" in each or "short" in each]
    if trained:
        xs, ys = [each[cost] for each in trained], [each[score] for each in trained]
        axes.plot(xs, ys, linestyle="", marker="o", markersize=9, fillstyle="none", color="black", label="trained")
    axes.set_title(title)
    axes.set_xlabel(cost)
    axes.set_ylabel(metric)
    axes.legend()
    target = io.BytesIO()
    canvas.print_figure(target, dpi=160, metadata={"Software": None})
    return target.getvalue()
