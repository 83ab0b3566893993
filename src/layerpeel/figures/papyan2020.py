"""Papyan, Han and Donoho 2020: their Figures 2 and 4 to 7, collapse of a network against the epochs it was trained.

Dotted: the first recorded epoch at which the median seed errs nowhere on the training set, where the terminal phase of
training begins. The definitions are those of the record's convention; that of the paper is the preset papyan2020.
"""

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerpeel.figures.decades import number_decades
from layerpeel.figures.errors import with_errors
from layerpeel.figures.style import BLUE, GREY, RED, WIDTH, style
from layerpeel.wording import counted

__all__ = ["plot_papyan2020"]

LINE = 100
"""Characters of a heading that fit on a line."""


@dataclass(frozen=True)
class Panel:
    """One panel: what it shows, as a formula, and its curves: field -> (name, colour)."""

    title: str
    formula: str
    curves: dict[str, tuple[str, str]]


PANELS = (
    Panel(
        "within-class variation",
        r"$\mathrm{tr}\,\Sigma_W\Sigma_B^{+}$",
        {"nc1": ("features", BLUE)},
    ),
    Panel(
        "equal norms",
        r"$\mathrm{Std}_k\,\Vert\cdot\Vert\;/\;\mathrm{Avg}_k\,\Vert\cdot\Vert$",
        {"mean_norm_variation": ("class means", BLUE), "classifier_norm_variation": ("classifiers", RED)},
    ),
    Panel(
        "largest equal angles",
        r"$\mathrm{Avg}_{j\neq k}\,|\cos_{jk}+\,1/(K-1)|$",
        {"mean_angle_gap": ("class means", BLUE), "classifier_angle_gap": ("classifiers", RED)},
    ),
    Panel(
        "self-duality",
        r"$\Vert W^\top/\Vert W\Vert-\dot M/\Vert\dot M\Vert\,\Vert^2$",
        {"nc3": ("classifiers to means", GREY)},
    ),
    Panel(
        "nearest class mean",
        "share that decides otherwise",
        {"nc4_mismatch": ("training set", BLUE)},
    ),
    Panel(
        "error",
        "share of wrong answers",
        {"train_error": ("training set", BLUE), "test_error": ("test set", RED)},
    ),
)


def plot_papyan2020(metrics: Any, *, axes: Any = None) -> tuple[Figure, list[Axes]]:
    """Within-class variation, norms, angles, self-duality, nearest class mean and error over the epochs.

    Medians over the seeds; thin lines, every seed. Shares are on an axis that is linear below the share of one sample
    in 10^4 and has 0; the others are logarithmic.

    Args:
        metrics: a dataset with dims (seed, record) and the coordinate ``step``, the epochs.
        axes: six axes to draw on, in place of a new figure.

    Raises:
        ValueError: no such dataset, or not six axes.
    """
    if "step" not in getattr(metrics, "coords", ()) or "train_accuracy" not in metrics:
        raise ValueError(f"need the metrics of a network, with its epochs as step, got {type(metrics).__name__}")
    metrics = with_errors(metrics)
    with style():
        axes = _page(metrics) if axes is None else list(np.ravel(axes))
        if len(axes) != len(PANELS):
            raise ValueError(f"need {len(PANELS)} axes to draw on, got {len(axes)}")
        for letter, panel, ax in zip("abcdef", PANELS, axes, strict=True):
            _panel(ax, panel, metrics)
            ax.set_title(f"({letter}) {panel.title}", loc="left")
    return axes[0].figure, axes


def _page(metrics: Any) -> list[Axes]:
    figure = Figure(figsize=(WIDTH * 1.2, 4.4), layout="constrained")
    heading = f"{metrics.attrs.get('title', '')}; {counted(metrics.sizes['seed'], 'seed')}"
    figure.suptitle(textwrap.fill(heading, LINE), fontsize="medium")
    return list(np.ravel(figure.subplots(2, 3, sharex=True)))


def _panel(ax: Axes, panel: Panel, metrics: Any) -> None:
    epochs = metrics["step"].values
    for field, (name, colour) in panel.curves.items():
        values = np.asarray(metrics[field].transpose("seed", "record").values, dtype=np.float64)
        ax.plot(epochs, np.median(values, axis=0), color=colour, label=name, zorder=3)
        if len(values) > 1:
            ax.plot(epochs, values.T, color=colour, alpha=0.35, linewidth=0.4)
    shares = panel.formula.startswith("share")
    if shares:
        ax.set_yscale("symlog", linthresh=1e-4, linscale=0.5)
        ax.set_ylim(0, 1.2)
    else:
        ax.set_yscale("log")
        ax.margins(y=0.08)
        number_decades(ax)
    begins = _first_without_error(metrics)
    if begins is not None:
        ax.axvline(begins, color=GREY, linestyle=":", linewidth=0.8, zorder=1)
    if (place := ax.get_subplotspec()) is None or place.is_last_row():
        ax.set_xlabel("epoch")
    ax.set_ylabel(panel.formula)
    ax.margins(x=0.02)
    ax.legend(loc="center right" if shares else "upper right")


def _first_without_error(metrics: Any) -> float | None:
    accuracy: Float[np.ndarray, "seed record"] = metrics["train_accuracy"].transpose("seed", "record").values
    reached = np.flatnonzero(np.median(accuracy, axis=0) >= 1)
    return float(metrics["step"].values[reached[0]]) if reached.size else None
