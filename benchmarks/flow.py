"""Flow: the gradient flow to log t = 1e4 at three sizes, and how far what it conserves has drifted.

Wall-clock seconds of ``lp.flow`` from one seed with 40 records, after a short flow has compiled; the drift is the
largest |W'W - HH' - start's| / (|W'W| + |HH'|) over the records. No peer: no public code integrates this flow.
"""

from collections.abc import Iterator

import layerpeel as lp
from benchmarks.row import Row, Target
from benchmarks.timing import seconds, timed

__all__ = ["rows"]

SIZES = {(5, 10, 20): 1.0, (10, 50, 64): 5.0, (50, 50, 128): 90.0}
"""(K, n, d) -> the seconds it may take."""


def rows(*, quick: bool) -> Iterator[Row]:
    """Seconds and drift at each size."""
    for size, target in SIZES.items():
        if quick and size[0] > 10:
            continue
        problem = lp.ulpm(*size)
        start = problem.init(0)
        lp.flow(problem, start, log_time=1.0)
        run, timing = timed(lambda p=problem, s=start: lp.flow(p, s, log_time=10.0 if quick else 1e4))  # type: ignore[misc]
        drift, name = float(run.metrics.balance_drift.max()), "K={} n={} d={}".format(*size)
        yield Row("flow", f"{name} to log t = 10^4", seconds(timing.wall), "", timing.wall, "s", Target(target, "s"))
        yield Row("flow", f"{name}, drift of W'W - HH'", f"{drift:.2g}", "", drift, "", Target(1e-8, ""))
