"""The convex program in factors, solved to rounding from a point near its optimum.

M = A B with A [K, r], B [r, K] makes it smooth, lam (|A|^2 + |B|^2)/2 in place of lam |M|_*, and M = T A B/(|A| |B|) on
the boundary of a ball. For r = rank M* the optimum is a minimum whose only flat directions are rotations (and scales of
A and B on a ball), so that Newton's method on their complement converges quadratically; L-BFGS comes before it, for
starts that are not near. Clarabel alone stops at 1e-8: a proof by duality inherits the error of the slopes, not its
square, and needs these last digits.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from layerpeel.problem.optima.program import ConvexProgram

__all__ = ["polish"]

FLAT = 1e-11
"""Eigenvalues of the Hessian below this part of the largest are directions that the value does not see."""
NEWTON_STEPS = 30

Matrix = Float[np.ndarray, "K K"]
Vector = Float[np.ndarray, "m"]


def polish(program: ConvexProgram, M: Matrix, b: Float[np.ndarray, "K"], rank: int) -> tuple[Matrix, Any]:
    """(M, b) of the nearby minimum among matrices of at most this rank."""
    x = np.concatenate([_halves(M, rank), b if program.bias else []])
    with jax.enable_x64(True):
        unit = abs(float(_slope(program, rank, 1.0, x)[0])) or 1.0  # values of any size, in units of the first
        options = {"maxiter": 3000, "maxfun": 6000, "ftol": 0.0, "gtol": 1e-9, "maxcor": 30}
        start = minimize(
            lambda x: _as_numpy(_slope(program, rank, unit, x)), x, jac=True, method="L-BFGS-B", options=options
        )
        x = _newton(
            lambda x: np.asarray(_slope(program, rank, unit, x)[1]),
            lambda x: np.asarray(_hessian(program, rank, unit, x)),
            start.x,
        )
        M, b = map(np.asarray, _point(program, rank, x))
    return M, b


def _as_numpy(pair: tuple[Any, Any]) -> tuple[float, Vector]:
    return float(pair[0]), np.asarray(pair[1])


def _newton(gradient: Callable[[Vector], Vector], hessian: Callable[[Vector], Matrix], x: Vector) -> Vector:
    """Newton's method off the flat directions, as long as the gradient falls."""
    g = gradient(x)
    for _ in range(NEWTON_STEPS):
        curvatures, directions = np.linalg.eigh(hessian(x))
        seen = np.abs(curvatures) > FLAT * np.abs(curvatures).max()
        step = directions[:, seen] @ ((directions[:, seen].T @ g) / np.abs(curvatures[seen]))
        ahead = gradient(x - step)
        if not np.linalg.norm(ahead) < np.linalg.norm(g):
            return x
        x, g = x - step, ahead
    return x


def _halves(M: Matrix, rank: int) -> Vector:
    """A and B of least norm with A B the part of M of this rank."""
    U, s, Vt = np.linalg.svd(M)
    half = np.sqrt(s[:rank])
    return np.concatenate([(U[:, :rank] * half).ravel(), (half[:, None] * Vt[:rank]).ravel()])


def _factors(program: ConvexProgram, rank: int, x: Any) -> tuple[Any, Any, Any]:
    m = program.K * rank
    b = x[2 * m :] if program.bias else jnp.zeros(program.K)
    return x[:m].reshape(program.K, rank), x[m : 2 * m].reshape(rank, program.K), b


def _point(program: ConvexProgram, rank: int, x: Any) -> tuple[Any, Any]:
    A, B, b = _factors(program, rank, x)
    if not program.ball:
        return A @ B, b
    return program.T / jnp.sqrt(jnp.sum(A**2) * jnp.sum(B**2)) * (A @ B), b


def _objective(x: Any, program: ConvexProgram, rank: int, unit: Any) -> Any:
    A, B, b = _factors(program, rank, x)
    data = program.data_loss(*_point(program, rank, x)) + program.lam_b / 2 * jnp.sum(b**2)
    return (data + program.lam / 2 * (jnp.sum(A**2) + jnp.sum(B**2))) / unit


@partial(jax.jit, static_argnums=1)
def _slope(program: ConvexProgram, rank: int, unit: Any, x: Any) -> Any:
    return jax.value_and_grad(_objective)(x, program, rank, unit)


@partial(jax.jit, static_argnums=1)
def _hessian(program: ConvexProgram, rank: int, unit: Any, x: Any) -> Any:
    return jax.hessian(_objective)(x, program, rank, unit)
