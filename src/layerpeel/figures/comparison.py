"""Comparison: the same metrics of several sources side by side, each a dot on a logarithmic axis.

What is 0 at collapse lies the further left the more collapsed it is; a source that has no positive value of a field
has no dot there.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerpeel.figures.style import BLUE, GREEN, GREY, OCHRE, RED, WIDTH, style

__all__ = ["plot_comparison"]

GAPS = (
    "within_class_variation",
    "nc1",
    "cdnv",
    "mean_norm_variation",
    "classifier_norm_variation",
    "mean_angle_gap",
    "classifier_angle_gap",
    "nc2_means",
    "nc2_classifier",
    "duality_gap",
    "nc3",
    "nc4_mismatch",
)
"""The fields that are 0 at collapse, from NC1 to NC4."""
COLOURS = (GREY, BLUE, OCHRE, GREEN, RED)
MARKERS = ("o", "s", "D", "^", "v")


def plot_comparison(metrics: Any, *, axes: Axes | None = None) -> tuple[Any, Axes]:
    """One row a metric, one dot a source; x is logarithmic and 0, collapse, lies to the left.

    Args:
        metrics: a dataset with the dimension ``source``, a coordinate of names.
        axes: axes to draw on, in place of a new figure.

    Raises:
        ValueError: no such dataset, or more sources than can be told apart.
    """
    if "source" not in getattr(metrics, "coords", ()):
        raise ValueError(f"need metrics with the coordinate source, got {type(metrics).__name__}")
    sources = [str(name) for name in metrics["source"].values]
    if len(sources) > len(COLOURS):
        raise ValueError(f"need at most {len(COLOURS)} sources in one figure, got {len(sources)}")
    fields = [field for field in GAPS if field in metrics]
    with style():
        if axes is None:
            axes = Figure(figsize=(WIDTH, 0.9 + 0.27 * len(fields)), layout="constrained").subplots()
        _draw(axes, metrics, fields, sources)
    return axes.figure, axes


def _draw(axes: Axes, metrics: Any, fields: list[str], sources: list[str]) -> None:
    rows = np.arange(len(fields))
    for source, colour, marker in zip(sources, COLOURS, MARKERS, strict=False):
        values = np.array([float(metrics[field].sel(source=source)) for field in fields])
        shown = np.isfinite(values) & (values > 0)
        axes.plot(values[shown], rows[shown], marker, color=colour, markersize=5, label=source, alpha=0.9)
    axes.set_xscale("log")
    axes.set_yticks(rows, fields)
    axes.set_ylim(len(fields) - 0.5, -0.5)
    axes.hlines(rows, *axes.get_xlim(), colors="0.9", linewidth=0.6, zorder=0)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(r"value (0 at collapse: the further left, the more collapsed)")
    axes.set_title(str(metrics.attrs.get("title", "")), loc="left")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=len(sources))
