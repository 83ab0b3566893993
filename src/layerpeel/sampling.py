"""When a run is recorded: at steps evenly spaced in log log t, the time in which collapse is a power law."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    import xarray

__all__ = ["dataset", "loglog_steps", "record_steps"]


def loglog_steps(steps: int, count: int) -> Int[np.ndarray, "record"]:
    """At most ``count`` steps: 0, then integers from 2 to ``steps`` evenly spaced in log log step.

    Early points that round to the same integer are spread to the next free one, so that min(count, steps + 1)
    distinct steps come back (step 1, where log log t = -inf, only when needed).
    """
    if count >= steps + 1:
        return np.arange(steps + 1)
    if count == 2 or steps < 2:
        return np.unique([0, steps])
    ideal = np.exp(np.exp(np.linspace(np.log(np.log(2)), np.log(np.log(steps)), count - 1)))
    points = np.round(ideal).astype(np.int64)
    for i in range(1, len(points)):  # distinct from the left ...
        points[i] = max(points[i], points[i - 1] + 1)
    ceiling = steps - np.arange(len(points))[::-1]  # ... and never past the end from the right
    return np.concatenate([[0], np.minimum(points, ceiling)])


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
    points = np.asarray(record)
    if points.ndim != 1 or points.size == 0 or not np.issubdtype(points.dtype, np.integer):
        raise ValueError(f"need record to be a count or a sequence of whole steps, got {record!r}")
    if points.min() < 0 or points.max() > steps:
        raise ValueError(f"need recorded steps between 0 and {steps}, got {points.min()} to {points.max()}")
    return np.unique(np.append(points, steps)).astype(np.int64)


def dataset(
    fields: Mapping[str, Float[np.ndarray, "seed record"]],
    steps: Int[np.ndarray, "record"] | Sequence[int],
    *,
    time_step: float,
    attrs: Mapping[str, Any],
) -> "xarray.Dataset":
    """The records as an xarray.Dataset with the time coordinates of t = time_step * step.

    ``log_time`` = log t is -inf at step 0; ``loglog_time`` = log log t is nan where log t <= 0.
    """
    import xarray  # a second of import that only a finished run needs

    steps = np.asarray(steps)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_time = np.log(time_step * steps)
        loglog_time = np.log(np.where(log_time > 0, log_time, np.nan))
    seeds = len(next(iter(fields.values())))
    return xarray.Dataset(
        {name: (("seed", "record"), values) for name, values in fields.items()},
        coords={
            "seed": np.arange(seeds),
            "step": ("record", steps),
            "log_time": ("record", log_time),
            "loglog_time": ("record", loglog_time),
        },
        attrs=dict(attrs),
    )
