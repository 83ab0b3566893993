"""Acceleration: two gaps of several optimisers over the number of steps, with the powers that plain and accelerated
descent tend to as guides. Both axes are logarithmic; each line is the median over the seeds."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerpeel.figures.style import BLUE, GREEN, GREY, OCHRE, RED, WIDTH, style

__all__ = ["plot_acceleration"]

PANELS = (
    ("margin_gap", r"$1-\gamma/\gamma^\ast$", (-1.0, -2.0)),
    ("within_class_variation", "within-class variation", (-0.5, -1.0)),
)
"""Field, label, exponents of the guides."""
COLOURS = (GREY, "#8a6fae", OCHRE, GREEN, BLUE, RED)


def plot_acceleration(metrics: Any) -> tuple[Figure, list[Axes]]:
    """Margin gap and within-class variation over steps, a line an optimiser.

    Raises:
        ValueError: no dataset with the dimensions optimizer, seed and record, or more optimisers than colours.
    """
    if not {"optimizer", "seed", "record"} <= set(getattr(metrics, "dims", ())):
        raise ValueError(f"need metrics with dims optimizer, seed, record, got {type(metrics).__name__}")
    names = [str(name) for name in metrics["optimizer"].values]
    if len(names) > len(COLOURS):
        raise ValueError(f"need at most {len(COLOURS)} optimisers in one figure, got {len(names)}")
    metrics = metrics.assign(margin_gap=1 - metrics["margin_ratio"])
    with style():
        figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
        figure.suptitle(f"{metrics.attrs.get('title', '')}; median of {metrics.sizes['seed']} seeds", fontsize="medium")
        axes = list(np.ravel(figure.subplots(1, 2, sharex=True)))
        for ax, (field, label, guides) in zip(axes, PANELS, strict=True):
            _panel(ax, metrics, field, names)
            _guides(ax, metrics, guides)
            ax.set_ylabel(label)
        axes[0].legend(loc="lower left")
    return figure, axes


def _panel(ax: Axes, metrics: Any, field: str, names: list[str]) -> None:
    steps = np.asarray(metrics["step"].values, dtype=np.float64)
    medians = metrics[field].median("seed")
    for name, colour in zip(names, COLOURS, strict=False):
        values = medians.sel(optimizer=name).values
        shown = (steps >= 1) & (values > 0)
        ax.plot(steps[shown], values[shown], color=colour, label=name)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("steps")


def _guides(ax: Axes, metrics: Any, exponents: tuple[float, ...]) -> None:
    """Powers of the steps over the last decade and a half, near the top of the axes."""
    last = float(metrics["step"].values[-1])
    steps = np.array([last / 30, last])
    top = ax.get_ylim()[1] * 0.5
    for exponent in exponents:
        ax.plot(steps, top * (steps / steps[0]) ** exponent, color="0.35", linestyle=(0, (4, 3)), linewidth=0.8)
        ax.annotate(
            rf"$T^{{{exponent:g}}}$",
            (last, top * 30.0**exponent),
            xytext=(-16, 4),
            textcoords="offset points",
            fontsize="small",
        )
