"""Sphere codes: how far below d = K - 1 the loss stays above the simplex, the margins of the codes, and the codes."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.spatial import ConvexHull

from layerpeel.figures.style import BLUE, GREEN, GREY, OCHRE, RED, WIDTH, style

__all__ = ["plot_sphere_codes"]

COLOURS = (GREY, BLUE, OCHRE, GREEN, RED)
DRAWN = 6
"""Most codes that are drawn, of d = 2 and d = 3."""
ASIDE = 0.14
"""Numbers of classes are drawn so far beside each other, so that equal margins are seen."""


def plot_sphere_codes(metrics: Any) -> tuple[Figure, list[Axes]]:
    """Least loss over that of the simplex, and one-vs-rest margins with their bounds, against d; codes of d = 2 and 3.

    Args:
        metrics: a dataset with the dimension ``case`` and coordinates K and d.

    Raises:
        ValueError: no such dataset, or more numbers of classes than can be told apart.
    """
    if not {"K", "d"} <= set(getattr(metrics, "coords", ())):
        raise ValueError(f"need metrics with the coordinates K and d, got {type(metrics).__name__}")
    classes = list(dict.fromkeys(metrics["K"].values.tolist()))
    if len(classes) > len(COLOURS):
        raise ValueError(f"need at most {len(COLOURS)} numbers of classes in one figure, got {len(classes)}")
    drawn = _chosen(metrics)
    with style():
        figure = Figure(figsize=(WIDTH, 4.8 if drawn else 2.9), layout="constrained")
        figure.suptitle(str(metrics.attrs.get("title", "")), fontsize="medium")
        parts: Any = figure.subfigures(2, 1, height_ratios=(3.2, 1.4)) if drawn else [figure]
        axes = list(parts[0].subplots(1, 2))
        for i, (K, colour) in enumerate(zip(classes, COLOURS, strict=False)):
            of_K = metrics.isel(case=np.flatnonzero(metrics["K"].values == K))
            _losses(axes[0], of_K, colour)
            _margins(axes[1], of_K, colour, ASIDE * (i - (len(classes) - 1) / 2))
        _finish(axes)
        for i, case in enumerate(drawn):
            axes.append(_draw(parts[1], i, len(drawn), metrics.isel(case=case)))
    return figure, axes


def _losses(ax: Axes, metrics: Any, colour: str) -> None:
    excess = 100 * (metrics["tied"].values / metrics["simplex"].values[:, None] - 1)
    d = metrics["d"].values
    ax.plot(d, excess.min(axis=1), color=colour, marker="o", label=f"$K={int(metrics['K'][0])}$")
    ax.plot(np.repeat(d, excess.shape[1]), excess.ravel(), "_", color=colour, markersize=7, markeredgewidth=0.8)


def _margins(ax: Axes, metrics: Any, colour: str, aside: float) -> None:
    d, bound, attained = (metrics[name].values for name in ("d", "bound", "bound_attained"))
    d = d + aside
    ax.plot(d, metrics["margin"].values.max(axis=1), "o", color=colour, markersize=4)
    ax.plot(d[attained], bound[attained], "_", color=colour, markersize=8, markeredgewidth=1.2)
    ax.plot(d[~attained], bound[~attained], "v", color=colour, markersize=5, fillstyle="none", markeredgewidth=0.7)


def _finish(axes: list[Axes]) -> None:
    axes[0].set_title("(a) least loss above the simplex", loc="left")
    axes[0].set_ylabel("excess, per cent")
    axes[0].legend(title="dots: least;  bars: all minima found", title_fontsize="small")
    axes[1].set_title(r"(b) one-vs-rest margin, $\tau\to\infty$", loc="left")
    axes[1].plot([], [], "o", color=GREY, markersize=4, label="found")
    axes[1].plot([], [], "_", color=GREY, markersize=8, label="largest there is, proved")
    axes[1].plot([], [], "v", color=GREY, markersize=5, fillstyle="none", label="bound, not known to be attained")
    axes[1].set_ylim(0, 1.85)
    axes[1].legend(loc="upper right")
    for ax in axes:
        ax.set_xlabel("dimension $d$")
        ax.locator_params(axis="x", integer=True)


def _chosen(metrics: Any) -> list[int]:
    """The cases that are drawn: codes below the simplex in the plane and in space."""
    K, d = metrics["K"].values, metrics["d"].values
    below = [i for i in range(len(K)) if d[i] < K[i] - 1 and d[i] <= 3]
    return sorted(below, key=lambda i: (d[i], K[i]))[-DRAWN:]


def _draw(figure: Any, place: int, count: int, case: Any) -> Axes:
    K, d = int(case["K"]), int(case["d"])
    code = np.asarray(case["code"].values)[:d, :K]
    ax: Axes = figure.add_subplot(1, count, place + 1, projection="3d" if d == 3 else None)
    hull = ConvexHull(code.T)
    if d == 2:
        circle = np.linspace(0, 2 * np.pi, 200)
        ax.plot(np.cos(circle), np.sin(circle), color="0.85", linewidth=0.7)
        for edge in hull.simplices:
            ax.plot(*code[:, edge], color=BLUE, linewidth=0.8)
        ax.set_aspect("equal")
    else:
        faces: Any = ax
        faces.plot_trisurf(*code, triangles=hull.simplices, color=BLUE, alpha=0.18, edgecolor=BLUE, linewidth=0.5)
        faces.set_box_aspect((1, 1, 1), zoom=1.25)
    ax.plot(*code, "o", color=RED, markersize=3.5)
    ax.set_anchor("N")
    ax.set_axis_off()
    ax.set_title(
        f"$K={K}$, $d={d}$\nmargin {float(case['margin'].max()):.4f}", fontsize="small", y=1.0 if d == 2 else 1.06
    )
    return ax
