"""Loss comparison: the same four gaps of collapse and the objective's gap over the steps, a colour a loss."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerpeel.figures.style import BLUE, GREEN, GREY, OCHRE, RED, WIDTH, style
from layerpeel.wording import counted

__all__ = ["plot_loss_comparison"]

PANELS = (
    ("within_class_variation", "within-class variation"),
    ("mean_angle_gap", "angles of the means"),
    ("duality_gap", "self-duality"),
    ("objective_gap", "objective less its optimum"),
)
LOOKS = ((BLUE, "-"), (GREEN, "--"), (OCHRE, "-"), (RED, "--"), (GREY, "-"))
FLOOR = 1e-12
"""Below it there is rounding only."""


def plot_loss_comparison(metrics: Any, *, axes: Any = None) -> tuple[Figure, list[Axes]]:
    """Within-class variation, angles, self-duality and the gap to the optimum: medians and ranges over the seeds.

    Args:
        metrics: a dataset with dims (model, seed, record) and the coordinate ``step``.
        axes: four axes to draw on, in place of a new figure.

    Raises:
        ValueError: no such dataset, more models than can be told apart, or not four axes.
    """
    if not {"model", "step"} <= set(getattr(metrics, "coords", ())):
        raise ValueError(f"need metrics with the coordinates model and step, got {type(metrics).__name__}")
    if metrics.sizes["model"] > len(LOOKS):
        raise ValueError(f"need at most {len(LOOKS)} models in one figure, got {metrics.sizes['model']}")
    with style():
        own = axes is None
        axes = _page(metrics) if own else list(np.ravel(axes))
        if len(axes) != len(PANELS):
            raise ValueError(f"need {len(PANELS)} axes to draw on, got {len(axes)}")
        for letter, (field, title), ax in zip("abcd", PANELS, axes, strict=True):
            _panel(ax, metrics, field)
            ax.set_title(f"({letter}) {title}", loc="left")
        if own:
            handles, labels = axes[0].get_legend_handles_labels()
            axes[0].figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return axes[0].figure, axes


def _page(metrics: Any) -> list[Axes]:
    figure = Figure(figsize=(WIDTH, 5.0), layout="constrained")
    seeds = f"median and range of {counted(metrics.sizes['seed'], 'seed')}"
    figure.suptitle("; ".join(filter(None, [metrics.attrs.get("title", ""), seeds])), fontsize="medium")
    return list(np.ravel(figure.subplots(2, 2, sharex=True)))


def _panel(ax: Axes, metrics: Any, field: str) -> None:
    steps = np.asarray(metrics["step"].values, dtype=np.float64)
    for name, (colour, dash) in zip(metrics["model"].values, LOOKS, strict=False):
        values = metrics[field].sel(model=name).transpose("seed", "record").values
        low, median, high = (_shown(f(values, axis=0)) for f in (np.min, np.median, np.max))
        ax.plot(steps, median, color=colour, linestyle=dash, label=str(name))
        ax.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(bottom=FLOOR)
    ax.set_xlim(left=1)
    place = ax.get_subplotspec()
    if place is None or place.is_last_row():
        ax.set_xlabel("steps")


def _shown(values: Any) -> Any:
    return np.where(np.isfinite(values), np.maximum(values, FLOOR / 100), np.nan)
