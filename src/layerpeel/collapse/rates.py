"""Rates of collapse: exponents of log t, with standard errors over seeds.

On exponential-tailed losses the gaps to collapse fall as powers of log t, g ~ (log t)^p, so that with
x = log log t and y = log g the exponent p is the slope of y against x. Per seed it is the least-squares slope

    p_s = sum_r (x_r - xbar)(y_rs - ybar_s) / sum_r (x_r - xbar)^2

over the records r of a window; reported are the mean over the seeds and its standard error,
std_s(p_s, ddof 1) / sqrt(seeds). One seed has only the regression's standard error,
sqrt(RSS / (R - 2) / sum_r (x_r - xbar)^2), which tells how straight the line is, nothing about other seeds.

The window, unless stated, is the last half of the recorded range of log log t, for a run to T from
log t = sqrt(log T) on. Records are even in log log t, so it holds half of them at any length of run; and
corrections to a power of log t, which vanish relative to it like 1/log t, are O(1/sqrt(log T)) in all of it,
so the exponent converges to the true one as runs grow. The local slopes dy/dx tell how far it still moves.

Records before t = e (log log t < 0) are left out. A seed with a value in the window that is not positive and
finite, or with one constant value, has no slope and is left out with a note; a field with no seed left has
exponent nan. Source: Ji et al. 2022, section 4 and Figure 2; the exponents to expect are -1, and -1/2 for the
within-class variation.
"""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from rich.console import Console
from rich.table import Table

__all__ = ["Exponent", "Rates", "rates"]

NOT_POWERS = frozenset({"loss", "log_loss", "beta", "margin_ratio"})
"""Fields that tend to 1, or like 1/t: the gaps below stand for two of them."""
GAPS = {"margin_gap": "margin_ratio", "beta_gap": "beta"}
"""Gap -> the field f in 1 - f."""


@dataclass(frozen=True)
class Exponent:
    """The exponent p of one field, field ~ (log t)^p.

    Attributes:
        value: the mean of the slopes over the seeds; nan when no seed has one.
        stderr: its standard error, over the seeds if there are at least two, else of the one regression.
        seeds: how many seeds have a slope.
        r2: the share of the variance of the logarithm that the power explains, mean over the seeds.
        note: what was left out and why, or nothing.
    """

    value: float
    stderr: float
    seeds: int
    r2: float
    note: str = ""

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.stderr:.3f}"


@dataclass(frozen=True, eq=False)
class Rates:
    """The exponents of a run.

    Attributes:
        exponents: field -> its exponent.
        window: the first and the last log t of the records in the fit.
        records: how many records that are.
        log_time: log t of every record from t = e on.
        local_slopes: field -> d log(field) / d log log t of every seed at these records; nan where undefined.
    """

    exponents: Mapping[str, Exponent]
    window: tuple[float, float]
    records: int
    log_time: Float[np.ndarray, "record"]
    local_slopes: Mapping[str, Float[np.ndarray, "seed record"]]

    def __getitem__(self, field: str) -> Exponent:
        return self.exponents[field]

    def pairs(self) -> dict[str, tuple[float, float]]:
        """Field -> (exponent, standard error), as figures take them."""
        return {field: (exponent.value, exponent.stderr) for field, exponent in self.exponents.items()}

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=110, color_system=None)
        with console.capture() as capture:
            console.print(self)
        return capture.get().rstrip()

    def __rich__(self) -> Table:
        first, last = self.window
        table = Table(
            title="exponents p of (log t)^p",
            caption=f"over {first:.4g} <= log t <= {last:.4g}, {self.records} records",
        )
        for heading in ("field", "exponent", "R²", "seeds", "note"):
            table.add_column(heading, justify="left" if heading in ("field", "note") else "right")
        for field, exponent in self.exponents.items():
            table.add_row(field, str(exponent), f"{exponent.r2:.4f}", str(exponent.seeds), exponent.note)
        return table


def rates(metrics_or_run: Any, *, window: Any = None) -> Rates:
    """Exponents of log t of every field of a run, by least squares of log(field) against log log t.

    Exact for exact powers of log t; invariant to a field's scale. ``margin_gap`` = 1 - margin_ratio and
    ``beta_gap`` = 1 - beta, as recorded or else computed here, stand for these two; ``loss`` and ``log_loss``, no
    powers of log t, are left out.

    Args:
        metrics_or_run: a dataset with dims (seed, record) and the coordinate ``log_time``, or what has it as
            ``.metrics``.
        window: (low, high) in log t; the last half of the recorded range of log log t when not given.

    Raises:
        ValueError: no such dataset, a log_time that does not increase, a window that is no interval, or fewer
            than three records in it.
    """
    metrics = getattr(metrics_or_run, "metrics", metrics_or_run)
    fields, log_time = _fields(metrics), _log_time(metrics)
    after_e = log_time >= 1.0
    log_time = log_time[after_e]
    chosen, x = _chosen(log_time, window), np.log(log_time)
    logs = {field: _log(values[:, after_e]) for field, values in fields.items()}
    first, last = log_time[chosen][[0, -1]]
    return Rates(
        exponents={field: _exponent(x[chosen], y[:, chosen]) for field, y in logs.items()},
        window=(float(first), float(last)),
        records=int(chosen.sum()),
        log_time=log_time,
        local_slopes={field: np.gradient(y, x, axis=1) for field, y in logs.items()},
    )


def _fields(metrics: Any) -> dict[str, Float[np.ndarray, "seed record"]]:
    if not hasattr(metrics, "data_vars"):
        raise ValueError(f"need a run or its metrics dataset, got {type(metrics).__name__}")
    recorded = {
        str(name): np.asarray(values.transpose("seed", "record").values, dtype=np.float64)
        for name, values in metrics.data_vars.items()
        if set(values.dims) == {"seed", "record"}
    }
    gaps = {gap: 1.0 - recorded[field] for gap, field in GAPS.items() if field in recorded}
    # A gap that was recorded is exact where 1 - f has cancelled.
    return {name: values for name, values in (gaps | recorded).items() if name not in NOT_POWERS}


def _log_time(metrics: Any) -> Float[np.ndarray, "record"]:
    if "log_time" not in metrics.coords:
        raise ValueError(f"need metrics with the coordinate log_time, got {sorted(map(str, metrics.coords))}")
    log_time = np.asarray(metrics["log_time"].values, dtype=np.float64)
    if not (np.diff(log_time) > 0).all():
        raise ValueError("need a log_time that increases from record to record, got one that does not")
    return log_time


def _chosen(log_time: Float[np.ndarray, "record"], window: Any) -> Bool[np.ndarray, "record"]:
    low, high = _last_half(log_time) if window is None else _interval(window)
    # An end that is log t of a record keeps that record in spite of rounding.
    slack = 1e-12 * np.abs(log_time)
    chosen = np.asarray((log_time >= low - slack) & (log_time <= high + slack))
    if chosen.sum() < 3:
        raise ValueError(f"need at least 3 records with {low:g} <= log t <= {high:g}, got {chosen.sum()}")
    return chosen


def _last_half(log_time: Float[np.ndarray, "record"]) -> tuple[float, float]:
    if len(log_time) == 0:
        return 1.0, math.inf
    return math.sqrt(log_time[0] * log_time[-1]), float(log_time[-1])  # the mean of log log t is the geometric one


def _interval(window: Any) -> tuple[float, float]:
    ends = np.asarray(window, dtype=np.float64)
    if ends.shape != (2,) or not ends[0] < ends[1]:
        raise ValueError(f"need a window (low, high) of log t with low < high, got {window}")
    return float(ends[0]), float(ends[1])


def _log(values: Float[np.ndarray, "seed record"]) -> Float[np.ndarray, "seed record"]:
    usable = np.isfinite(values) & (values > 0)
    return np.where(usable, np.log(np.where(usable, values, 1.0)), np.nan)


def _exponent(x: Float[np.ndarray, "record"], y: Float[np.ndarray, "seed record"]) -> Exponent:
    positive = np.isfinite(y).all(axis=1)
    varying = (y != y[:, :1]).any(axis=1)
    y, note = y[positive & varying], _note(positive, varying)
    if len(y) == 0:
        return Exponent(value=math.nan, stderr=math.nan, seeds=0, r2=math.nan, note=note)
    slopes, residual, total = _least_squares(x, y)
    return Exponent(
        value=float(slopes.mean()),
        stderr=_stderr(x, slopes, residual),
        seeds=len(y),
        r2=float((1.0 - residual / total).mean()),
        note="; ".join(filter(None, [note, "one seed: ± of its regression" if len(y) == 1 else ""])),
    )


def _least_squares(
    x: Float[np.ndarray, "record"], y: Float[np.ndarray, "seed record"]
) -> tuple[Float[np.ndarray, "seed"], Float[np.ndarray, "seed"], Float[np.ndarray, "seed"]]:
    """Slopes, and the sums of squares left by the lines and by the means."""
    dx, dy = x - x.mean(), y - y.mean(axis=1, keepdims=True)
    slopes = dy @ dx / (dx @ dx)
    residuals = dy - slopes[:, None] * dx
    return slopes, (residuals**2).sum(axis=1), (dy**2).sum(axis=1)


def _stderr(
    x: Float[np.ndarray, "record"], slopes: Float[np.ndarray, "seed"], residual: Float[np.ndarray, "seed"]
) -> float:
    if len(slopes) > 1:
        return float(slopes.std(ddof=1) / math.sqrt(len(slopes)))
    return math.sqrt(residual[0] / (len(x) - 2) / ((x - x.mean()) ** 2).sum())


def _note(positive: Bool[np.ndarray, "seed"], varying: Bool[np.ndarray, "seed"]) -> str:
    # A nan differs from itself, so a seed that is not positive always varies: the two counts are disjoint.
    reasons = {"not positive and finite": ~positive, "constant": positive & ~varying}
    return "; ".join(
        f"{left_out.sum()} of {len(positive)} seeds left out: {reason}"
        for reason, left_out in reasons.items()
        if left_out.any()
    )
