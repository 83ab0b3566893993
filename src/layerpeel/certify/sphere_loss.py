"""The loss on the sphere |theta| = rho as a function of one vector, as the methods of libraries take it.

F(x) = log L(rho x/|x|) with x = (W, H) flattened does not depend on |x|; its gradient is the projected one, and at
|x| = rho its Hessian on the tangent space is the Riemannian one of log L (at critical points that of L, over L),

    Hess log L + lam I,    lam = -<theta, grad log L>/rho^2,

matrix-free: with g = G/L and M = f''[dW H + W dH] it takes D = (dW, dH) to (M H' + g dH', W' M + dW' g) + lam D.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator

from layerpeel.certify.logit_loss import LogitLoss
from layerpeel.certify.sphere import onto_sphere
from layerpeel.problem import State

__all__ = ["SphereLoss"]


@dataclass(frozen=True)
class SphereLoss:
    """F(x) = log L(rho x/|x|), with x = (W, H) in one vector."""

    loss: LogitLoss
    rho2: float

    def vector(self, state: State) -> Float[np.ndarray, "m"]:
        """x of a state."""
        return np.concatenate([state.W.ravel(), state.H.ravel()])

    def split(self, x: Float[np.ndarray, "m"]) -> State:
        """(W, H) of x, not scaled."""
        problem = self.loss.problem
        cut = problem.K * problem.d
        return State(x[:cut].reshape(problem.K, problem.d), x[cut:].reshape(problem.d, problem.N))

    def state(self, x: Float[np.ndarray, "m"]) -> State:
        """rho x/|x|."""
        return onto_sphere(self.split(x), self.rho2)

    def value_and_gradient(self, x: Float[np.ndarray, "m"]) -> tuple[float, Float[np.ndarray, "m"]]:
        """F and its gradient, orthogonal to x: (rho/|x|) times the projected gradient of log L."""
        scale = np.sqrt(self.rho2 / np.vdot(x, x))
        state = self.split(scale * x)
        value, gradient = self.loss.value_and_gradient(state.W @ state.H)
        return value, scale * _orthogonal(x, self.vector(self.loss.state_gradient(state, gradient)))

    def hessian(self, x: Float[np.ndarray, "m"]) -> LinearOperator:
        """The Riemannian Hessian of log L at x, |x| = rho, on all of space: 0 along x."""
        at = self.split(x)
        Z = at.W @ at.H
        _, g = self.loss.value_and_gradient(Z)
        lam = -2 * np.vdot(g, Z) / self.rho2

        def product(y: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
            y = _orthogonal(x, y.ravel())
            D = self.split(y)
            moved = self.loss.hessian_product(Z, D.W @ at.H + at.W @ D.H)
            curved = State(moved @ at.H.T + g @ D.H.T, at.W.T @ moved + D.W.T @ g)
            return _orthogonal(x, self.vector(curved) + lam * y)

        return LinearOperator((x.size, x.size), matvec=product, dtype=np.float64)


def _orthogonal(x: Float[np.ndarray, "m"], y: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
    """The part of y that is orthogonal to x."""
    return y - x * (np.vdot(x, y) / np.vdot(x, x))
