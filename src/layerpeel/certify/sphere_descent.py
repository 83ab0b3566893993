"""Descent on the sphere |theta| = rho to a critical point, to the last digit that float64 resolves.

F(x) = log L(rho x/|x|) does not depend on |x|, so that minimising it over all x is descent on the sphere. Two methods
of a library, one after the other:

 - L-BFGS from anywhere. It judges points by their values, which near a minimum are flat: it ends at a distance of about
   sqrt(eps) from it, where the gap of the certificate, of first order in the distance, is still 1e-8.
 - Newton's method for grad F = 0 from there, by MINRES with exact Hessian products, judged by the gradient: it squares
   the distance. MINRES needs no inverse where the Hessian vanishes, along rotations of R^d.

Neither leaves a saddle point that it starts from.
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize
from scipy.sparse.linalg import minres

from layerpeel.certify.logit_loss import LogitLoss
from layerpeel.certify.sphere_loss import SphereLoss
from layerpeel.problem import State

__all__ = ["descend_on_sphere", "newton_on_sphere"]

FLAT = 1e-9
"""L-BFGS ends where log L changes by less than this a radian."""


def descend_on_sphere(
    loss: LogitLoss, state: State, *, steps: int, show: Callable[[State], None] = lambda state: None
) -> State:
    """Where L-BFGS ends from ``state``, at most ``steps`` steps later; ``show`` is handed every point on the way."""
    sphere = SphereLoss(loss, float(state.squared_norm))
    found = minimize(
        sphere.value_and_gradient,
        sphere.vector(state),
        jac=True,
        method="L-BFGS-B",
        callback=lambda x: show(sphere.state(x)),
        options={"maxcor": 10, "maxiter": steps, "maxfun": 4 * steps, "ftol": 0.0, "gtol": FLAT / np.sqrt(sphere.rho2)},
    )
    return sphere.state(found.x)


def newton_on_sphere(loss: LogitLoss, state: State, *, steps: int = 8) -> State:
    """The critical point next to ``state``, as far as each step still halves the gradient and does not climb."""
    sphere = SphereLoss(loss, float(state.squared_norm))
    x = sphere.vector(state)
    value, gradient = sphere.value_and_gradient(x)
    for _ in range(steps if gradient.any() else 0):
        move, _ = minres(sphere.hessian(x), -gradient, rtol=1e-8, maxiter=500)
        y = sphere.vector(sphere.state(x + move))
        new_value, new_gradient = sphere.value_and_gradient(y)
        falls = new_value <= value + 1e-12 * (1 + abs(value))
        if not (falls and np.linalg.norm(new_gradient) < np.linalg.norm(gradient) / 2):
            break
        x, value, gradient = y, new_value, new_gradient
    return sphere.state(x)
