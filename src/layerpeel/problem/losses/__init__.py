"""The losses of a sample."""

from layerpeel.problem.losses.cross_entropy import CrossEntropy, log_softplus
from layerpeel.problem.losses.focal import Focal
from layerpeel.problem.losses.hinge import Hinge
from layerpeel.problem.losses.loss import ExponentialTailed, Loss
from layerpeel.problem.losses.squared_error import SquaredError

__all__ = ["CrossEntropy", "ExponentialTailed", "Focal", "Hinge", "Loss", "SquaredError", "log_softplus"]
