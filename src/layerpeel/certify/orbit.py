"""The rotation orbit of a point: what changes theta = (W, H, b) but neither W H nor |theta|.

The rotations R of the feature space act by (W R, R' H, b). The tangent space of the orbit at theta is

    { A.theta = (W A, -A H, 0) : A skew, d x d },    dimension r(2d - r - 1)/2,    r = rank [W; H'],

and <A.theta, B.theta> = tr(S A B'), S = W'W + HH' of rank r. At the optimum r = K - 1, and the dimension is (K-1)d -
(K-1)K/2. A vector (X, Y, z) has its orthogonal projection on the orbit where the skew A solves the Lyapunov equation

    S A + A S = R - R',    R = W'X - YH',

entry by entry in the eigenbasis of S. Neither the basis of the orbit nor a matrix larger than d x d is formed.

L is constant on the orbit, and its gradient turns with theta: with lam = -<theta, grad L>/|theta|^2,

    (Hess L + lam I) A.theta = A.(grad L + lam theta)

at every theta, for every loss of W H (+ b 1') and every regulariser that rotations leave alone. So the orbit lies in
the kernel of the Riemannian Hessian at the critical points of the sphere, and in general nowhere else.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from layerpeel.problem import State

__all__ = ["RotationOrbit", "rotation_orbit"]

RANK_TOLERANCE = 1e-8
"""Singular values of [W; H'] below this share of the largest count as zero."""


@partial(jax.tree_util.register_dataclass, data_fields=["W", "H", "axes", "weights"], meta_fields=["rank"])
@dataclass(frozen=True, eq=False)
class RotationOrbit:
    """The tangent space of the rotation orbit at a point; arrays of numpy or jax.

    Attributes:
        W: the classifiers of the point, scaled to |theta| = 1.
        H: its features, scaled alike.
        axes: eigenvectors of S = W'W + HH', columns.
        weights: 1 / (s_i + s_j) for the eigenvalues of S, 0 where both are zero.
        rank: r, that of [W; H'].
    """

    W: Float[Any, "K d"]
    H: Float[Any, "d N"]
    axes: Float[Any, "d d"]
    weights: Float[Any, "d d"]
    rank: int

    @property
    def dimension(self) -> int:
        """r (2d - r - 1)/2: rotations that move nothing are not counted."""
        return self.rank * (2 * self.axes.shape[0] - self.rank - 1) // 2

    def direction(self, A: Float[Any, "d d"], *, bias: Float[Any, "K"] | None = None) -> State:
        """A.theta / |theta| = (W A, -A H, 0) of a skew A; ``bias`` is the zero b of a model that has one."""
        return State(self.W @ A, -(A @ self.H), bias)

    def project(self, vector: State) -> State:
        """The part of ``vector`` along the orbit, its orthogonal projection."""
        R = self.W.T @ vector.W - vector.H @ self.H.T
        skew = self.axes.T @ (R - R.T) @ self.axes
        A = self.axes @ (skew * self.weights) @ self.axes.T
        return self.direction(A, bias=None if vector.b is None else 0 * vector.b)


def rotation_orbit(state: State) -> RotationOrbit:
    """The rotation orbit at ``state``, one point of numpy arrays that is not 0."""
    rho = np.sqrt(state.squared_norm)
    W, H = state.W / rho, state.H / rho
    s, axes = _singular_axes(np.concatenate([W, H.T]))
    rank = int(np.count_nonzero(s > RANK_TOLERANCE * s[0])) if s[0] > 0 else 0
    s[rank:] = 0.0
    sums = s[:, None] ** 2 + s**2
    weights = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
    return RotationOrbit(W, H, axes, weights, rank)


def _singular_axes(stacked: Float[np.ndarray, "m d"]) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "d d"]]:
    """All d singular values of [W; H'] and its right singular vectors, columns; by a QR first, for the N rows of H'."""
    found, Vt = np.linalg.svd(np.linalg.qr(stacked, mode="r"), full_matrices=True)[1:]
    s = np.zeros(stacked.shape[1])
    s[: len(found)] = found
    return s, Vt.T
