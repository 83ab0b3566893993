"""Integration of a state that may go to 0, as under a strong regulariser, with an absolute tolerance that goes with it.

An absolute tolerance says which entries of a state are noise beside the others. When all of them have shrunk by orders
of magnitude, what it called noise is the state itself. So the integration begins anew, with the tolerance that its
first one would have for a state of this size, whenever W and H have shrunk by SHRUNK: their direction is followed to
any size. With a bias that is as far as its gradient, 1/N sum_i (p_i - y_i) + lam b, which is a difference that does not
become smaller with W and H, can be told from rounding.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from layerpeel.dynamics.cvode import Integrator
from layerpeel.dynamics.pieces import Pieces
from layerpeel.problem import Problem

__all__ = ["Shrinking", "extent", "vanished"]

SHRUNK = 1e-3
FINEST = 1e-14
"""The absolute tolerance below which a bias is rounding."""


def vanished(problem: Problem) -> float:
    """The part of their start below which W and H count as 0: powers of them, or with a bias they, are rounding."""
    return 1e-11 if problem.bias else 1e-50


def extent(problem: Problem, y: Float[np.ndarray, "m"]) -> float:
    """(|W|^2 + |H|^2)^{1/2} of a vector of :mod:`layerpeel.dynamics.clock`."""
    return float(np.linalg.norm(y[: (problem.K + problem.N) * problem.d]))


class Shrinking:
    """As :class:`Integrator` to its users, for ``begin(y, atol)``, which begins one at y.

    Args:
        problem: whose flow it is.
        begin: (y, absolute tolerance) -> an integration from y.
        y0: the start.
        share: absolute tolerance over the extent of the state.
    """

    def __init__(
        self,
        problem: Problem,
        begin: Callable[[Float[np.ndarray, "m"], float], Integrator | Pieces],
        y0: Float[np.ndarray, "m"],
        *,
        share: float,
    ) -> None:
        self._problem, self._begin, self._share = problem, begin, share
        self._restart(y0)

    @property
    def y(self) -> Float[np.ndarray, "m"]:
        """Where it stands."""
        return self._now.y

    def advance_to(
        self, time: float, on_step: Callable[[Float[np.ndarray, "m"]], None] = lambda y: None
    ) -> Float[np.ndarray, "m"]:
        """y where its last component is ``time``; see :meth:`Integrator.advance_to`."""

        def look(y: np.ndarray) -> None:
            on_step(y)
            if y[-1] < time and extent(self._problem, y) < SHRUNK * self._begun:
                raise _Shrunk

        while True:
            try:
                return self._now.advance_to(time, look)
            except _Shrunk:
                self._restart(self._now.y)

    def _restart(self, y: Float[np.ndarray, "m"]) -> None:
        self._begun = extent(self._problem, y)
        atol = self._share * (self._begun or 1.0)
        self._now = self._begin(y, max(atol, FINEST) if self._problem.bias else atol)


class _Shrunk(Exception):
    """The state has become small beside the one at which the integration began."""
