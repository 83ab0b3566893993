"""Softmax codes: K unit vectors of largest one-vs-rest margin, what is left of collapse where K > d + 1.

    margin_k = dist(u_k, conv{u_j, j != k}) = max over |h| <= 1 of min_j <u_k - u_j, h>,    margin = min_k margin_k,

so that tau margin is the best margin q_min that features of length sqrt(tau) reach with classifiers sqrt(tau) u_k, and
the codes of largest margin are the limits tau -> infinity of vectors on spheres (Jiang et al. 2024). With W = H' the
limit is another problem, that of the largest cosine (:func:`layerpeel.frames.coherence_floor`).

What K unit vectors in R^d can have at most, with proofs in a line:

- K/(K-1) for K <= d+1, attained by the simplex: |u_k - mean of the others| = K/(K-1) |u_k - mean|, and the mean square
  of |u_k - mean| is at most 1.
- 1 for d+2 <= K <= 2d, attained by K of the vectors +-e_i, the orthoplex: some x is in the hulls of two disjoint sets A
  and B (Radon), <u_k, x> >= |x|^2 for some k in A, hence |u_k - x|^2 <= 1 - |x|^2, and x is in the hull of the others.
- 1 - cos(2 pi/K) for d = 2, K >= 4, attained by the regular polygon: some vector has neighbours with at most 4 pi/K
  between them, and its distance to their chord is at most that.
- beyond that the lesser of 1 and the least distance of two of K unit vectors, sqrt(2 - 2 coherence_floor): true, not
  attained in general.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.optimize import nnls

from layerpeel.frames import coherence_floor, orthoplex, simplex_etf
from layerpeel.problem.options import need_integer

__all__ = ["OneVsRest", "OneVsRestBound", "one_vs_rest_bound", "one_vs_rest_margin", "softmax_code"]


@dataclass(frozen=True, eq=False)
class OneVsRest:
    """The one-vs-rest margins of K vectors, with proofs from both sides.

    Attributes:
        margin: min_k of ``upper``.
        lower: the margin is not less: min_k min_{j != k} <u_k - u_j, h_k>.
        upper: |u_k - sum_j weights_kj u_j|, which each margin_k is not above, [K].
        weights: the nearest point of the others' hull as a convex combination, weights_kk = 0, [K, K].
        directions: h_k, the best features of length 1 for these classifiers, [d, K]; 0 where the margin is 0.
    """

    margin: float
    lower: float
    upper: Float[np.ndarray, "K"]
    weights: Float[np.ndarray, "K K"]
    directions: Float[np.ndarray, "d K"]

    @property
    def gap(self) -> float:
        """How far the two proofs are apart: rounding, unless the vectors have extreme lengths."""
        return self.margin - self.lower


class OneVsRestBound(NamedTuple):
    """The margin that no K unit vectors in R^d exceed; ``attained``: whether some are known to have it."""

    value: float
    attained: bool


def one_vs_rest_margin(frame: ArrayLike) -> OneVsRest:
    """min_k dist(u_k, conv{u_j, j != k}) of the columns u_k, by K projections, exact to rounding.

    The nearest point of a hull to the origin is A u/(1'u), where u >= 0 minimises |A u|^2 + (1'u - 1)^2: non-negative
    least squares (Lawson and Hanson 1974, chapter 23). Unchanged by rotations; of degree 1 in the lengths, which are
    taken as they are: 1 for a code.

    Args:
        frame: the vectors as columns, d x K (classifiers W of shape K x d as W.T).

    Raises:
        ValueError: unless it is a d x K matrix with K >= 2 of finite numbers.
    """
    U = np.asarray(frame, dtype=np.float64)
    if U.ndim != 2 or U.shape[0] < 1 or U.shape[1] < 2 or not np.isfinite(U).all():
        raise ValueError(f"need a finite d x K matrix of K >= 2 column vectors, got shape {U.shape}")
    K, scale = U.shape[1], float(np.abs(U).max()) or 1.0  # squares of the lengths neither over- nor underflow
    U = U / scale
    weights = np.zeros((K, K))
    for k in range(K):
        weights[k, np.arange(K) != k] = _nearest(np.delete(U, k, axis=1) - U[:, [k]])
    apart = U - U @ weights.T
    upper = np.linalg.norm(apart, axis=0)
    directions = np.divide(apart, upper, out=np.zeros_like(apart), where=upper > 0)
    scores = U.T @ directions
    rivals = np.where(np.eye(K, dtype=bool), -np.inf, scores).max(axis=0)
    lower = np.maximum(np.diag(scores) - rivals, 0.0)
    return OneVsRest(scale * float(upper.min()), scale * float(lower.min()), scale * upper, weights, directions)


def one_vs_rest_bound(K: SupportsIndex, d: SupportsIndex) -> OneVsRestBound:
    """The largest one-vs-rest margin of K unit vectors in R^d, or, for K > 2d and d > 2, a bound of it.

    Raises:
        ValueError: unless K >= 2 and d >= 1 are integers.
    """
    K, d = _admit(K, d)
    if d + 1 >= K:
        return OneVsRestBound(K / (K - 1), True)
    if d == 1:
        return OneVsRestBound(0.0, True)  # two of three numbers +-1 are equal
    if 2 * d >= K:
        return OneVsRestBound(1.0, True)
    if d == 2:
        return OneVsRestBound(float(1 - np.cos(2 * np.pi / K)), True)
    return OneVsRestBound(float(min(1.0, np.sqrt(2 - 2 * coherence_floor(K, d)))), False)


def softmax_code(K: SupportsIndex, d: SupportsIndex) -> Float[np.ndarray, "d K"]:
    """K unit columns in R^d of the largest one-vs-rest margin, where it is known: simplex, orthoplex or polygon.

    Raises:
        ValueError: for K > 2d with d > 2, where codes are only found by search, or d = 1 with K > 2.
    """
    K, d = _admit(K, d)
    if d + 1 >= K:
        return simplex_etf(K, d)
    if d >= 2 and 2 * d >= K:
        pairs = K - d  # as many whole pairs +-e_i as there is room for, at least two
        return np.hstack([orthoplex(d)[:, :d], -np.eye(d, pairs)])
    if d == 2:
        angles = 2 * np.pi * np.arange(K) / K
        return np.stack([np.cos(angles), np.sin(angles)])
    raise ValueError(f"need K <= 2d, or d = 2, for a softmax code that is known, got K={K}, d={d}")


def _nearest(points: Float[np.ndarray, "d m"]) -> Float[np.ndarray, "m"]:
    """The convex weights of the point of their hull that is nearest to 0."""
    size = float(np.linalg.norm(points, axis=0).max()) or 1.0
    system = np.vstack([points / size, np.ones(points.shape[1])])
    u, _ = nnls(system, np.eye(len(system))[-1])
    return np.asarray(u / u.sum())


def _admit(K: Any, d: Any) -> tuple[int, int]:
    return need_integer("K", K, least=2), need_integer("d", d, least=1)
