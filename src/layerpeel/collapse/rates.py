"""Rates of collapse: exponents of log t, or of the number of steps, with standard errors over seeds.

On exponential-tailed losses the gaps to collapse fall as powers of u = log t, g ~ u^p, under the gradient flow and
plain descent, and as powers of u = step under loss-normalised descent, whose log t is itself a power of the steps. With
x = log u and y = log g the exponent p is the slope of y against x. Per seed it is the least-squares slope

    p_s = sum_r (x_r - xbar)(y_rs - ybar_s) / sum_r (x_r - xbar)^2

over the records r of a window; reported are the mean over the seeds and its standard error,
std_s(p_s, ddof 1) / sqrt(seeds). One seed has only the regression's standard error,
sqrt(RSS / (R - 2) / sum_r (x_r - xbar)^2), which tells how straight the line is, nothing about other seeds.

The window, unless stated, is the last half of the recorded range of log u, for a run to U from u = sqrt(U) on. Records
even in log u (as ``descend`` makes them for log t) leave half of them in it at any length of run; and corrections to a
power of u, which vanish relative to it like 1/u, are O(1/sqrt(U)) in all of it, so the exponent converges to the true
one as runs grow. The local slopes dy/dx tell how far it still moves.

Records before u = 1 (t = e, or the first step) are left out. A seed with a value in the window that is not positive and
finite, or with one constant value, has no slope and is left out with a note; a field with no seed left has
exponent nan. Source: Ji et al. 2022, section 4 and Figure 2; the exponents to expect are -1, and -1/2 for the
within-class variation.
"""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from rich.console import Console
from rich.table import Table

from layerpeel.sampling import number_vector

__all__ = ["Exponent", "Rates", "rates"]

NOT_POWERS = frozenset(
    {"loss", "log_loss", "beta", "margin_ratio", "gamma", "smoothed_gamma", "balance_drift", "column_sum_drift"}
)
"""Fields that tend to a constant, fall like 1/t, or are errors: the gaps below stand for two of them."""
GAPS = {"margin_gap": "margin_ratio", "beta_gap": "beta"}
"""Gap -> the field f in 1 - f."""
Variable = Literal["log_time", "step"]
VARIABLES: dict[Variable, str] = {"log_time": "log t", "step": "steps"}
"""Coordinate u -> its name in sentences."""


@dataclass(frozen=True)
class Exponent:
    """The exponent p of one field, field ~ u^p.

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
        window: the first and the last u of the records in the fit.
        records: how many records that are.
        points: u of every record from u = 1 on.
        local_slopes: field -> d log(field) / d log u of every seed at these records; nan where undefined.
        variable: which coordinate u is, ``log_time`` or ``step``.
    """

    exponents: Mapping[str, Exponent]
    window: tuple[float, float]
    records: int
    points: Float[np.ndarray, "record"]
    local_slopes: Mapping[str, Float[np.ndarray, "seed record"]]
    variable: Variable = "log_time"

    @property
    def log_time(self) -> Float[np.ndarray, "record"]:
        """The points of exponents of log t.

        Raises:
            ValueError: when these are exponents of something else.
        """
        if self.variable != "log_time":
            raise ValueError(f"need exponents of log t, got those of {VARIABLES[self.variable]}")
        return self.points

    def __getitem__(self, field: str) -> Exponent:
        if field not in self.exponents:
            raise ValueError(f"need one of the fields {', '.join(self.exponents)}, got {field!r}")
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
        (first, last), name = self.window, VARIABLES[self.variable]
        table = Table(
            title=f"exponents p of {name}^p" if " " not in name else f"exponents p of ({name})^p",
            caption=f"over {first:.4g} <= {name} <= {last:.4g}, {self.records} records",
        )
        for heading in ("field", "exponent", "R²", "seeds", "note"):
            table.add_column(heading, justify="left" if heading in ("field", "note") else "right")
        for field, exponent in self.exponents.items():
            table.add_row(field, str(exponent), f"{exponent.r2:.4f}", str(exponent.seeds), exponent.note)
        return table


def rates(metrics_or_run: Any, *, window: Any = None, variable: Variable = "log_time") -> Rates:
    """Exponents of log t (or of the steps) of every field of a run, by least squares of log(field) against log u.

    Exact for exact powers of u; invariant to a field's scale. ``margin_gap`` = 1 - margin_ratio and ``beta_gap`` =
    1 - beta, as recorded or else computed here, stand for these two; ``loss`` and ``log_loss``, no powers, are left
    out.

    Args:
        metrics_or_run: a dataset with dims (seed, record) and the coordinate ``variable``, or what has it as
            ``.metrics``.
        window: (low, high) in u; the last half of the recorded range of log u when not given.
        variable: u: ``log_time``, or ``step`` for descent whose log t is a power of the steps
            (:func:`layerpeel.normalized`).

    Raises:
        ValueError: no such dataset or variable, a variable that does not increase, a window that is no interval, or
            fewer than three records in it.
    """
    metrics = getattr(metrics_or_run, "metrics", metrics_or_run)
    fields, points = _fields(metrics), _points(metrics, variable)
    begun = points >= 1.0
    points = points[begun]
    chosen, x = _chosen(points, window, VARIABLES[variable]), np.log(points)
    logs = {field: _log(values[:, begun]) for field, values in fields.items()}
    first, last = points[chosen][[0, -1]]
    return Rates(
        exponents={field: _exponent(x[chosen], y[:, chosen]) for field, y in logs.items()},
        window=(float(first), float(last)),
        records=int(chosen.sum()),
        points=points,
        local_slopes={field: np.gradient(y, x, axis=1) for field, y in logs.items()},
        variable=variable,
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


def _points(metrics: Any, variable: Any) -> Float[np.ndarray, "record"]:
    if not isinstance(variable, str) or variable not in VARIABLES:
        raise ValueError(f"need variable to be one of {', '.join(VARIABLES)}, got {variable!r}")
    if variable not in metrics.coords:
        raise ValueError(f"need metrics with the coordinate {variable}, got {sorted(map(str, metrics.coords))}")
    points = np.asarray(metrics[variable].values, dtype=np.float64)
    if not (np.diff(points) > 0).all():
        raise ValueError(f"need a {variable} that increases from record to record, got one that does not")
    return points


def _chosen(points: Float[np.ndarray, "record"], window: Any, name: str) -> Bool[np.ndarray, "record"]:
    low, high = _last_half(points) if window is None else _interval(window, name)
    # An end that is u of a record keeps that record in spite of rounding.
    slack = 1e-12 * np.abs(points)
    chosen = np.asarray((points >= low - slack) & (points <= high + slack))
    if chosen.sum() < 3:
        raise ValueError(f"need at least 3 records with {low:g} <= {name} <= {high:g}, got {chosen.sum()}")
    return chosen


def _last_half(points: Float[np.ndarray, "record"]) -> tuple[float, float]:
    if len(points) == 0:
        return 1.0, math.inf
    return math.sqrt(points[0] * points[-1]), float(points[-1])  # the mean of log u is the geometric one


def _interval(window: Any, name: str) -> tuple[float, float]:
    ends = number_vector(window)
    if ends is None or len(ends) != 2 or not ends[0] < ends[1]:
        raise ValueError(f"need a window (low, high) of {name} with low < high, got {window}")
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
