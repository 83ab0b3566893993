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
import numpy as np
from jaxtyping import Float

from layerpeel.problem.constraints import NormBalls
from layerpeel.problem.losses import CrossEntropy, Hinge, Loss, SquaredError
from layerpeel.problem.optima.symmetric import strength
from layerpeel.problem.regularisers import Ridge

if TYPE_CHECKING:
    from layerpeel.problem.problem import Problem

__all__ = ["LOSSES", "ConvexProgram", "convex_program"]

LOSSES = (CrossEntropy, SquaredError, Hinge)
"""Convex losses whose conic form and whose conjugate are written down."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["c", "root", "lam", "T", "lam_b", "ratio", "scale"],
    meta_fields=["loss", "bias", "ball"],
)
@dataclass(frozen=True, eq=False)
class ConvexProgram:
    """The program above; a pytree of its numbers.

    Attributes:
        loss: l.
        c: n_k/N, [K].
        root: sqrt(n_k a_k), [K].
        lam: weight of the nuclear norm, 0 for balls.
        T: bound on the nuclear norm, infinite for a ridge.
        lam_b: weight of the bias, 0 for a free one.
        bias: whether there is one.
        ball: whether T is finite.
        ratio: |W|^2 / (weighted |H|^2) at an optimum.
        scale: the objective over its mean form.
    """

    loss: Loss
    c: Any
    root: Any
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

    def data_loss(self, M: Any, b: Any) -> Any:
        """L(M, b), in jax.numpy operations."""
        return self.loss.value(M / self.root + b[:, None], np.eye(self.K)) @ self.c

    def value(self, M: Float[np.ndarray, "K K"], b: Float[np.ndarray, "K"]) -> float:
        """The objective."""
        with jax.enable_x64(True):
            data = float(self.data_loss(M, b))
        nuclear = float(np.sum(np.linalg.svd(M, compute_uv=False)))
        return data + self.lam * nuclear + self.lam_b / 2 * float(b @ b)

    def slopes(self, M: Float[np.ndarray, "K K"], b: Float[np.ndarray, "K"]) -> Float[np.ndarray, "K K"]:
        """dl/dz at the logits of every class, a column each."""
        with jax.enable_x64(True):
            Z = M / self.root + b[:, None]
            return np.asarray(jax.grad(lambda Z: self.loss.value(Z, np.eye(self.K)).sum())(Z))


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
        T, ratio, root = math.sqrt(W2 * H2), math.sqrt(W2 / H2), np.sqrt(sizes * weights)
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
