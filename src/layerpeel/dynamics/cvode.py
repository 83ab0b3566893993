"""CVODE of SUNDIALS (backward differentiation, orders 1 to 5), matrix-free, for y' = f(y) whose last component
increases.

Each implicit step is solved by Newton's method with GMRES on exact Jacobian-vector products, so that memory is a fixed
number of vectors of the size of y. The last component is a time: :meth:`Integrator.advance_to` ends where it has a
wanted value, found on the interpolating polynomial of the last step. Source: Hindmarsh et al., ACM TOMS 31 (2005)
363-396.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

__all__ = ["IntegrationFailed", "Integrator"]

Vector = Float[np.ndarray, "m"]

KRYLOV_DIM = 30
"""Directions of GMRES before it gives up: that many vectors of the size of y are held."""
ROOT = {"xtol": 1e-300, "rtol": 1e-14, "maxiter": 3_000}
"""Of roots on the interpolant: a time may be as near to the start as float64 has it, a thousand halvings and more."""
MOST_STEPS = 50_000
"""Steps from one wanted time to the next; more means that the step size has collapsed."""


COMPLAINT = re.compile(r"\n\[cv\w*, Error: -?\d+\] .*\n\n")
"""What the wrapper of SUNDIALS prints when a step fails, which :class:`IntegrationFailed` says too."""


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
        with _without_complaints():
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
            self.s = brentq(lambda s: ends(self._solver.step(s).y), self._before, self.s, **ROOT)
        self.y = self._solver.step(self.s).y

    def _interpolated(self, time: float) -> Vector:
        if self.y[-1] == time or self.s == 0.0:
            return self.y
        if self._at(self._before)[-1] >= time:  # by a rounding: the last wanted time was there
            return self._at(self._before)
        return self._at(brentq(lambda s: self._at(s)[-1] - time, self._before, self.s, **ROOT))

    def _at(self, s: float) -> Vector:
        """The interpolant of the last step."""
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


@contextmanager
def _without_complaints() -> Iterator[None]:
    """What is printed on the way, without what SUNDIALS says of a step that fails."""
    said = StringIO()
    try:
        with redirect_stdout(said):
            yield
    finally:
        print(COMPLAINT.sub("", said.getvalue()), end="")
