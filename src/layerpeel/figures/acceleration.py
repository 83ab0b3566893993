"""Acceleration: collapse against the number of steps for several optimisers, and against -log L, which is their clock.

In panels (a) to (c) a power of the steps is a straight line; dashed guides have the exponents to expect of plain
normalised descent (-1, -1/2, -1) and of momentum (-2, -1, -2 or -3). In (d) optimisers that differ in speed alone fall
on one line of slope -1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerpeel.figures.absence import absence, unnumbered
from layerpeel.figures.style import BLUE, GREEN, GREY, OCHRE, RED, WIDTH, style

__all__ = ["plot_acceleration"]

VIOLET = "#7a4fa3"
LOOKS = ((GREY, "-"), (BLUE, "-"), (VIOLET, ":"), (OCHRE, "--"), (GREEN, "-"), (RED, "-"), ("black", "-."))
"""Colour and dash of the optimisers, in their order."""
NAMES = {
    "plain": "plain",
    "heavy-ball": "heavy ball, weight {}",
    "adam": "Adam, rate {}",
    "nesterov": "Nesterov, t/(t+{})",
    "momentum": "momentum, friction {}",
}
QUANTILES = (0.1, 0.5, 0.9)
GUIDE_DECADES = 1.2
GUIDE_FACTOR = 2.5
"""Guides lie above the slowest curve and below the others, where there is room, by at least this factor."""
LABEL_ROOM = 0.11
"""The length of the axis beyond the data, where nothing but the labels of guides is, as a part of the rest."""


@dataclass(frozen=True)
class Panel:
    """A field against the steps or -log L, and the exponents of its guides: optimiser -> p."""

    title: str
    formula: str
    field: str
    guides: Mapping[str, float]
    clock: str = "step"


PANELS = (
    Panel("margin", r"$1-\gamma/\gamma^\ast$", "margin_gap", {"plain": -1.0, "momentum:1": -2.0}),
    Panel(
        "within-class variation",
        r"$\mathrm{Avg}_i\,\Vert h_i-\bar h_{y_i}\Vert\;/\;\mathrm{Avg}_i\,\Vert h_i-\bar h\Vert$",
        "within_class_variation",
        {"plain": -0.5, "momentum:1": -1.0},
    ),
    Panel(
        "self-duality",
        r"$\mathrm{Avg}_k\,\Vert\hat h_k-\hat w_k\Vert$",
        "duality_gap",
        {"plain": -1.0, "momentum:1": -2.0, "momentum:4": -3.0},
    ),
    Panel("margin, by the clock of the loss", r"$1-\gamma/\gamma^\ast$", "margin_gap", {"momentum:1": -1.0}, "clock"),
)


def plot_acceleration(metrics: Any, *, axes: Any = None) -> tuple[Figure, list[Axes]]:
    """Margin, within-class variation and self-duality over steps, the margin over -log L: median and 10-90% band.

    Args:
        metrics: a dataset with dims (optimizer, seed, record) and the coordinate ``step``.
        axes: four axes to draw on, in place of a new figure.

    Raises:
        ValueError: no such dataset, more optimisers than can be told apart, or not four axes.
    """
    if not {"optimizer", "step"} <= set(getattr(metrics, "coords", ())):
        raise ValueError(f"need metrics with the coordinates optimizer and step, got {type(metrics).__name__}")
    names = [str(name) for name in metrics["optimizer"].values]
    if len(names) > len(LOOKS):
        raise ValueError(f"need at most {len(LOOKS)} optimizers in one figure, got {len(names)}")
    metrics = metrics.assign(margin_gap=1 - metrics["margin_ratio"], clock=-metrics["log_loss"])
    with style():
        own = axes is None
        axes = _page(metrics) if own else list(np.ravel(axes))
        if len(axes) != len(PANELS):
            raise ValueError(f"need {len(PANELS)} axes to draw on, got {len(axes)}")
        for letter, panel, ax in zip("abcd", PANELS, axes, strict=True):
            _panel(ax, panel, metrics, names)
            ax.set_title(rf"({letter}) {panel.title}", loc="left")
        if own:
            handles, labels = axes[0].get_legend_handles_labels()
            axes[0].figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return axes[0].figure, axes


def _page(metrics: Any) -> list[Axes]:
    seeds = metrics.sizes["seed"]
    spread = "1 seed" if seeds == 1 else f"median and 10–90% band of {seeds} seeds"
    figure = Figure(figsize=(WIDTH, 5.4), layout="constrained")
    figure.suptitle("; ".join(filter(None, [metrics.attrs.get("title", ""), spread])), fontsize="medium")
    return list(np.ravel(figure.subplots(2, 2)))


def _panel(ax: Axes, panel: Panel, metrics: Any, names: list[str]) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylabel(panel.formula)
    ax.set_xlabel("steps" if panel.clock == "step" else r"$-\log L$")
    for name, (colour, dash) in zip(names, LOOKS, strict=False):
        chosen = metrics.sel(optimizer=name)
        x, (low, median, high) = _clock(chosen, panel.clock), _quantiles(chosen[panel.field])
        above = 4 if dash in ("--", ":") else 3  # what is dashed may lie on a whole line
        ax.plot(x, median, color=colour, linestyle=dash, label=_label(name), zorder=above)
        ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        if name in panel.guides:
            _guide(ax, x, median, panel.guides[name], above=name == "plain")
    ax.margins(x=0.02, y=0.06)
    left, right = ax.get_xlim()
    ax.set_xlim(left, right * (right / left) ** LABEL_ROOM)
    missing = absence(metrics[panel.field].values) or absence(metrics[panel.clock].values)
    if missing:
        ax.text(0.5, 0.5, missing, transform=ax.transAxes, ha="center", va="center")
        unnumbered(ax)


def _clock(metrics: Any, clock: str) -> Float[np.ndarray, "record"]:
    """Steps, or the median of -log L over the seeds, where positive."""
    if clock == "step":
        return _positive(np.asarray(metrics["step"].values, dtype=np.float64))
    return _quantiles(metrics[clock])[1]


def _quantiles(field: Any) -> Float[np.ndarray, "3 record"]:
    values = np.asarray(field.transpose("seed", "record").values, dtype=np.float64)
    finite = np.where(np.isfinite(values), values, np.nan)
    known = np.isfinite(values).any(axis=0)
    quantiles = np.full((len(QUANTILES), values.shape[1]), np.nan)
    quantiles[:, known] = np.nanquantile(finite[:, known], QUANTILES, axis=0)
    return _positive(quantiles)


def _positive(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _guide(
    ax: Axes, x: Float[np.ndarray, "record"], y: Float[np.ndarray, "record"], exponent: float, *, above: bool
) -> None:
    """A dashed line of slope ``exponent`` on one side of the last part of (x, y), the exponent at its end."""
    shown = np.isfinite(x) & np.isfinite(y)
    if not shown.any():
        return
    x, y = x[shown], y[shown]
    ends = np.array([x[-1] / 10**GUIDE_DECADES, x[-1]])
    late = x >= ends[0]
    offsets = y[late] / (x[late] / x[-1]) ** exponent
    height = offsets.max() * GUIDE_FACTOR if above else offsets.min() / GUIDE_FACTOR
    ax.plot(ends, height * (ends / x[-1]) ** exponent, color="black", linestyle=(0, (4, 3)), linewidth=0.7, zorder=2)
    ax.annotate(
        f"{exponent:g}".replace("-", "−"),
        (x[-1], height),
        xytext=(3, 0),
        textcoords="offset points",
        ha="left",
        va="center",
        fontsize="small",
    )


def _label(name: str) -> str:
    kind, _, number = name.partition(":")
    return NAMES.get(kind, name).format(number)
