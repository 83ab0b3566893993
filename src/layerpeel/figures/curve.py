"""A curve over log log t: the median over the seeds, and how far they spread.

The band reaches from the 10% to the 90% quantile of the seeds (linear interpolation between order statistics); up
to eight seeds are also drawn one by one, thin. One seed is a line. Values that are not finite are left out of the
quantiles; a quantile that is not positive has no place on a logarithmic axis and leaves a gap, and a curve of which
nothing has one says in the legend what it is instead.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from layerpeel.figures.absence import absence

__all__ = ["FIRST_LOG_TIME", "Curve", "draw_asymptote", "draw_curve", "draw_pale"]

QUANTILES = (0.1, 0.5, 0.9)
SINGLE_SEEDS = 8
"""Up to this many seeds are drawn one by one."""
FEW_RECORDS = 10
"""Up to this many records are marked one by one."""
CLEAR = 1.2
"""The dashed power lies above all that is drawn where it is, at the nearest by this factor."""
FIRST_LOG_TIME = math.log(2)
"""Curves begin at t = 2, for log log t falls to minus infinity at t = 1."""


@dataclass(frozen=True)
class Curve:
    """One field of a panel: its name in the records and in the legend, its colour, and its power of log t in the
    end."""

    field: str
    name: str
    colour: str
    asymptote: float | None = None


def draw_curve(ax: Axes, curve: Curve, metrics: Any, exponent: tuple[float, float] | None) -> None:
    """Draw a field of ``metrics``; its legend carries the exponent of log t with its standard error, if given."""
    log_time, values = _values(metrics, curve.field)
    quantiles = _quantiles(values)
    low, median, high = _positive(quantiles)
    missing = absence(quantiles[1])
    label = curve.name + _power(exponent) + (f" ({missing})" if missing else "")
    marker = "o" if len(log_time) <= FEW_RECORDS else None
    ax.plot(log_time, median, color=curve.colour, marker=marker, label=label, zorder=3)
    if len(values) == 1:
        return
    ax.fill_between(log_time, low, high, color=curve.colour, alpha=0.18, linewidth=0)
    if len(values) <= SINGLE_SEEDS:
        ax.plot(log_time, _positive(values).T, color=curve.colour, alpha=0.35, linewidth=0.4)


def draw_pale(ax: Axes, curve: Curve, metrics: Any) -> None:
    """Draw the median of a field of ``metrics`` broad and pale, for what lies beside it."""
    log_time, values = _values(metrics, curve.field)
    _, median, _ = _positive(_quantiles(values))
    ax.plot(log_time, median, color=curve.colour, linewidth=4.0, alpha=0.3, solid_capstyle="butt", zorder=2)


def draw_asymptote(ax: Axes, curves: Sequence[Curve], metrics: Any) -> None:
    """Draw the power (log t)^p that the ``curves`` of ``metrics`` tend to, above all of them over their last half."""
    log_time, power = _values(metrics, curves[0].field)[0], curves[0].asymptote
    if power is None or len(log_time) < 2 or log_time[-1] <= 1:
        return
    late = log_time[log_time >= np.sqrt(log_time[-1])]
    shape = (late / log_time[-1]) ** power
    tops = np.stack([_top(metrics, curve.field)[-len(late) :] for curve in curves])
    line = CLEAR * shape * np.fmax.reduce(tops / shape, axis=None)
    if not np.isfinite(line).all():
        return
    ax.plot(late, line, color="0.35", linestyle=(0, (4, 3)), linewidth=0.8, zorder=1)
    ax.annotate(
        rf"$(\log t)^{{{power:g}}}$",
        (late[len(late) // 2], line[len(late) // 2]),
        xytext=(3, 3),
        textcoords="offset points",
        fontsize="small",
        color="0.35",
    )


def _values(metrics: Any, field: str) -> tuple[Float[np.ndarray, "record"], Float[np.ndarray, "seed record"]]:
    log_time = np.asarray(metrics["log_time"].values, dtype=np.float64)
    values = np.asarray(metrics[field].transpose("seed", "record").values, dtype=np.float64)
    shown = log_time >= FIRST_LOG_TIME
    return log_time[shown], values[:, shown]


def _top(metrics: Any, field: str) -> Float[np.ndarray, "record"]:
    """The highest of what :func:`draw_curve` draws."""
    values = _values(metrics, field)[1]
    return np.fmax.reduce(_positive(values if len(values) <= SINGLE_SEEDS else _quantiles(values)), axis=0)


def _quantiles(values: Float[np.ndarray, "seed record"]) -> Float[np.ndarray, "3 record"]:
    finite = np.where(np.isfinite(values), values, np.nan)
    known = np.isfinite(values).any(axis=0)
    quantiles = np.full((len(QUANTILES), values.shape[1]), np.nan)
    quantiles[:, known] = np.nanquantile(finite[:, known], QUANTILES, axis=0)
    return quantiles


def _positive(values: Float[np.ndarray, "curve record"]) -> Float[np.ndarray, "curve record"]:
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _power(exponent: tuple[float, float] | None) -> str:
    if exponent is None or not math.isfinite(exponent[0]):
        return ""
    value, stderr = exponent
    digits = 2 if not stderr < 0.005 else 3
    return rf", $(\log t)^{{{value:.{digits}f}\,\pm\,{stderr:.{digits}f}}}$"
