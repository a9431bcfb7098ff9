"""The best proxy so far against what scores have read: as a table for others, and as a picture."""

from __future__ import annotations

import io

from nasforge.run.comparison import Comparison


def curve_csv(comparison: Comparison) -> str:
    """A line for each strategy and step: strategy, items read by scores, mean of the best proxy so far, its error."""
    lines = ["strategy,scored_items,best_proxy_mean,best_proxy_standard_error"]
    lines += [
        f"{name},{x:.0f},{mean:.6g},{error:.6g}"
        for name, curve in comparison.curves.items()
        for x, mean, error in curve
    ]
    return "\n".join(lines) + "\n"


def curve_png(comparison: Comparison, title: str) -> bytes:
    """A PNG file; bands are one standard error to both sides."""
    # matplotlib costs seconds to import; figure and canvas directly, since pyplot keeps global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, curve in comparison.curves.items():
        if not curve:
            continue
        places, means, errors = zip(*curve, strict=True)
        (line,) = axes.step(places, means, where="post", label=name)
        low = [mean - error for mean, error in zip(means, errors, strict=True)]
        high = [mean + error for mean, error in zip(means, errors, strict=True)]
        axes.fill_between(places, low, high, step="post", alpha=0.2, color=line.get_color(), linewidth=0)
    n = len(comparison.seeds)
    axes.set_title(f"{title}: mean of {n} seed{'s' * (n != 1)}, band one standard error")
    if comparison.in_table:
        axes.set_xlabel("queries")
        axes.set_ylabel(f"{comparison.metric} of the answer so far, as the table has it")
    else:
        axes.set_xlabel("items read by scores")
        axes.set_ylabel(f"best proxy {comparison.metric} so far (not the result)")
    axes.legend()
    target = io.BytesIO()
    canvas.print_figure(target, dpi=160, metadata={"Software": None})
    return target.getvalue()
