"""1. What is minimised: the state, the loss, what is added to it, and the optima known in closed form."""

from layerpeel.problem.block_points import block_point
from layerpeel.problem.constraints import Constraint, NormBalls, Regulariser, Ridge
from layerpeel.problem.losses import CrossEntropy, ExponentialTailed, Loss
from layerpeel.problem.named import ulpm
from layerpeel.problem.optimum import Optimum
from layerpeel.problem.problem import Problem
from layerpeel.problem.state import State

__all__ = [
    "Constraint",
    "CrossEntropy",
    "ExponentialTailed",
    "Loss",
    "NormBalls",
    "Optimum",
    "Problem",
    "Regulariser",
    "Ridge",
    "State",
    "block_point",
    "ulpm",
]
