"""When a run is recorded: at steps or times evenly spaced in log log t, the time in which collapse is a power law."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    import xarray

__all__ = ["dataset", "log_times", "loglog_steps", "loglog_times", "number_vector", "record_steps", "record_times"]


def loglog_steps(steps: int, count: int) -> Int[np.ndarray, "record"]:
    """At most ``count`` steps: 0, then integers from 2 to ``steps`` as even in log log step as integers can be.

    Early on, where the spacing is below one, every integer is one of them; the rest are evenly spaced. min(count,
    steps + 1) distinct steps come back (step 1, where log log t = -inf, only when needed).
    """
    if count >= steps:
        return np.arange(steps + 1) if count > steps else np.delete(np.arange(steps + 1), 1)
    if count == 2 or steps < 2:
        return np.unique([0, steps])
    wanted = count - 1
    size = wanted
    while len(_even(steps, 2 * size)) <= wanted:
        size *= 2
    fits = bisect_right(range(size, 2 * size), wanted, key=lambda n: len(_even(steps, n))) - 1
    points = _even(steps, size + fits)
    missing = np.setdiff1d(np.arange(2, min(steps, count + 2)), points)[: wanted - len(points)]
    return np.unique(np.concatenate([[0], points, missing]))


def _even(steps: int, size: int) -> Int[np.ndarray, "point"]:
    """The integers next to ``size`` points from 2 to ``steps`` that are evenly spaced in log log step."""
    return np.unique(
        np.round(np.exp(np.exp(np.linspace(np.log(np.log(2)), np.log(np.log(steps)), size)))).astype(np.int64)
    )


def record_steps(record: int | Sequence[int], steps: int) -> Int[np.ndarray, "record"]:
    """The steps to record: an int asks for that many log-log-spaced ones, a sequence names them; ``steps`` is
    always in.

    Raises:
        ValueError: for a count below 2, or steps that are negative, past the end, or not whole numbers.
    """
    if isinstance(record, int | np.integer) and not isinstance(record, bool):
        if record < 2:
            raise ValueError(f"need record >= 2 (the first and the last step), got record={record}")
        return loglog_steps(steps, int(record))
    points = number_vector(record)
    if points is None or points.dtype.kind == "f":
        raise ValueError(f"need record to be a count or a sequence of whole steps, got {record!r}")
    if points.min() < 0 or points.max() > steps:
        raise ValueError(f"need recorded steps between 0 and {steps}, got {points.min()} to {points.max()}")
    return np.unique(np.append(points, steps)).astype(np.int64)


def loglog_times(since: float, until: float, count: int) -> Float[np.ndarray, "record"]:
    """``count`` log-times from ``since`` to ``until``: the first, then from log 2 (t = 2) on evenly in log log t.

    A span that ends before t = 4 is divided evenly in t.
    """
    if until <= np.log(4.0):
        with np.errstate(divide="ignore"):
            return np.append(np.log(np.linspace(np.exp(since), np.exp(until), count)[:-1]), until)
    first = max(since, np.log(2.0))
    even = np.exp(np.linspace(np.log(first), np.log(until), count - (first > since)))
    even[0], even[-1] = first, until
    return even if first == since else np.append(since, even)


def record_times(record: int | Sequence[float], since: float, until: float) -> Float[np.ndarray, "record"]:
    """The log-times to record: an int asks for that many log-log-spaced ones, a sequence names them; ``until`` is
    always in.

    Raises:
        ValueError: for a count below 2, or times that are not numbers between ``since`` and ``until``.
    """
    if isinstance(record, int | np.integer) and not isinstance(record, bool):
        if record < 2:
            raise ValueError(f"need record >= 2 (the first and the last time), got record={record}")
        return loglog_times(since, until, int(record))
    points = number_vector(record)
    if points is None or np.isnan(points).any():
        raise ValueError(f"need record to be a count or a sequence of log t, got {record!r}")
    if points.min() < since or points.max() > until:
        raise ValueError(
            f"need recorded log t between {since:g} and {until:g}, got {points.min():g} to {points.max():g}"
        )
    return np.unique(np.append(points, until)).astype(np.float64)


def number_vector(values: Any) -> np.ndarray | None:
    """``values`` as a vector of integers or real floats, one or more; None where it is something else."""
    try:
        found = np.asarray(values)
    except ValueError:  # rows of unequal lengths
        return None
    return found if found.ndim == 1 and found.size and found.dtype.kind in "iuf" else None


def log_times(steps: Int[np.ndarray, "record"] | Sequence[int], time_step: float) -> Float[np.ndarray, "record"]:
    """log t of t = time_step * step; -inf at step 0."""
    with np.errstate(divide="ignore"):
        return np.log(time_step * np.asarray(steps))


def dataset(
    fields: Mapping[str, Float[np.ndarray, "seed record"]],
    log_time: Float[np.ndarray, "record"],
    *,
    steps: Int[np.ndarray, "record"] | Sequence[int] | None = None,
    attrs: Mapping[str, Any],
) -> "xarray.Dataset":
    """The records as an xarray.Dataset with their time coordinates, and ``step`` where there are steps.

    ``log_time`` = log t is -inf at t = 0; ``loglog_time`` = log log t is nan where log t <= 0.
    """
    import xarray  # a second of import that only a finished run needs

    log_time = np.asarray(log_time, dtype=np.float64)
    loglog_time = np.log(np.where(log_time > 0, log_time, np.nan))
    seeds = len(next(iter(fields.values())))
    counted = {} if steps is None else {"step": ("record", np.asarray(steps))}
    return xarray.Dataset(
        {name: (("seed", "record"), values) for name, values in fields.items()},
        coords={
            "seed": np.arange(seeds),
            **counted,
            "log_time": ("record", log_time),
            "loglog_time": ("record", loglog_time),
        },
        attrs=dict(attrs),
    )
