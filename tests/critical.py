"""Critical points of log L on a sphere, for the tests of what leads away from them."""

import numpy as np
from scipy.optimize import minimize

from layerpeel.certify.logit_loss import LogitLoss
from layerpeel.certify.sphere import onto_sphere
from layerpeel.certify.sphere_descent import newton_on_sphere
from layerpeel.certify.sphere_loss import SphereLoss


def critical_point(problem, *, rho2, seed):
    """A critical point of any kind, maxima and saddles too: |grad F|^2 brought down from a random start."""
    sphere = SphereLoss(LogitLoss(problem), rho2)

    def squared_gradient(x):
        scale = np.sqrt(rho2 / (x @ x))
        gradient = sphere.value_and_gradient(scale * x)[1]
        return gradient @ gradient, 2 * scale * sphere.hessian(scale * x).matvec(gradient)

    start = onto_sphere(problem.init(seed=seed, scale=1.0), rho2)
    options = {"maxiter": 3000, "ftol": 0.0, "gtol": 1e-12}
    found = minimize(squared_gradient, sphere.vector(start), jac=True, method="L-BFGS-B", options=options)
    return newton_on_sphere(sphere.loss, sphere.state(found.x))
