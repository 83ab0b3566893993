"""Figures over log log t: how a run collapses, and how its loss, margin and alignment move.

Exponents of log t are not computed here but handed in, field -> (exponent, standard error), and printed in the
legends. Where a record has the accuracy on the training set, a dotted line marks the first time at which the median
seed errs nowhere: the terminal phase lies to its right.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerpeel.figures import loglog_scale
from layerpeel.figures.absence import unnumbered
from layerpeel.figures.curve import FIRST_LOG_TIME, Curve, draw_asymptote, draw_curve, draw_pale
from layerpeel.figures.decades import number_decades
from layerpeel.figures.errors import with_errors
from layerpeel.figures.style import BLUE, GREEN, GREY, OCHRE, RED, WIDTH, style

__all__ = ["plot_collapse", "plot_margin", "plot_training", "terminal_phase"]

LINE = 105
"""Characters of a heading that fit on a line."""

Rates = Mapping[str, tuple[float, float]]
Window = tuple[float, float]


@dataclass(frozen=True)
class Panel:
    """One panel: what it shows, in words and as a formula, its curves, and the room around them for a legend."""

    title: str
    formula: str
    curves: tuple[Curve, ...]
    room: float = 0.08


COLLAPSE = (
    Panel(
        "variation of the norms",
        r"$\mathrm{Std}_k\,\Vert\cdot\Vert\;/\;\mathrm{Avg}_k\,\Vert\cdot\Vert$",
        (
            Curve("mean_norm_variation", "class means", BLUE, -1.0),
            Curve("classifier_norm_variation", "classifiers", RED, -1.0),
        ),
    ),
    Panel(
        "within-class variation",
        r"$\mathrm{Avg}_i\,\Vert h_i-\bar h_{y_i}\Vert\;/\;\mathrm{Avg}_i\,\Vert h_i-\bar h\Vert$",
        (Curve("within_class_variation", "features", BLUE, -0.5),),
    ),
    Panel(
        "gap of the angles",
        r"$\mathrm{Avg}_{j\neq k}\,|\cos_{jk}+\,1/(K-1)|$",
        (
            Curve("mean_angle_gap", "class means", BLUE, -1.0),
            Curve("classifier_angle_gap", "classifiers", RED, -1.0),
        ),
    ),
    Panel(
        "gap of self-duality",
        r"$\mathrm{Avg}_k\,\Vert\hat h_k-\hat w_k\Vert$",
        (Curve("duality_gap", "means to classifiers", GREY, -1.0),),
    ),
)
"""Ji et al. 2022, Figure 2."""


MARGIN = (
    Panel("loss", r"$-\log L$", (Curve("minus_log_loss", "loss, where $L<1$", GREY),)),
    Panel(
        "gaps of margin and alignment",
        r"$1-\gamma/\gamma^\ast,\quad 1-\beta$",
        (
            Curve("margin_gap", "margin", GREEN, -1.0),
            Curve("beta_gap", "alignment", OCHRE, -1.0),
        ),
        room=0.2,
    ),
)

TRAINING = (
    Panel(
        "loss",
        "$L$",
        (
            Curve("loss", "training set", BLUE),
            Curve("test_loss", "test set", RED),
        ),
    ),
    Panel(
        "error",
        "share of wrong answers, where not 0",
        (
            Curve("train_error", "training set", BLUE),
            Curve("test_error", "test set", RED),
        ),
        room=0.2,
    ),
)


def plot_collapse(
    metrics: Any, *, axes: Any = None, rates: Rates | None = None, window: Window | None = None, beside: Any = None
) -> tuple[Figure, list[Axes]]:
    """Figure 2 of Ji et al. 2022: norms, within-class variation, angles and self-duality over log log t.

    Args:
        metrics: a dataset with dims (seed, record) and the coordinate ``log_time``, or what has it as ``.metrics``.
        axes: four axes to draw on, in place of a new figure.
        rates: field -> (exponent of log t, its standard error), for the legends.
        window: the first and the last log t of the fit, for the heading of a new figure.
        beside: another run in the same time, drawn pale; of ``metrics`` the powers of log t that it tends to are then
            drawn too.

    Raises:
        ValueError: no such dataset, none of the fields in it, or not four axes.
    """
    beside = None if beside is None else _dataset(beside)
    return _draw(_dataset(metrics), COLLAPSE, axes, rates or {}, window, rows=2, beside=beside)


def plot_margin(
    metrics: Any, *, axes: Any = None, rates: Rates | None = None, window: Window | None = None, beside: Any = None
) -> tuple[Figure, list[Axes]]:
    """Loss, and the gaps 1 - gamma/gamma* of the margin (Lemma 3.1) and 1 - beta of the alignment, over log log t.

    The loss is drawn as -log L, which grows like log t and which no length of run underflows; where L >= 1 it has
    no place on the axis. Arguments and errors are those of :func:`plot_collapse`, with two axes; the exponents of
    the gaps are those of the fields ``margin_gap`` and ``beta_gap``.
    """
    beside = None if beside is None else _with_gaps(_dataset(beside))
    return _draw(_with_gaps(_dataset(metrics)), MARGIN, axes, rates or {}, window, rows=1, beside=beside)


def _with_gaps(metrics: Any) -> Any:
    sources = {"minus_log_loss": ("log_loss", 0.0), "margin_gap": ("margin_ratio", 1.0), "beta_gap": ("beta", 1.0)}
    return metrics.assign(
        {gap: top - metrics[field] for gap, (field, top) in sources.items() if field in metrics and gap not in metrics}
    )


def plot_training(
    metrics: Any, *, axes: Any = None, rates: Rates | None = None, window: Window | None = None
) -> tuple[Figure, list[Axes]]:
    """Loss and error of a network on the images it trains on and on others, over log log t.

    The errors are 1 - ``train_accuracy`` and 1 - ``test_accuracy``. Arguments and errors are those of
    :func:`plot_collapse`, with two axes.
    """
    return _draw(with_errors(_dataset(metrics)), TRAINING, axes, rates or {}, window, rows=1)


def _dataset(metrics_or_run: Any) -> Any:
    metrics = getattr(metrics_or_run, "metrics", metrics_or_run)
    if not hasattr(metrics, "data_vars") or "log_time" not in metrics.coords:
        raise ValueError(f"need a run or its metrics with the coordinate log_time, got {type(metrics_or_run).__name__}")
    return metrics


def _draw(
    metrics: Any,
    panels: Sequence[Panel],
    axes: Any,
    rates: Rates,
    window: Window | None,
    *,
    rows: int,
    beside: Any = None,
) -> tuple[Figure, list[Axes]]:
    wanted = [curve.field for panel in panels for curve in panel.curves]
    if not any(field in metrics for field in wanted):
        raise ValueError(f"need a field to draw, one of {', '.join(wanted)}, got {sorted(metrics.data_vars)}")
    loglog_scale.register()
    with style():
        heading = _heading(metrics, window, beside)
        axes = _page(heading, len(panels), rows) if axes is None else list(np.ravel(axes))
        if len(axes) != len(panels):
            raise ValueError(f"need {len(panels)} axes to draw on, got {len(axes)}")
        for letter, panel, ax in zip("abcd", panels, axes, strict=False):
            _panel(ax, panel, metrics, rates, beside)
            ax.set_title(rf"({letter}) {panel.title}", loc="left")
    return axes[0].figure, axes


def _page(heading: str, panels: int, rows: int) -> list[Axes]:
    more = max(0, heading.count("\n") - 1)  # lines of the heading beyond two
    figure = Figure(figsize=(WIDTH, 0.3 + 2.35 * rows + 0.2 * more), layout="constrained")
    figure.suptitle(heading, fontsize="medium")
    return list(np.ravel(figure.subplots(rows, panels // rows, sharex=True)))


def _heading(metrics: Any, window: Window | None, beside: Any) -> str:
    seeds = metrics.sizes["seed"]
    spread = "1 seed" if seeds == 1 else f"median and 10–90% band of {seeds} seeds"
    fit = "" if window is None else rf"exponents fitted over ${_short(window[0])}\leq\log t\leq{_short(window[1])}$"
    first = "; ".join(filter(None, [metrics.attrs.get("title", ""), spread]))
    if len(first) > LINE:  # the title on lines of its own
        first, fit = _wrapped(metrics.attrs["title"]), "; ".join(filter(None, [spread, fit]))
    both = "" if beside is None else "\nlines: gradient flow; pale: gradient descent; dashed: the power in the end"
    return first + (f"\n{fit}" if fit else "") + both


def _wrapped(heading: str) -> str:
    return textwrap.fill(heading, LINE) if len(heading) > LINE else heading


def _short(value: float) -> str:
    """Three digits, without an exponent for what is large."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _panel(ax: Axes, panel: Panel, metrics: Any, rates: Rates, beside: Any) -> None:
    ax.set_xscale("loglog")
    ax.set_yscale("log")
    if (place := ax.get_subplotspec()) is None or place.is_last_row():
        ax.set_xlabel(f"{metrics.attrs.get('time', 'time')} $t$  (log log scale)")
    ax.set_ylabel(panel.formula)
    curves = [curve for curve in panel.curves if curve.field in metrics]
    for curve in curves:
        draw_curve(ax, curve, metrics, rates.get(curve.field))
        if beside is not None:
            draw_pale(ax, curve, beside)
    if beside is not None and curves:
        draw_asymptote(ax, curves, metrics)
    ax.margins(x=0.02, y=panel.room)
    empty = not any(np.isfinite(line.get_ydata()).any() for line in ax.get_lines())
    _mark_terminal_phase(ax, metrics)
    if empty:
        unnumbered(ax)
    else:
        number_decades(ax)
    if curves:
        ax.legend(loc="center" if empty else "best")


def terminal_phase(metrics: Any) -> float | None:
    """log t of the first record (after t = 2) at which the median seed errs nowhere on the training set, or None."""
    if "train_accuracy" not in metrics:
        return None
    accuracy = np.asarray(metrics["train_accuracy"].transpose("seed", "record").values, dtype=np.float64)
    log_time = np.asarray(metrics["log_time"].values, dtype=np.float64)
    reached = np.flatnonzero((np.median(accuracy, axis=0) >= 1) & (log_time > FIRST_LOG_TIME))
    return float(log_time[reached[0]]) if reached.size else None


def _mark_terminal_phase(ax: Axes, metrics: Any) -> None:
    begins = terminal_phase(metrics)
    if begins is not None:
        ax.axvline(begins, color=GREY, linestyle=":", linewidth=0.8, zorder=1)
