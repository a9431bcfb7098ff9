"""PNG files of pictures, by matplotlib: the same shapes as the SVG."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

from nasforge.graph.drawing import PAPER, Curve, Polygon, Rect, Shape, Text, drawing
from nasforge.graph.picture import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def png_bytes(picture: Picture, *, dpi: int = 160) -> bytes:
    """`picture` as a PNG file.

    Args:
        picture: what is drawn.
        dpi: pixels per inch; a point is 1/72 inch.
    """
    # matplotlib costs seconds to import, and only this format needs it. Figure and canvas are used directly: pyplot
    # would choose a backend and keep figures in global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sheet = drawing(picture)
    figure = Figure(figsize=(sheet.width / 72, sheet.height / 72), facecolor=PAPER)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, sheet.width)
    axes.set_ylim(sheet.height, 0)
    for layer, shape in enumerate(sheet.shapes):
        _draw(axes, shape, layer)
    target = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes, which is visible; the SVG shows it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        canvas.print_figure(target, dpi=dpi, facecolor=PAPER, metadata={"Software": None})
    return target.getvalue()


def _draw(axes: Axes, shape: Shape, layer: int) -> None:
    from matplotlib.patches import FancyBboxPatch, PathPatch
    from matplotlib.patches import Polygon as Filled
    from matplotlib.path import Path

    match shape:
        case Rect():
            axes.add_patch(
                FancyBboxPatch(
                    (shape.x, shape.y),
                    shape.width,
                    shape.height,
                    boxstyle=f"round,pad=0,rounding_size={shape.radius}",
                    facecolor=shape.fill,
                    edgecolor=shape.stroke or "none",
                    linewidth=shape.stroke_width,
                    zorder=layer,
                )
            )
        case Curve():
            codes = [Path.MOVETO, *[Path.CURVE4] * (len(shape.points) - 1)]
            path = Path(list(shape.points), codes)
            axes.add_patch(
                PathPatch(path, fill=False, edgecolor=shape.stroke, linewidth=shape.stroke_width, zorder=layer)
            )
        case Polygon():
            axes.add_patch(Filled(list(shape.points), closed=True, facecolor=shape.fill, linewidth=0, zorder=layer))
        case Text():
            axes.text(
                shape.x,
                shape.y,
                shape.text,
                fontsize=shape.size,
                color=shape.fill,
                fontweight="bold" if shape.bold else "normal",
                fontfamily="DejaVu Sans",
                horizontalalignment="center",
                verticalalignment="baseline",
                parse_math=False,
                zorder=layer,
            )
