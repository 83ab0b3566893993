"""The axis scale ``loglog``: time t on a log(log t) scale, from a few steps to t = e^(e^10).

The data of such an axis are u = log t > 0, because t itself leaves float64 at u = 709; the transform is log u, and
the labels are times t. A power of log t is a straight line against a logarithmic other axis.

Labels are powers t = base^k, with one base an axis: 10 while the axis ends before t = 10^50 (descent), then e
(flow). In k = u / log(base) the axis is a plain logarithmic one, so the labels sit at the finest of the series

    k = 1, 10, 100, ..    1, 3, 10, 30, ..    1, 2, 5, 10, ..    1, 2, 3, 5, 10, ..    1, 2, 3, 4, ..

that leaves each label its room; on a shorter axis of base 10 the same series in t itself follow. Where even these
show fewer than two labels (a deep zoom), labels are at equidistant round numbers t, or u. Minor ticks are at the
finest of the series.

Not positive u has no place on the axis: limits are clipped to positive ones, as on matplotlib's own log scale.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.scale import LogTransform, ScaleBase, register_scale
from matplotlib.ticker import Formatter, LogLocator, MaxNLocator

__all__ = ["LogLogFormatter", "LogLogLocator", "LogLogMinorLocator", "LogLogScale", "register"]

DIGITS = tuple(range(1, 10))
SERIES = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5), DIGITS)
"""The multiples of a power of ten that may carry labels, from coarse to fine."""
TEN = math.log(10)
LAST_DECIMAL = 50 * TEN
"""The u at which labels change from powers of 10 to powers of e."""
LABELS = 7
"""Labels on an axis that does not know its length."""
LABEL_ROOM = 0.75
"""The least distance of labels, in that of matplotlib's estimate, three heights of a letter."""
MINOR_ROOM = 1 / 160
"""The least distance of minor ticks, in lengths of the axis."""


class LogLogScale(ScaleBase):
    """The scale named ``loglog``, for data u = log t."""

    name = "loglog"

    def __init__(self, *_axis: Any) -> None:  # matplotlib hands over the axis before version 3.11, nothing since
        self._transform = LogTransform(math.e)

    def get_transform(self) -> LogTransform:
        """The map u -> log u."""
        return self._transform

    def set_default_locators_and_formatters(self, axis: Any) -> None:
        """Labels at powers t = base^k, bare ticks between them."""
        axis.set_major_locator(LogLogLocator())
        axis.set_minor_locator(LogLogMinorLocator())
        axis.set_major_formatter(LogLogFormatter())

    def limit_range_for_scale(self, vmin: Any, vmax: Any, minpos: float) -> tuple[Any, Any]:
        """The limits, with the least positive datum in place of those that are not positive."""
        positive = minpos if math.isfinite(minpos) else 1e-300
        return np.where(vmin > 0, vmin, positive)[()], np.where(vmax > 0, vmax, positive)[()]


class LogLogLocator(LogLocator):
    """The places u of the labels."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """The labels between ``vmin`` and ``vmax``, increasing."""
        low, high = _view(vmin, vmax)
        labels = self.axis.get_tick_space() if self.axis else LABELS
        room = LABEL_ROOM * (math.log(high) - math.log(low)) / max(1, labels)
        finest = np.zeros(0)
        for ticks, needed in _candidates(low, high, room):
            if len(ticks) >= len(finest) and (np.diff(np.log(ticks)) >= needed).all():
                finest = ticks
        return finest if len(finest) > 1 else _round_numbers(low, high)


class LogLogMinorLocator(LogLocator):
    """The places u of the ticks without labels."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """The bare ticks between ``vmin`` and ``vmax``, increasing."""
        low, high = _view(vmin, vmax)
        room = MINOR_ROOM * (math.log(high) - math.log(low))
        if room > math.log(10 / 9):  # 9 and 10 cannot be told apart
            return np.zeros(0)
        unit = _unit(high)
        ticks = unit * _multiples(DIGITS, max(low / unit, 1.0), high / unit)
        if unit == 1.0:
            return ticks
        # 9 10^p and 10^(p+1) keep their distance up to here.
        last = TEN * math.floor(math.log(10 / 9) / -math.expm1(-room) / TEN)
        return np.unique(np.concatenate([ticks, _times(DIGITS, low, min(high, last))]))


class LogLogFormatter(Formatter):
    """The label of u = log t, as a time t."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """10^2, e^{100} and e^{10^5}, and on a short axis 20 or 2 10^4."""
        if not x > 0:
            return ""
        if _unit(max(self.axis.get_view_interval()) if self.axis else x) == 1.0:
            return f"$e^{{{x:.10g}}}$" if x < 1e5 else f"$e^{{{_scientific(x)}}}$"
        if x < 3 * TEN and abs(x / TEN - round(x / TEN)) > 1e-9:
            return f"{math.exp(x):.6g}"
        return f"${_scientific(math.exp(x))}$"

    def format_data_short(self, value: float) -> str:
        """The time under the cursor."""
        return f"{math.exp(value):.4g}" if value < 10 * TEN else f"e^{value:.4g}"


def register() -> None:
    """Make ``axes.set_xscale("loglog")`` known to matplotlib; again does no harm."""
    register_scale(LogLogScale)


def _view(vmin: float, vmax: float) -> tuple[float, float]:
    """The view as an interval of positive u; the first decade of t where it is none."""
    low, high = sorted((float(vmin), float(vmax)))
    return (low, high) if 0 < low < high < math.inf else (1.0, TEN)


def _unit(high: float) -> float:
    return TEN if high <= LAST_DECIMAL else 1.0


def _candidates(low: float, high: float, room: float) -> Iterator[tuple[Float[np.ndarray, "tick"], float]]:
    """Ticks from coarse to fine, and the room their labels need, given that of 10^2."""
    unit = _unit(high)
    power_room = room if unit == TEN else 1.6 * room if high < 1e5 else 2.0 * room
    stride = max(1, math.ceil(power_room / TEN))
    for digits in SERIES:
        yield unit * _multiples(digits, max(low / unit, 1.0), high / unit, stride), power_room
    if unit == TEN:
        for digits in SERIES:
            yield _times(digits, low, high), room if high < 3 * TEN else 2.0 * room


def _times(digits: Sequence[int], low: float, high: float) -> Float[np.ndarray, "tick"]:
    """The u of the round times t."""
    ticks = np.log(_multiples(digits, math.exp(low), math.exp(high)))
    return ticks[ticks >= low * (1 - 1e-9)]


def _multiples(digits: Sequence[int], low: float, high: float, stride: int = 1) -> Float[np.ndarray, "tick"]:
    """digit 10^p in [low, high] for every p that the stride divides; an end keeps its tick in spite of rounding."""
    if not low <= high:
        return np.zeros(0)
    powers = np.arange(math.floor(math.log10(low)), math.floor(math.log10(high) + 1e-9) + 1)
    values = np.outer(10.0 ** powers[powers % stride == 0], digits).ravel()
    return values[(values >= low * (1 - 1e-9)) & (values <= high * (1 + 1e-9))]


def _round_numbers(low: float, high: float) -> Float[np.ndarray, "tick"]:
    nice = MaxNLocator(LABELS // 2, steps=[1, 2, 5, 10])
    if _unit(high) == TEN:
        ticks = np.log(np.maximum(nice.tick_values(math.exp(low), math.exp(high)), 1.0))
    else:
        ticks = np.asarray(nice.tick_values(low, high))
    return ticks[(ticks >= low) & (ticks <= high)]


def _scientific(value: float) -> str:
    mantissa, power = f"{value:.5e}".split("e")
    factor = "" if float(mantissa) == 1 else rf"{float(mantissa):g}\cdot"
    return f"{factor}10^{{{int(power)}}}"
