"""CVODE of SUNDIALS (backward differentiation, orders 1 to 5), matrix-free, for y' = f(y) whose last component
increases.

Each implicit step is solved by Newton's method with GMRES on exact Jacobian-vector products, so that memory is a fixed
number of vectors of the size of y. The last component is a time: :meth:`Integrator.advance_to` ends where it has a
wanted value, found on the interpolating polynomial of the last step. Source: Hindmarsh et al., ACM TOMS 31 (2005)
363-396.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

__all__ = ["IntegrationFailed", "Integrator"]

Vector = Float[np.ndarray, "m"]

KRYLOV_DIM = 30
"""Directions of GMRES before it gives up: that many vectors of the size of y are held."""
MOST_STEPS = 50_000
"""Steps from one wanted time to the next; more means that the step size has collapsed."""


class IntegrationFailed(Exception):
    """The integrator cannot go on; the message is SUNDIALS's."""


class Integrator:
    """An integration under way, from y0 at s = 0.

    Args:
        f: y -> dy/ds.
        linearize: y -> the function direction -> f'(y) direction; asked once for many directions at the same y.
        y0: the start.
        rtol: tolerance of a step's error relative to |y_i|.
        atol: tolerance of a step's error in y_i.
        ends: y -> a number, positive where f no longer holds: the integration ends at the first step across its zero,
            and there; None if f holds everywhere.
    """

    def __init__(
        self,
        f: Callable[[Vector], Vector],
        linearize: Callable[[Vector], Callable[[Vector], Vector]],
        y0: Vector,
        *,
        rtol: float,
        atol: float,
        ends: Callable[[Vector], float] | None = None,
    ) -> None:
        from sksundae.cvode import CVODE, CVODEJacTimes

        def write_slope(s: float, y: Vector, slope: Vector) -> None:
            slope[:] = f(y)

        def set_jacobian(s: float, y: Vector, slope: Vector) -> None:
            self._jacobian = linearize(y.copy())  # SUNDIALS reuses the memory of y

        def write_product(s: float, y: Vector, slope: Vector, direction: Vector, product: Vector) -> None:
            product[:] = self._jacobian(direction)

        self._solver = CVODE(
            write_slope,
            rtol=rtol,
            atol=atol,
            linsolver="gmres",
            krylov_dim=KRYLOV_DIM,
            jactimes=CVODEJacTimes(set_jacobian, write_product),
        )
        with _silent():
            self._solver.init_step(0.0, y0)
        self.s, self.y, self._before = 0.0, y0, 0.0
        self._ends, self._ended = ends, False

    def advance_to(self, time: float, on_step: Callable[[Vector], None] = lambda y: None) -> Vector:
        """y where its last component is ``time``, which must not lie before the last wanted one; or, before that, where
        the integration ends.

        ``on_step`` is called with y after each step.

        Raises:
            IntegrationFailed: when a step cannot be taken within the tolerances.
        """
        for _ in range(MOST_STEPS):
            if self.y[-1] >= time:
                return self._interpolated(time)
            if self._ended:
                return self.y
            self._step()
            on_step(self.y)
        raise IntegrationFailed(f"{MOST_STEPS} steps did not reach the next time")

    def _step(self) -> None:
        # Only the direction of the time given counts here, and on the first step its scale.
        taken = self._solver.step(self.s + 1.0, method="onestep")
        if not taken.success:
            raise IntegrationFailed(taken.message)
        self._before, self.s, self.y = self.s, taken.t, taken.y
        if self._ends is not None and self._ends(self.y) > 0:
            self._cut(self._ends)

    def _cut(self, ends: Callable[[Vector], float]) -> None:
        """Go back to where the last step crossed the zero of ``ends``."""
        self._ended = True
        if ends(self._solver.step(self._before).y) >= 0:
            self.s = self._before
        else:
            self.s = brentq(lambda s: ends(self._solver.step(s).y), self._before, self.s, xtol=1e-300, rtol=1e-14)
        self.y = self._solver.step(self.s).y

    def _interpolated(self, time: float) -> Vector:
        if self.y[-1] == time or self.s == 0.0:
            return self.y
        s = brentq(lambda s: self._solver.step(s).y[-1] - time, self._before, self.s, xtol=1e-300, rtol=1e-14)
        return self._solver.step(s).y


@contextmanager
def _silent() -> Iterator[None]:
    """SUNDIALS told to keep its warnings to itself: it asks these variables when a solver is made."""
    names = ("SUNLOGGER_ERROR_FILENAME", "SUNLOGGER_WARNING_FILENAME")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
