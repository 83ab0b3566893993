"""How far down a plane the logits X = W H of a model can go: the polar of what its norms allow them.

With G the slope of the loss, the least of <G, X> over a set, or of <G, X> + penalty, is

 - ridge, lam = sqrt(lam_W lam_H): the penalty is at least lam |X|_*, so the least is 0 iff sigma_1(G) <= lam;
 - ridge with H >= 0: the same with sigma_+ = max |G h| over h >= 0, |h| = 1, for sigma_1. That number is hard to find,
   and bounded here by sigma_+^2 <= min(s(G'G), s((G'G)_+)), s the largest eigenvalue and (.)_+ the positive entries;
 - balls |W|^2 <= W2, sum a_i |h_i|^2 <= H2: |X diag(a)^{1/2}|_* <= T = sqrt(W2 H2), so -T sigma_1(G diag(a)^{-1/2});
 - spheres |w_k| = |h_i| = r lie in the balls W2 = K r^2, H2 = N r^2;
 - logits |x_i| <= R: -R sum_i |g_i|.

All are exact for d >= K but the second and fourth, which are bounds.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerpeel.certify.singular import top_singular_triple
from layerpeel.problem import NonNegative, NormBalls, OutputBall, Problem, Ridge, Spheres

__all__ = ["Reach", "reach", "ridge_of"]


@dataclass(frozen=True)
class Reach:
    """What a slope G meets in a model.

    Attributes:
        sigma: how steep G is in the directions that the model allows.
        lam: what holds against it: the weight of a ridge, -<G, X>/T for a set of size T. Optimal iff sigma <= lam.
        most: the greatest s <= 1 for which s G has a least value; 1 for a set.
        depth: minus the least of <G, X> over a set; 0 for a ridge.
    """

    sigma: float
    lam: float
    most: float
    depth: float


def reach(problem: Problem, G: Float[np.ndarray, "K N"], X: Float[np.ndarray, "K N"]) -> Reach:
    """The reach of G in ``problem``, and lam at the logits X."""
    constraint = problem.constraint
    if isinstance(constraint, NormBalls):
        a = np.ones(problem.N) if constraint.weights is None else np.asarray(constraint.weights, dtype=np.float64)
        size = math.sqrt(float(constraint.W2) * float(constraint.H2))
        return _in_set(top_singular_triple(G / np.sqrt(a))[0], size, G, X)
    if isinstance(constraint, Spheres):
        size = float(constraint.radius) ** 2 * math.sqrt(problem.K * problem.N)
        return _in_set(top_singular_triple(G)[0], size, G, X)
    if isinstance(constraint, OutputBall):
        return _in_set(float(np.linalg.norm(G, axis=0).sum()), float(constraint.radius), G, X)
    ridge = ridge_of(problem)
    sigma = _steepest_non_negative(G) if isinstance(constraint, NonNegative) else top_singular_triple(G)[0]
    lam = math.sqrt(float(ridge.lam_W) * float(ridge.lam_H))
    return Reach(sigma, lam, 1.0 if sigma <= lam else lam / sigma, 0.0)


def ridge_of(problem: Problem) -> Ridge:
    """The ridge of a problem, of weight 0 where there is none."""
    ridge = problem.regulariser or Ridge(0.0, 0.0)
    assert isinstance(ridge, Ridge)
    return ridge


def _in_set(sigma: float, size: float, G: Float[np.ndarray, "K N"], X: Float[np.ndarray, "K N"]) -> Reach:
    return Reach(sigma, -float(np.vdot(G, X)) / size, 1.0, size * sigma)


def _steepest_non_negative(G: Float[np.ndarray, "K N"]) -> float:
    """A bound of max |G h| over h >= 0, |h| = 1; exact where the positive part of G'G falls into blocks of one sign."""
    gram = G.T @ G
    return math.sqrt(max(0.0, min(np.linalg.eigvalsh(gram)[-1], np.linalg.eigvalsh(np.maximum(gram, 0.0))[-1])))
