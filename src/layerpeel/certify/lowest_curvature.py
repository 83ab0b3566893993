"""The lowest curvature of the objective in the whole space: the lowest eigenpair of its plain Hessian, matrix-free.

For models with a least objective (a ridge; squared loss). At a critical point, mu < 0 makes it a strict saddle: F falls
along the eigenvector by mu s^2/2. For a ridge, d >= K - 1 and cross-entropy every critical point that is not optimal is
one (Zhu et al. 2021), with mu <= -2 (sigma_1 - lam)/(alpha^2 + alpha^-2), alpha^4 = lam_H/lam_W, by the construction of
:mod:`layerpeel.certify.ridge_escape`. Rotations of R^d lie in the kernel, so that mu <= 0 wherever W or H is not 0.
On the sphere of the unconstrained model the question is another: :mod:`layerpeel.certify.curvature`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from layerpeel.certify.curvature import DENSE, Eigenpair
from layerpeel.certify.flat_objective import FlatObjective
from layerpeel.certify.spectrum import Lanczos, dense_eigenpairs, start_vector
from layerpeel.problem import Problem, State
from layerpeel.problem.boundary import admit_one, need_finite_norm
from layerpeel.problem.problem import need_problem

__all__ = ["PlainHessian", "lowest_curvature", "lowest_eigenpair"]


@dataclass(frozen=True, eq=False)
class PlainHessian:
    """Hess F at x on the whole space: an :class:`layerpeel.certify.spectrum.Operator`."""

    objective: FlatObjective
    x: Float[np.ndarray, "m"]

    @property
    def size(self) -> int:
        """Unknowns."""
        return len(self.x)

    @property
    def removed(self) -> int:
        """Nothing is left out."""
        return 0

    def product(
        self, x: Float[np.ndarray, "m"], *, lift: float = 0.0, scale: float = 1.0, shift: float = 0.0
    ) -> Float[np.ndarray, "m"]:
        """scale Hess F x - shift x."""
        return scale * self.objective.hessian_product(self.x, x) - shift * x

    def project(self, x: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        """x itself."""
        return x


def lowest_curvature(problem: Problem, state: State, *, tolerance: float = 1e-8, products: int = 5000) -> Eigenpair:
    """The lowest eigenpair of Hess F at ``state``: eigenvalue, unit direction, residual |A v - mu v|.

    Args:
        problem: any problem without a constraint whose objective is twice differentiable; biases and hidden layers too.
        state: one point, 0 included; it need not be critical.
        tolerance: wanted residual over the norm of the Hessian, by Lanczos; up to 1500 unknowns the matrix is formed.
        products: most Hessian products; then the last that was found, ``converged`` False.

    Raises:
        ValueError: for a constraint, a state that does not fit the problem or whose norm overflows, a seed axis, or
            options out of range.
    """
    need_problem(problem)
    if problem.constraint is not None:
        raise ValueError(f"need a problem without a constraint for its plain Hessian, got {problem.constraint!r}")
    state = admit_one(problem, state)
    need_finite_norm(state)
    with threadpool_limits(limits=1, user_api="blas"):
        return lowest_eigenpair(FlatObjective(problem), state, Lanczos(tolerance, products))


def lowest_eigenpair(objective: FlatObjective, state: State, solver: Lanczos) -> Eigenpair:
    """:func:`lowest_curvature` at an admitted state; its direction is the one along which F does not rise."""
    hessian = PlainHessian(objective, objective.vector(state))
    if hessian.size <= DENSE:
        values, pair, _ = dense_eigenpairs(hessian)
        norm = float(np.abs(values).max())
    else:
        start = start_vector(hessian.size)
        highest = solver.highest(hessian, start)
        norm = abs(highest.value) + highest.residual
        pair = solver.lowest(hessian, start, norm=norm)
    slope = float(objective.value_and_gradient(hessian.x)[1] @ pair.vector)
    direction = objective.state(-pair.vector if slope > 0 else pair.vector)
    return Eigenpair(pair.value, pair.value, direction, pair.residual, pair.residual <= solver.tolerance * norm)
