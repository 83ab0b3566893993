"""Regularised features from random starts and from saddles: the gap to the optimum, the way out, collapse."""

from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerpeel.figures.style import BLUE, GREEN, GREY, OCHRE, RED, WIDTH, style, typeset
from layerpeel.wording import counted

__all__ = ["plot_regularised_features"]

COLOURS = (GREY, BLUE, RED, GREEN, OCHRE)
COLLAPSE = (
    ("within_class_variation", "within-class", BLUE),
    ("mean_norm_variation", "norms of means", OCHRE),
    ("mean_angle_gap", "angles of means", GREEN),
    ("duality_gap", "self-duality", GREY),
)
SADDLES = {"zero": "$W=H=0$"}
PANELS = ("objective less its optimum", "distance from the saddle (dashed: theory)", "collapse from random starts")
ROUNDING = 1e-15
"""Below this a gap is rounding, and not drawn."""


def plot_regularised_features(metrics: Any, *, axes: Any = None) -> tuple[Figure, list[Axes]]:
    """(a) gap of the objective, dotted: that of a saddle; (b) distance from it, dashed: theory; (c) collapse.

    Every seed is a line.

    Args:
        metrics: a dataset with dims (start, seed, record) and the coordinate ``step``.
        axes: three axes to draw on, in place of a new figure.

    Raises:
        ValueError: no such dataset, more starts than can be told apart, or not three axes.
    """
    if not {"start", "step"} <= set(getattr(metrics, "coords", ())):
        raise ValueError(f"need metrics with the coordinates start and step, got {type(metrics).__name__}")
    if metrics.sizes["start"] > len(COLOURS):
        raise ValueError(f"need at most {len(COLOURS)} starts in one figure, got {metrics.sizes['start']}")
    with style():
        axes = _page(metrics) if axes is None else list(np.ravel(axes))
        if len(axes) != len(PANELS):
            raise ValueError(f"need {len(PANELS)} axes to draw on, got {len(axes)}")
        for letter, title, draw, ax in zip("abc", PANELS, (_gaps, _departures, _collapse), axes, strict=True):
            ax.set_yscale("log")
            draw(ax, metrics)
            ax.set_xlabel("steps")
            ax.set_title(f"({letter}) {title}", loc="left")
    return axes[0].figure, axes


def _page(metrics: Any) -> list[Axes]:
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    figure.suptitle(
        f"{typeset(metrics.attrs['title'])}; {counted(metrics.sizes['seed'], 'seed')} a start", fontsize="medium"
    )
    panels = figure.subplot_mosaic([["a", "a"], ["b", "c"]])
    return [panels[letter] for letter in "abc"]


def _gaps(ax: Axes, metrics: Any) -> None:
    for name, colour in zip(metrics["start"].values, COLOURS, strict=False):
        one = metrics.sel(start=name)
        _lines(
            ax,
            metrics,
            one["gap"],
            colour,
            label="random start" if name == "random" else f"saddle {SADDLES.get(name, name)}",
        )
        level = float(one["level"]) - float(metrics.attrs["optimum"])
        if np.isfinite(level):
            ax.axhline(level, color=colour, linestyle=":", linewidth=0.8, zorder=1)
    ax.legend(loc="upper right")


def _departures(ax: Axes, metrics: Any) -> None:
    steps, noise = metrics["step"].values.astype(np.float64), float(metrics.attrs["noise"])
    ax.set_xscale("log")
    for name, colour in zip(metrics["start"].values, COLOURS, strict=False):
        one = metrics.sel(start=name)
        rate = float(one["leaving"])
        if not np.isfinite(rate):
            continue
        _lines(ax, metrics, one["distance"], colour)
        median = np.median(one["distance"].transpose("seed", "record").values, axis=0)
        outside = np.flatnonzero(median > 1e3 * noise)
        if outside.size:
            at, top = steps[outside[0]], median[outside[0]]
            near = np.linspace(max(1.0, at - np.log(3e3) / rate), at + np.log(1e3) / rate, 200)
            ax.plot(near, 3 * top * np.exp(rate * (near - at)), color=colour, linestyle=(0, (4, 3)), linewidth=0.8)
    ax.set_ylim(noise, None)


def _collapse(ax: Axes, metrics: Any) -> None:
    one = metrics.sel(start="random")
    for field, name, colour in COLLAPSE:
        _lines(ax, metrics, one[field], colour, label=name)
    steps, falling = metrics["step"].values.astype(np.float64), float(metrics.attrs["falling"])
    values = np.median(one["within_class_variation"].transpose("seed", "record").values, axis=0)
    late = np.flatnonzero((values < 1e-2) & (values > 1e-12))
    if late.size:
        line = 5 * values[late[0]] * np.exp(-falling * (steps[late] - steps[late[0]]))
        ax.plot(steps[late], line, color="black", linestyle=(0, (4, 3)), linewidth=0.8, label=r"$(1-\eta\lambda_H)^t$")
        ax.set_xlim(0, 1.25 * steps[late[-1]])
    ax.set_ylim(1e-13, 3)
    ax.legend(loc="upper right")


def _lines(ax: Axes, metrics: Any, field: Any, colour: str, *, label: str = "") -> None:
    """Every seed a thin line; the first one carries the name."""
    for number, row in enumerate(field.transpose("seed", "record").values):
        name = label if label and number == 0 else "_"
        ax.plot(metrics["step"].values, _above_rounding(row), color=colour, linewidth=0.9, alpha=0.8, label=name)


def _above_rounding(values: Float[np.ndarray, "record"]) -> Float[np.ndarray, "record"]:
    return np.where(np.isfinite(values) & (values > ROUNDING), values, np.nan)
