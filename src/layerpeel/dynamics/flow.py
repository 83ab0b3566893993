"""Gradient flow: theta' = -grad F(theta), followed in log t, to t = e^(e^10) and beyond.

In the clock of :mod:`layerpeel.dynamics.clock` an implicit integrator crosses a factor of log t in a few dozen steps,
and the logarithm of the loss takes the place of the loss, which underflows at log t of about 745. What the flow
conserves is recorded beside the metrics (:mod:`layerpeel.dynamics.invariants`). With a constraint, theta' =
confine(theta, -grad F) is the flow in its set (:mod:`layerpeel.dynamics.pieces`): Riemannian on spheres, projected on
balls and on non-negative features.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layerpeel.dynamics.all_flows import follow_all
from layerpeel.dynamics.checkpoint import checkpoint_path
from layerpeel.dynamics.single_flow import SingleFlow
from layerpeel.dynamics.trajectory import Trajectory
from layerpeel.problem import Problem, State
from layerpeel.problem.boundary import admit_in_set, has_seed_axis
from layerpeel.problem.options import need_integer, need_positive, number
from layerpeel.problem.problem import need_problem
from layerpeel.progress import progress_bar
from layerpeel.sampling import record_times

__all__ = ["flow", "need_reachable"]

UNDERFLOW = 700.0
"""log t at which the objective and its gradient leave float64 where they are not known by their logarithms."""
FARTHEST = 1e7
"""log t: all of 26 flows tried got to 6e6, 23 to 1e7, and with K=5, n=10, d=20 the integrator stalls before 2e7."""
FINEST = 1e-15
"""The finest relative tolerance."""


def flow(
    problem: Problem,
    state: State,
    *,
    log_time: float | None = None,
    loglog_time: float | None = None,
    time: float | None = None,
    since: float = -math.inf,
    record: int | Sequence[float] = 40,
    rtol: float = 3e-9,
    atol: float = 3e-11,
    keep_states: bool = False,
    workers: int | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> Trajectory:
    """Follow the gradient flow of ``problem`` from ``state`` to one of log t, log log t, t.

    Args:
        problem: what is minimised, in the time of its own reduction: t of the mean is N times t of the sum.
        state: the start, in the set of the problem's constraint; with a leading axis of seeds each is integrated by
            itself, side by side on the cores.
        log_time: the end as log t, up to 1e7; up to 700 for a problem with a regulariser, a constraint or a loss that
            is not :class:`ExponentialTailed`.
        loglog_time: the end as log log t.
        time: the end as t.
        since: log t at which ``state`` stands: an interrupted flow of one seed goes on from its last record.
        record: how many records, the start and then evenly in log log t from t = 2, or the values of log t themselves;
            the end is always one.
        rtol: tolerance of an integration step relative to each entry; the default keeps W'W - HH' to 1e-8 of its size.
        atol: its absolute tolerance, for a state of the size of the start; where W and H go to 0 it goes with them.
        keep_states: whether to keep the state at every record (``run.states``).
        workers: processes to divide the seeds over; by default as many as there are cores where it pays.
        checkpoint: a file, written every ten seconds and at the end (with several seeds one each, NAME-seed-0.EXTENSION
            and so on); if it exists, the flow goes on from the last record in it, to the same result within the
            tolerances.
        progress: whether to show a progress bar on stderr.

    Returns:
        The trajectory; ``run.metrics`` has ``balance_drift`` and ``column_sum_drift``, the relative drifts of W'W -
        HH' and 1'W, besides the fields of descent. A flow that comes to rest at a critical point repeats its last
        record from there on; states are recorded on the set of the constraint. A flow that cannot be followed to the
        end or is interrupted (Ctrl-C) ends with that outcome and all its records.

    Raises:
        ValueError: for a state that does not fit the problem or its constraint, a loss with kinks, not exactly one
            end, an end that is out of reach or before ``since``, tolerances that are not positive or finer than
            float64, records that are impossible or all beyond where the flow stalls, or a checkpoint of another flow.
    """
    need_problem(problem)
    if not problem.loss.smooth:
        raise ValueError(
            f"need a loss with a continuous gradient for its flow (layerpeel.descend takes any), got {problem.loss!r}"
        )
    start = admit_in_set(problem, state)
    until = _end(log_time, loglog_time, time)
    rtol, atol = need_positive("rtol", rtol), need_positive("atol", atol)
    if rtol < FINEST:
        raise ValueError(f"need rtol >= {FINEST:g}, the rounding of float64, got rtol={rtol}")
    since = _need_number("since", since)
    need_reachable(problem, until, since=since)
    workers = None if workers is None else need_integer("workers", workers, least=1)
    points = record_times(record, since, until)
    path = checkpoint_path(checkpoint)
    one = SingleFlow(problem, points, since=since, rtol=rtol, atol=atol, keep_states=keep_states)
    seeds = len(start.W) if has_seed_axis(start) else 1
    return follow_all(one, start, workers, path, progress_bar(seeds * len(points), "records", shown=progress))


def _end(log_time: Any, loglog_time: Any, time: Any) -> float:
    given = {"log_time": log_time, "loglog_time": loglog_time, "time": time}
    ends = {name: value for name, value in given.items() if value is not None}
    if len(ends) != 1:
        raise ValueError(f"need one of {', '.join(given)}, got {' and '.join(ends) or 'none'}")
    ((name, value),) = ends.items()
    end = _need_number(name, value)
    if name == "time" and not end > 0:
        raise ValueError(f"need time > 0, got time={value}")
    if name == "loglog_time":
        return math.exp(min(end, 700.0))
    return math.log(value) if name == "time" else end


def _need_number(name: str, value: Any) -> float:
    """``value`` as a float, infinite or not, after checking that it is a real number."""
    if math.isnan(number(value)):
        raise ValueError(f"need {name} to be a number, got {name}={value!r}")
    return number(value)


def need_reachable(problem: Problem, until: float, *, since: float = -math.inf) -> None:
    """Raise unless the flow of ``problem`` can be followed from log t = ``since`` to ``until``."""
    if not since < until:
        raise ValueError(f"need an end after since, got log t = {until:g} and since={since:g}")
    if until > FARTHEST:
        raise ValueError(f"need log t <= {FARTHEST:g}, beyond which float64 stalls the integrator, got {until:g}")
    if until <= UNDERFLOW:
        return
    for name, part in (("regulariser", problem.regulariser), ("constraint", problem.constraint)):
        if part is not None:
            raise ValueError(
                f"need log t <= {UNDERFLOW:g} with a {name} (the flow is at rest long before), got {until:g}"
            )
    if not problem.loss.vanishes:
        raise ValueError(
            f"need log t <= {UNDERFLOW:g} for {type(problem.loss).__name__}, a loss without its logarithm: "
            f"make it a layerpeel.ExponentialTailed to go beyond, got {until:g}"
        )
