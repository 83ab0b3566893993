"""The flows that the statements about t -> infinity are looked at on: the paper's setting, 16 seeds, to log t = 2e4."""

from functools import cache

from layerpeel.certify.claims.finished import finished
from layerpeel.certify.claims.points import summed
from layerpeel.dynamics import Trajectory, flow

__all__ = ["END", "SEEDS", "long_flow"]

END = 2e4
"""log t."""
SEEDS = 16


@cache
def long_flow() -> Trajectory:
    """K=5, n=10, d=20, Gaussian starts of scale 0.1, the summed loss; integrated once for all statements."""
    problem = summed(5, 10, 20)
    return finished(flow(problem, problem.init(range(SEEDS), scale=0.1), log_time=END, record=40))
