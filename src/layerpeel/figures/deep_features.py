"""Deep features: the minima that search finds, over the depth, held against neural collapse and its blocks."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerpeel.figures.style import BLUE, GREY, OCHRE, RED, WIDTH, style
from layerpeel.wording import counted

__all__ = ["plot_deep_features"]


def plot_deep_features(metrics: Any, *, axes: Any = None) -> tuple[Figure, list[Axes]]:
    """One panel a number of classes: values over that of neural collapse, each minimum a dot with its rank.

    Args:
        metrics: a dataset with dims (classes, depth, start), fields value, rank, etf, blocks, threshold.
        axes: one axes a number of classes, in place of a new figure.

    Raises:
        ValueError: no such dataset, or another number of axes.
    """
    if not {"classes", "depth"} <= set(getattr(metrics, "coords", ())):
        raise ValueError(f"need metrics with the coordinates classes and depth, got {type(metrics).__name__}")
    count = metrics.sizes["classes"]
    with style():
        own = axes is None
        axes = _page(metrics) if own else list(np.ravel(axes))
        if len(axes) != count:
            raise ValueError(f"need {count} axes to draw on, got {len(axes)}")
        for K, ax in zip(metrics["classes"].values, axes, strict=True):
            _panel(ax, metrics.sel(classes=K))
        axes[0].set_ylabel("value / value of neural collapse")
        if own:
            handles, labels = axes[0].get_legend_handles_labels()
            axes[0].figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return axes[0].figure, axes


def _page(metrics: Any) -> list[Axes]:
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    figure.suptitle(
        f"{metrics.attrs.get('title', '')}; {counted(metrics.sizes['start'], 'start')} a case", fontsize="medium"
    )
    return list(np.ravel(figure.subplots(1, metrics.sizes["classes"])))


def _panel(ax: Axes, metrics: Any) -> None:
    depth, etf = metrics["depth"].values, metrics["etf"].values
    threshold = float(metrics["threshold"])
    ax.axhline(1.0, color=GREY, linewidth=1.0, label="neural collapse")
    ax.plot(depth, metrics["blocks"].values / etf, color=BLUE, label="best blocks")
    ax.margins(y=0.08)
    if depth.min() <= threshold <= depth.max():
        ax.axvline(threshold, color=OCHRE, linestyle="--", linewidth=0.9, label="threshold of pairs (weight → 0)")
    labelled = False
    for F in depth:
        case = metrics.sel(depth=F)
        minima = sorted(_minima(case))
        for value, rank, share in minima:
            least = value == minima[0][0] and len(minima) > 1
            label = "minima found, with their rank" if not labelled else None
            labelled = True
            ax.scatter(F, value, s=8 + 90 * share, color=RED, alpha=0.75, linewidths=0, zorder=3, label=label)
            place: dict[str, Any] = {"xytext": (6, -3 if least else 3), "va": "top" if least else "bottom"}
            ax.annotate(str(rank), (F, value), textcoords="offset points", fontsize="x-small", **place)
    ax.set_xticks(depth)
    ax.set_xlim(depth.min() - 0.3, depth.max() + 0.5)
    ax.set_xlabel("depth $F$, number of factors")
    ax.set_title(f"$K={int(metrics['classes'])}$", loc="left")


def _minima(case: Any) -> list[tuple[float, int, float]]:
    """(value over that of collapse, rank, share of the starts): the least of every rank."""
    values, ranks = case["value"].values / float(case["etf"]), case["rank"].values
    known = np.isfinite(values)
    return [
        (float(values[known & (ranks == rank)].min()), int(rank), float(np.mean(ranks[known] == rank)))
        for rank in np.unique(ranks[known])
        if rank > 0
    ]
