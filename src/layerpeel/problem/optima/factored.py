"""The convex program in factors, solved to rounding from a point near its optimum.

|M|_* is the least (|A|^2 + |B|^2)/2 over A B = M (fact F1), so that x = (A, B, b), A [K, r], B [r, K], makes the
program smooth: a ridge adds lam (|A|^2 + |B|^2)/2, a ball is the sphere |A|^2 + |B|^2 = 2T. For r = rank M* the only
flat directions at the optimum are rotations, and Newton's method on their complement converges quadratically; L-BFGS
comes before it, for starts that are not near. With G = dL/dM and dZ = (dA B + A dB)/root + db 1' the second derivative
is

    sum_k c_k dz_k' (d^2 l) dz_k + 2 <G, dA dB> + mu (|dA|^2 + |dB|^2) + lam_b |db|^2,

mu = lam, or on the sphere (there on its tangent space) the multiplier -<G, A B>/T. Interior points alone stop at 1e-8:
a proof by duality inherits the error of the slopes, not its square, and needs these last digits.
"""

from typing import NamedTuple

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


def polish(program: ConvexProgram, M: Matrix, b: Float[np.ndarray, "K"], rank: int) -> tuple[Matrix, Vector]:
    """(M, b) of the nearby minimum among matrices of at most this rank."""
    U, s, Vt = np.linalg.svd(M)
    half = np.sqrt(s[:rank])
    x = np.concatenate([(U[:, :rank] * half).ravel(), (half[:, None] * Vt[:rank]).ravel(), b if program.bias else []])
    point = _newton(program, rank, _descend(program, rank, x))
    return point.A @ point.B, point.b


class _Point(NamedTuple):
    """A, B and b, on the sphere where there is one."""

    A: Float[np.ndarray, "K r"]
    B: Float[np.ndarray, "r K"]
    b: Float[np.ndarray, "K"]


def _point(program: ConvexProgram, rank: int, x: Vector) -> _Point:
    m = 2 * program.K * rank
    size = np.sqrt(2 * program.T / np.sum(x[:m] ** 2)) if program.ball else 1.0
    A, B = np.split(size * x[:m], 2)
    return _Point(
        A.reshape(program.K, rank), B.reshape(rank, program.K), x[m:] if program.bias else np.zeros(program.K)
    )


def _flat(program: ConvexProgram, point: _Point) -> Vector:
    return np.concatenate([point.A.ravel(), point.B.ravel(), point.b if program.bias else []])


def _descend(program: ConvexProgram, rank: int, x: Vector) -> Vector:
    """Where L-BFGS ends, on the scale-free objective in units of its first value."""
    m = 2 * program.K * rank
    unit = abs(_value_and_gradient(program, _point(program, rank, x))[0]) or 1.0

    def scaled(x: Vector) -> tuple[float, Vector]:
        value, gradient = _value_and_gradient(program, _point(program, rank, x))
        if program.ball:
            gradient[:m] *= np.sqrt(2 * program.T / np.sum(x[:m] ** 2))
        return value / unit, gradient / unit

    options = {"maxiter": 3000, "maxfun": 6000, "ftol": 0.0, "gtol": 1e-9, "maxcor": 30}
    return np.asarray(minimize(scaled, x, jac=True, method="L-BFGS-B", options=options).x)


def _newton(program: ConvexProgram, rank: int, x: Vector) -> _Point:
    """Newton's method off the flat directions, as long as the gradient falls."""
    point = _point(program, rank, x)
    g = _value_and_gradient(program, point)[1]
    for _ in range(NEWTON_STEPS):
        curvatures, directions = np.linalg.eigh(_hessian(program, point))
        seen = np.abs(curvatures) > FLAT * np.abs(curvatures).max()
        step = directions[:, seen] @ ((directions[:, seen].T @ g) / np.abs(curvatures[seen]))
        ahead = _point(program, rank, _flat(program, point) - step)
        g_ahead = _value_and_gradient(program, ahead)[1]
        if not np.linalg.norm(g_ahead) < np.linalg.norm(g):
            break
        point, g = ahead, g_ahead
    return point


def _multiplier(program: ConvexProgram, G: Matrix, point: _Point) -> float:
    """mu: the price of the nuclear norm."""
    return -float(np.sum(G * (point.A @ point.B))) / program.T if program.ball else program.lam


def _value_and_gradient(program: ConvexProgram, point: _Point) -> tuple[float, Vector]:
    """The objective, and its gradient in x, on a sphere the tangent part."""
    A, B, b = point
    losses, slopes = program.losses(A @ B, b)
    G = slopes * (program.c / program.root)
    mu = _multiplier(program, G, point)
    gradient = _Point(G @ B.T + mu * A, A.T @ G + mu * B, slopes @ program.c + program.lam_b * b)
    norms = program.lam * (np.sum(A**2) + np.sum(B**2)) + program.lam_b * np.sum(b**2)
    return float(losses @ program.c + norms / 2), _flat(program, gradient)


def _hessian(program: ConvexProgram, point: _Point) -> Float[np.ndarray, "m m"]:
    """The second derivative above in x, on a sphere on the tangent space of it."""
    A, B, b = point
    K, r, eye = program.K, A.shape[1], np.eye(program.K)
    m = 2 * K * r
    dA, dB = np.einsum("ia,jk->kiaj", eye, B), np.einsum("ij,ks->kijs", A, eye)  # dM[i, k] by A[a, j] and by B[j, s]
    dM = [d.reshape(K, K, -1) / program.root[:, None, None] for d in (dA, dB)]
    dZ = np.concatenate([*dM, *([np.stack([eye] * K)] if program.bias else [])], axis=2)
    bent = program.curvatures(A @ B, b) * program.c[:, None, None] @ dZ
    H = dZ.reshape(K * K, -1).T @ bent.reshape(K * K, -1)
    G = program.losses(A @ B, b)[1] * (program.c / program.root)
    cross = np.einsum("il,jk->ijkl", G, np.eye(r)).reshape(K * r, r * K)
    H[: K * r, K * r : m] += cross
    H[K * r : m, : K * r] += cross.T
    H[np.diag_indices(len(H))] += np.where(np.arange(len(H)) < m, _multiplier(program, G, point), program.lam_b)
    return _on_tangent_space(H, _flat(program, point), m) if program.ball else H


def _on_tangent_space(H: Float[np.ndarray, "m m"], x: Vector, m: int) -> Float[np.ndarray, "m m"]:
    """P H P with P orthogonal to the first ``m`` entries of x."""
    radius = np.where(np.arange(len(x)) < m, x, 0.0)
    radius /= np.linalg.norm(radius)
    H = H - np.outer(radius, radius @ H)
    return H - np.outer(H @ radius, radius)
