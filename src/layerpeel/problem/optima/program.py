"""The convex program behind a model of two factors with any class sizes: one column of logits a class.

The loss is convex in the logits and the samples of a class are alike, so that averaging over them costs nothing: some
optimum has the logits z_k = x_k + b for every sample of class k. With c_k = n_k/N, root_k = sqrt(n_k a_k) (a_k the
weight of the features in their ball, 1 without) and M = X diag(root), fact F1 leaves

    min L(M, b) + lam |M|_* + lam_b/2 |b|^2    s.t.    |M|_* <= T,    L = sum_k c_k l(x_k + b, e_k),

lam = sqrt(lam_W lam_H) and T infinite for a ridge, lam = 0 and T = sqrt(W2 H2) for balls. Everything is in units of the
mean loss; ``scale`` is N for a sum of losses.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from layerpeel.problem.constraints import NormBalls
from layerpeel.problem.losses import CrossEntropy, Hinge, Loss, SquaredError
from layerpeel.problem.optima.symmetric import strength
from layerpeel.problem.regularisers import Ridge

if TYPE_CHECKING:
    from layerpeel.problem.problem import Problem

__all__ = ["ConvexProgram", "convex_program"]

LOSSES = (CrossEntropy, SquaredError, Hinge)
"""Convex losses whose conic form and whose conjugate are written down."""


@dataclass(frozen=True, eq=False)
class ConvexProgram:
    """The program above.

    Attributes:
        loss: l.
        c: n_k/N.
        root: sqrt(n_k a_k).
        lam: weight of the nuclear norm, 0 for balls.
        T: bound on the nuclear norm, infinite for a ridge.
        lam_b: weight of the bias, 0 for a free one.
        bias: whether there is one.
        ball: whether T is finite.
        ratio: |W|^2 / (weighted |H|^2) at an optimum.
        scale: the objective over its mean form.
    """

    loss: Loss
    c: Float[np.ndarray, "K"]
    root: Float[np.ndarray, "K"]
    lam: float
    T: float
    lam_b: float
    bias: bool
    ball: bool
    ratio: float
    scale: float

    @property
    def K(self) -> int:
        """Number of classes."""
        return len(self.c)

    @property
    def targets(self) -> Float[np.ndarray, "K K"]:
        """The labels that the loss sees, a column a class: smoothed for a smoothed cross-entropy."""
        a = self.loss.label_smoothing if isinstance(self.loss, CrossEntropy) else 0.0
        return (1 - a) * np.eye(self.K) + a / self.K

    def value(self, M: Float[np.ndarray, "K K"], b: Float[np.ndarray, "K"]) -> float:
        """The objective."""
        nuclear = float(np.linalg.norm(M, "nuc"))
        return float(self.losses(M, b)[0] @ self.c) + self.lam * nuclear + self.lam_b / 2 * float(b @ b)

    def losses(self, M: Any, b: Any) -> tuple[Float[np.ndarray, "K"], Float[np.ndarray, "K K"]]:
        """l and its slopes dl/dz, a column each, at the logits of every class."""
        with jax.enable_x64(True):
            values, slopes = _losses(self.loss, M / self.root + b[:, None])
            return np.asarray(values), np.asarray(slopes)

    def curvatures(self, M: Any, b: Any) -> Float[np.ndarray, "K K K"]:
        """d^2 l/dz^2, a matrix a class."""
        with jax.enable_x64(True):
            return np.asarray(_curvatures(self.loss, M / self.root + b[:, None]))


@partial(jax.jit, static_argnums=0)
def _losses(loss: Loss, Z: Any) -> tuple[Any, Any]:
    values, pull = jax.vjp(lambda Z: loss.value(Z, np.eye(len(Z))), Z)
    return values, pull(jnp.ones_like(values))[0]


@partial(jax.jit, static_argnums=0)
def _curvatures(loss: Loss, Z: Any) -> Any:
    def of_class(z: Any, y: Any) -> Any:
        return loss.value(z[:, None], y[:, None])[0]

    return jax.vmap(jax.hessian(of_class), in_axes=(1, 1))(Z, jnp.eye(len(Z)))


def convex_program(problem: "Problem") -> ConvexProgram | None:
    """The program of ``problem``, or None where it is not one of these."""
    if problem.depth > 2 or not isinstance(problem.loss, LOSSES):
        return None
    sizes = np.asarray(problem.n, dtype=np.float64)
    if isinstance(problem.constraint, NormBalls) and problem.regulariser is None:
        weights = _class_weights(problem)
        if weights is None:
            return None
        W2, H2 = float(problem.constraint.W2), float(problem.constraint.H2)
        lam, lam_b, _, scale = strength(problem)
        T, ratio, root = math.sqrt(W2) * math.sqrt(H2), math.sqrt(W2) / math.sqrt(H2), np.sqrt(sizes * weights)
    elif problem.constraint is None and isinstance(problem.regulariser or Ridge(0.0, 0.0), Ridge):
        lam, lam_b, ratio, scale = strength(problem)
        T, root = math.inf, np.sqrt(sizes)
    else:
        return None
    c, ball = sizes / problem.N, math.isfinite(T)
    return ConvexProgram(problem.loss, c, root, lam, T, lam_b, problem.bias, ball, ratio, scale)


def _class_weights(problem: "Problem") -> Float[np.ndarray, "K"] | None:
    """a_k, if the samples of a class share one weight in the ball of the features."""
    balls: NormBalls = problem.constraint  # type: ignore[assignment]
    if balls.weights is None:
        return np.ones(problem.K)
    weights = np.asarray(balls.weights, dtype=np.float64)
    first = weights[np.concatenate([[0], np.cumsum(problem.n)[:-1]])]
    return first if np.array_equal(np.repeat(first, problem.n), weights) else None
