"""A curve over log log t: the median over the seeds, and how far they spread.

The band reaches from the 10% to the 90% quantile of the seeds (linear interpolation between order statistics); up
to eight seeds are also drawn one by one, thin. One seed is a line. Values that are not finite are left out of the
quantiles; a quantile that is not positive has no place on a logarithmic axis and leaves a gap, and a curve with
nothing to draw says so in the legend.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

__all__ = ["FIRST_LOG_TIME", "Curve", "draw_asymptote", "draw_curve", "draw_pale"]

QUANTILES = (0.1, 0.5, 0.9)
SINGLE_SEEDS = 8
"""Up to this many seeds are drawn one by one."""
FEW_RECORDS = 10
"""Up to this many records are marked one by one."""
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
    low, median, high = _positive(_quantiles(values))
    label = curve.name + _power(exponent) + ("" if np.isfinite(median).any() else " (nothing to draw)")
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


def draw_asymptote(ax: Axes, curve: Curve, metrics: Any) -> None:
    """Draw the power (log t)^p that the median of ``metrics`` tends to, beside its last point, over its last half."""
    log_time, values = _values(metrics, curve.field)
    _, median, _ = _positive(_quantiles(values))
    if curve.asymptote is None or len(median) < 2 or not np.isfinite(median[-1]) or log_time[-1] <= 1:
        return
    late = log_time[log_time >= np.sqrt(log_time[-1])]
    line = 1.5 * median[-1] * (late / log_time[-1]) ** curve.asymptote
    ax.plot(late, line, color="0.35", linestyle=(0, (4, 3)), linewidth=0.8, zorder=1)
    ax.annotate(
        rf"$(\log t)^{{{curve.asymptote:g}}}$",
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
