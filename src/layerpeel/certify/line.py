"""A straight line through a point: how the objective moves along it, and how far to follow it.

F(theta + s D) = F + slope s + curvature s^2/2 + O(s^3),    slope = <grad F, D>,  curvature = <D, Hess F D>,  |D| = 1.
"""

from dataclasses import dataclass

import numpy as np

from layerpeel.certify.flat_objective import FlatObjective
from layerpeel.certify.step_search import lowest_step
from layerpeel.problem import State

__all__ = ["Line", "downhill_line", "lowest_point"]

FAR = 1e6
"""The longest step, in units of 1 + |theta|."""


@dataclass(frozen=True, eq=False)
class Line:
    """theta + s D, with its model of second order.

    Attributes:
        origin: theta.
        direction: D, of length 1.
        slope: dF/ds at 0, at most 0.
        curvature: d^2F/ds^2 at 0.
    """

    origin: State
    direction: State
    slope: float
    curvature: float

    def state(self, step: float) -> State:
        """theta + s D."""
        return self.origin + self.direction * step

    def predicted(self, step: float) -> float:
        """By how much F falls up to s, to second order."""
        return -step * (self.slope + step * self.curvature / 2)

    @property
    def longest(self) -> float:
        """No further than this."""
        return FAR * (1 + float(np.sqrt(self.origin.squared_norm)))

    def first_step(self, decrease: float) -> float:
        """The minimiser of the model, or 1/(1 + |theta|), longer if that predicts less than ``decrease``."""
        most = -self.slope / self.curvature if self.curvature > 0 else self.longest
        step = min(1 / (1 + float(np.sqrt(self.origin.squared_norm))), most)
        while step < most and self.predicted(step) <= decrease:
            step = min(2 * step, most)
        return step


def downhill_line(objective: FlatObjective, state: State, direction: State) -> Line | None:
    """The line along ``direction``, or its opposite, whichever goes down; None for a direction of length 0."""
    D = objective.vector(direction)
    length = np.linalg.norm(D)
    if length == 0:
        return None
    x, D = objective.vector(state), D / length
    slope = float(objective.value_and_gradient(x)[1] @ D)
    curvature = float(D @ objective.hessian_product(x, D))
    return Line(state, objective.state(-D if slope > 0 else D), -abs(slope), curvature)


def lowest_point(objective: FlatObjective, line: Line, *, value: float, resolution: float) -> float | None:
    """A step after which F is less than ``value`` by more than ``resolution``; None if there is none to be seen."""
    return lowest_step(
        lambda step: objective.value(line.state(step)),
        below=value - resolution,
        first=line.first_step(4 * resolution),
        longest=line.longest,
        worth=lambda step: line.predicted(step) > resolution,
    )
