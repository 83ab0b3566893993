"""The convex program as a cone program: cvxpy writes it down, Clarabel (interior points) solves it to about 1e-8.

Cross-entropy becomes exponential cones, the nuclear norm a semidefinite one of size 2K, the hinge inequalities whose
multipliers are slopes of the loss.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from layerpeel.problem.losses import CrossEntropy, SquaredError
from layerpeel.problem.optima.program import ConvexProgram
from layerpeel.rings import require

__all__ = ["ConicPoint", "solve_conic"]

TOLERANCE = 1e-10
"""Asked of Clarabel; what it reaches short of it is as good a start."""


class ConicPoint(NamedTuple):
    """M and b near an optimum, and slopes of the loss there, for a loss with kinks."""

    M: Float[np.ndarray, "K K"]
    b: Float[np.ndarray, "K"]
    slopes: Float[np.ndarray, "K K"] | None


def solve_conic(program: ConvexProgram) -> ConicPoint:
    """A point near the optimum of ``program``; the scaled centred labels where the solver gives none.

    Raises:
        MissingRing: without cvxpy.
    """
    cp = require("cvxpy")
    K = program.K
    M, b = cp.Variable((K, K)), cp.Variable(K) if program.bias else cp.Constant(np.zeros(K))
    Z = M @ np.diag(1 / program.root) + cp.reshape(b, (K, 1), order="F") @ np.ones((1, K))
    data, rows = _loss(cp, program, Z)
    nuclear = cp.normNuc(M)
    bounds = [nuclear <= program.T] if program.ball else []
    cost = data + program.lam * nuclear + program.lam_b / 2 * cp.sum_squares(b)
    conic = cp.Problem(cp.Minimize(cost), [*rows, *bounds])
    tolerances = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), TOLERANCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an inaccurate point is polished, and its bound says how good it is
        try:
            conic.solve(solver=cp.CLARABEL, **tolerances)
        except cp.error.SolverError:
            return _start(program)
    if M.value is None:
        return _start(program)
    slopes = _hinge_slopes(program, rows[0].dual_value) if rows else None
    return ConicPoint(M.value, b.value, slopes)


def _loss(cp: Any, program: ConvexProgram, Z: Any) -> tuple[Any, list[Any]]:
    """sum_k c_k l(z_k, e_k), and the inequalities that define it."""
    c, K = program.c, program.K
    if isinstance(program.loss, CrossEntropy):
        return cp.log_sum_exp(Z, axis=0) @ c - cp.sum(cp.multiply(program.targets * c, Z)), []
    if isinstance(program.loss, SquaredError):
        return cp.sum_squares((Z - np.eye(K)) @ np.diag(np.sqrt(c / 2))), []
    excess = cp.Variable(K, nonneg=True)
    own = cp.reshape(cp.diag(Z) + excess - 1, (1, K), order="F")
    return c @ excess, [np.ones((K, 1)) @ own >= Z - np.eye(K)]  # z_j - z_k + 1 <= excess_k for j != k


def _hinge_slopes(program: ConvexProgram, multipliers: Any) -> Float[np.ndarray, "K K"]:
    """mu_jk >= 0 with sum_j mu_jk <= c_k, over c_k, are the slopes to the rivals j of class k."""
    p = np.maximum(multipliers, 0.0)
    np.fill_diagonal(p, 0.0)
    p = p / np.maximum(program.c, p.sum(axis=0)) * (1 - 1e-15)  # inside the simplex, whatever the rounding
    return p - np.diag(p.sum(axis=0))


def _start(program: ConvexProgram) -> ConicPoint:
    M = (np.eye(program.K) - 1 / program.K) * program.root
    size = min(1.0, program.T / float(np.linalg.norm(M, "nuc")))
    return ConicPoint(size * M, np.zeros(program.K), None)
