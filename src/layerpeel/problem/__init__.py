"""1. What is minimised: the state, the loss, what is added to it, and the optima that are known."""

from layerpeel.problem.block_points import block_point
from layerpeel.problem.constraints import Constraint, NonNegative, NormBalls, OutputBall, Spheres
from layerpeel.problem.losses import CrossEntropy, ExponentialTailed, Focal, Hinge, Loss, SquaredError
from layerpeel.problem.named import deep_ufm, lpm, mse_ufm, output_ball, sphere, ufm, ulpm
from layerpeel.problem.optima import Optimum, deep_blocks
from layerpeel.problem.problem import Problem
from layerpeel.problem.regularisers import Regulariser, Ridge
from layerpeel.problem.state import State
from layerpeel.problem.thresholds import minority_collapse_threshold, minority_collapse_weight

__all__ = [
    "Constraint",
    "CrossEntropy",
    "ExponentialTailed",
    "Focal",
    "Hinge",
    "Loss",
    "NonNegative",
    "NormBalls",
    "Optimum",
    "OutputBall",
    "Problem",
    "Regulariser",
    "Ridge",
    "Spheres",
    "SquaredError",
    "State",
    "block_point",
    "deep_blocks",
    "deep_ufm",
    "lpm",
    "minority_collapse_threshold",
    "minority_collapse_weight",
    "mse_ufm",
    "output_ball",
    "sphere",
    "ufm",
    "ulpm",
]
