"""Minority collapse: the cosine of minority classifiers against the imbalance, measured and exact, with thresholds."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from layerpeel.figures.style import BLUE, GREEN, GREY, OCHRE, RED, WIDTH, style, typeset
from layerpeel.wording import counted

__all__ = ["plot_minority_collapse"]

COLOURS = (BLUE, RED, GREEN, OCHRE, GREY)


def plot_minority_collapse(metrics: Any, *, ax: Axes | None = None) -> tuple[Any, Axes]:
    """Lines: the optimum; dots: every seed of descent; dotted: R0, from which on minority classifiers coincide.

    Args:
        metrics: a dataset with the dimension ``majority``, a coordinate of K_A.
        ax: axes to draw on, in place of a new figure.

    Raises:
        ValueError: no such dataset, or more K_A than can be told apart.
    """
    if "majority" not in getattr(metrics, "coords", ()):
        raise ValueError(f"need metrics with the coordinate majority, got {type(metrics).__name__}")
    majorities = metrics["majority"].values.tolist()
    if len(majorities) > len(COLOURS):
        raise ValueError(
            f"need at most {len(COLOURS)} numbers of majority classes in one figure, got {len(majorities)}"
        )
    with style():
        if ax is None:
            ax = Figure(figsize=(WIDTH, 3.4), layout="constrained").subplots()
        for KA, colour in zip(majorities, COLOURS, strict=False):
            _draw(ax, metrics.sel(majority=KA), int(metrics.attrs["K"]) - KA, colour)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.set_xlabel(r"imbalance $R=n_A/n_B$")
        ax.set_ylabel("cosine of minority classifiers")
        ax.axhline(-1 / (metrics.attrs["K"] - 1), color="0.6", linewidth=0.6, linestyle=(0, (4, 3)), zorder=0)
        ax.annotate(
            r"$-\,1/(K-1)$", (1, -1 / (metrics.attrs["K"] - 1)), xycoords=("axes fraction", "data"),
            xytext=(-3, 3), textcoords="offset points", ha="right", fontsize="small", color="0.4",
        )  # fmt: skip
        ax.set_ylim(-0.22, 1.09)
        ax.set_title(f"{typeset(metrics.attrs['title'])}; lines: exact, dots: {_seeds(metrics)} of descent", loc="left")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3)
    return ax.figure, ax


def _draw(ax: Axes, metrics: Any, KB: int, colour: str) -> None:
    KA, R0 = int(metrics["majority"]), float(metrics["threshold"])
    label = rf"$K_A={KA},\;K_B={KB}:\;R_0={R0:.2f}$"
    ax.plot(metrics["curve_ratio"], metrics["curve_cosine"], color=colour, label=label, zorder=2)
    for seed in metrics["seed"].values:
        ax.plot(
            metrics["ratio"], metrics["cosine"].sel(seed=seed), "o", color=colour, markersize=4,
            markerfacecolor="none", markeredgewidth=0.8, zorder=3,
        )  # fmt: skip
    ax.plot([R0, R0], [-0.22, 1], color=colour, linestyle=":", linewidth=0.9, zorder=1)


def _seeds(metrics: Any) -> str:
    return counted(int(np.size(metrics["seed"])), "seed")
