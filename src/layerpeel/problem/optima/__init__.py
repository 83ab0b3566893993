"""Global optima, in closed form where one is known."""

from layerpeel.problem.optima.deep import deep_blocks
from layerpeel.problem.optima.known import optimum
from layerpeel.problem.optima.optimum import Optimum

__all__ = ["Optimum", "deep_blocks", "optimum"]
