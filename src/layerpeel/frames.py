"""Frames: the simplex ETF, its nearest copy to given vectors, and what K vectors in R^d can attain at all.

A frame is a d x K matrix whose columns are the vectors. The simplex ETF of K classes is

    M = sqrt(K/(K-1)) Q U,    M'M = K/(K-1) (I - J/K),

with U the (K-1) x K Helmert matrix (UU' = I, U1 = 0) and Q any d x (K-1) matrix with orthonormal columns;
it exists iff d >= K-1. Its columns are unit vectors that sum to zero with all cosines -1/(K-1).

Invariant: every function of a frame here is unchanged by an orthogonal map of R^d. Any permutation of the
columns of M is such a map (a reflection is allowed), so matching vectors to the ETF needs no assignment.

The floors are lower bounds over all frames of K unit vectors; where one is attained its docstring says so.
"""

import operator
from dataclasses import dataclass
from typing import Any, SupportsIndex, cast

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import betaincinv

__all__ = [
    "NearestETF",
    "coherence",
    "coherence_floor",
    "etf_distance",
    "etf_gap_floor",
    "frame_potential",
    "is_tight",
    "largest_cosine",
    "nearest_etf",
    "orthoplex",
    "random_frame",
    "random_orthonormal",
    "simplex_etf",
    "welch_bound",
]


def simplex_etf(
    K: SupportsIndex, d: SupportsIndex, *, seed: int | None = None, norm: float = 1.0
) -> Float[np.ndarray, "{d} {K}"]:
    """Simplex equiangular tight frame: M'M = norm^2 K/(K-1) (I - J/K).

    ``seed=None`` is the canonical one (Helmert, in the first K-1 coordinates); an integer turns it by a
    Haar-distributed orthogonal map, the same for the same seed. Any rotation Q is ``Q @ simplex_etf(K, d)``.

    Raises:
        ValueError: unless K >= 2, d >= K-1 and norm is positive.
    """
    K, d = _at_least("K", K, 2), _at_least("d", d, 1)
    _need_room(K, d)
    if not (np.isfinite(norm) and norm > 0):
        raise ValueError(f"need a positive norm, got norm={norm}")
    basis = np.eye(d, K - 1) if seed is None else random_orthonormal(d, K - 1, seed=seed)
    return cast(np.ndarray, norm * np.sqrt(K / (K - 1)) * (basis @ _helmert(K)))


def orthoplex(d: SupportsIndex) -> Float[np.ndarray, "{d} 2*{d}"]:
    """Cross-polytope: the 2d columns of [I, -I]; no d+2 vectors or more have a lower largest cosine."""
    identity = np.eye(_at_least("d", d, 1))
    return np.hstack([identity, -identity])


def random_frame(K: SupportsIndex, d: SupportsIndex, *, seed: int) -> Float[np.ndarray, "{d} {K}"]:
    """K independent vectors, uniform on the unit sphere of R^d."""
    draws = np.random.default_rng(seed).normal(size=(_at_least("d", d, 1), _at_least("K", K, 1)))
    return cast(np.ndarray, draws / np.linalg.norm(draws, axis=0))


def random_orthonormal(d: SupportsIndex, k: SupportsIndex, *, seed: int) -> Float[np.ndarray, "{d} {k}"]:
    """k <= d orthonormal columns, Haar distributed: QR of a Gaussian matrix, the diagonal of R made positive.

    Without the sign fix LAPACK's choice of signs would bias it (Mezzadri 2007).
    """
    d, k = _at_least("d", d, 1), _at_least("k", k, 1)
    if k > d:
        raise ValueError(f"need k <= d = {d} orthonormal columns, got k={k}")
    Q, R = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, k)))
    return Q * np.where(np.diag(R) < 0, -1.0, 1.0)


@dataclass(frozen=True)
class NearestETF:
    """Simplex ETF closest to given vectors: ``frame = scale * rotation @ simplex_etf(K, K-1) + centre``."""

    frame: Float[np.ndarray, "d K"]
    scale: float
    rotation: Float[np.ndarray, "d K-1"]
    centre: Float[np.ndarray, "d 1"]
    distance: float  # Frobenius, ||vectors - frame||_F


def nearest_etf(vectors: ArrayLike, *, centred: bool = True) -> NearestETF:
    """Orthogonal Procrustes: min ||A - (s Q M + c1')||_F over s >= 0, Q'Q = I and the centre c.

    As M1 = 0, c is the mean of the columns (0 if not ``centred``) and does not enter Q and s: with the SVD
    A M' = X S Y', Q = XY' (the polar factor; reflections allowed) and s = tr S / K. Q is not unique when the
    centred vectors have rank below K-1; the distance is.

    Raises:
        ValueError: unless vectors is finite, d x K with K >= 2, d >= K-1, and its columns are not all equal.
    """
    A = _columns(vectors)
    d, K = A.shape
    _need_room(K, d)
    simplex = simplex_etf(K, K - 1)
    mean, deviations, size = _spread(A)
    left, values, right = np.linalg.svd(deviations @ simplex.T, full_matrices=False)
    rotation, scale = left @ right, size * values.sum() / K
    centre = mean if centred else np.zeros((d, 1))
    frame = scale * (rotation @ simplex) + centre
    distance = size * float(np.linalg.norm((A - frame) / size))
    return NearestETF(frame, float(scale), rotation, centre, distance)


def etf_distance(vectors: ArrayLike, *, centred: bool = True) -> float:
    """Relative distance to the nearest simplex ETF, ||A - nearest||_F / ||A||_F, in [0, 1].

    With ``centred`` A stands for the vectors minus their mean, and the K-1 singular values s_i of A give

        distance^2 = sum_i (s_i - mean s)^2 / sum_i s_i^2.

    Zero iff the vectors are a simplex ETF. Invariant to rotation, scale, permutation, and to translation when
    ``centred``. For d < K-1 it is the distance within R^(K-1): at least sqrt(1 - d/(K-1)), attained by the
    centred tight frames.

    Raises:
        ValueError: unless vectors is finite, d x K with K >= 2, and its columns are not all equal.
    """
    A = _columns(vectors)
    K = A.shape[1]
    mean, deviations, size = _spread(A)
    values = np.zeros(K - 1)
    found = np.linalg.svd(deviations, compute_uv=False)[: K - 1]
    values[: found.size] = found
    offset = 0.0 if centred else K * float(np.sum((mean / size) ** 2))
    gap = float(np.sum((values - values.mean()) ** 2)) + offset
    return float(np.sqrt(gap / (float(np.sum(values**2)) + offset)))


def coherence(frame: ArrayLike) -> float:
    """Largest absolute cosine of two columns, at least :func:`welch_bound`; undefined for a zero column."""
    return float(np.abs(_pair_cosines(frame)).max())


def largest_cosine(frame: ArrayLike) -> float:
    """Largest signed cosine of two columns, at least :func:`coherence_floor`; undefined for a zero one."""
    return float(_pair_cosines(frame).max())


def frame_potential(frame: ArrayLike) -> float:
    """||F'F||_F^2, for unit columns at least max(K, K^2/d), with equality iff orthonormal (K <= d) or tight.

    Benedetto and Fickus 2003.
    """
    F = _columns(frame)
    return float(np.sum((F @ F.T if F.shape[0] < F.shape[1] else F.T @ F) ** 2))


def is_tight(frame: ArrayLike, *, rtol: float = 1e-8) -> bool:
    """Whether FF' = c I for some c > 0, to ``rtol`` of c in every entry."""
    F = _columns(frame)
    d = F.shape[0]
    c = float(np.sum(F**2)) / d
    return bool(c > 0 and np.abs(F @ F.T - c * np.eye(d)).max() <= rtol * c)


def welch_bound(K: SupportsIndex, d: SupportsIndex) -> float:
    """Least possible :func:`coherence`: sqrt((K-d)/(d(K-1))), and 0 for K <= d (Welch 1974).

    Attained exactly by equiangular tight frames, which need K <= d(d+1)/2 and are rare.
    """
    K, d = _at_least("K", K, 2), _at_least("d", d, 1)
    return float(np.sqrt(max(0, K - d) / (d * (K - 1))))


def coherence_floor(K: SupportsIndex, d: SupportsIndex) -> float:
    """Least possible :func:`largest_cosine` of K vectors in R^d.

    Attained for K <= d+1 (simplex, -1/(K-1)), for d+2 <= K <= 2d (orthoplex, 0; Rankin 1955) and for d <= 2
    (regular polygon, cos 2 pi/K). For other K > 2d it is a lower bound: the better of disjoint caps of half
    the least angle and of Levenshtein's degree-3 bound K <= d(1-s)(2+(d+1)s)/(1-ds^2), which holds for
    s <= (sqrt(d+3)-1)/(d+2) and is attained by the half 5-cube (d=5, K=16, s=1/5).
    """
    K, d = _at_least("K", K, 2), _at_least("d", d, 1)
    if d + 1 >= K:
        return -1 / (K - 1)
    if 2 * d >= K:
        return 0.0
    if d <= 2:
        return float(np.cos(2 * np.pi / K)) if d == 2 else 1.0
    return max(_levenshtein(K, d), _disjoint_caps(K, d))


def etf_gap_floor(K: SupportsIndex, d: SupportsIndex) -> float:
    """Least possible ||fro(A'A) - E||_F ("NC2") of K vectors: sqrt(2 - 2 sqrt(d/(K-1))), and 0 for K <= d+1.

    With E = (I - J/K)/sqrt(K-1). A'A has rank at most d and E has K-1 equal eigenvalues, so by Cauchy-Schwarz
    <fro(A'A), E> <= sqrt(d/(K-1)). Attained exactly by the centred tight frames (A1 = 0, AA' = cI).
    """
    K, d = _at_least("K", K, 2), _at_least("d", d, 1)
    return float(np.sqrt(2 - 2 * np.sqrt(min(1.0, d / (K - 1)))))


def _helmert(K: int) -> Float[np.ndarray, "{K}-1 {K}"]:
    """Row j: (1, .., 1, -j, 0, .., 0)/sqrt(j(j+1)) with j ones, j = 1 .. K-1."""
    j = np.arange(1, K)[:, None]
    columns = np.arange(K)[None, :]
    rows = np.where(columns < j, 1.0, np.where(columns == j, -j, 0.0))
    return cast(np.ndarray, rows / np.sqrt(j * (j + 1.0)))


def _levenshtein(K: int, d: int) -> float:
    """The s of the degree-3 bound: positive root of d(K-d-1) s^2 + d(d-1) s = K - 2d, cut at its range."""
    a, b, c = d * (K - d - 1), d * (d - 1), K - 2 * d
    root = 2 * c / (b + np.sqrt(b * b + 4.0 * a * c))
    return float(min(root, (np.sqrt(d + 3) - 1) / (d + 2)))


def _disjoint_caps(K: int, d: int) -> float:
    """Caps of angle phi = theta/2 are apart: K I_x((d-1)/2, 1/2) <= 2, x = sin^2 phi, cos theta = 1 - 2x."""
    return float(1 - 2 * betaincinv((d - 1) / 2, 0.5, 2 / K))


def _pair_cosines(frame: ArrayLike) -> Float[np.ndarray, "pairs"]:
    F = _columns(frame)
    norms = np.linalg.norm(F, axis=0)
    if not norms.all():
        raise ValueError(f"need columns that are not zero, got column {int(np.argmin(norms))} equal to zero")
    unit = F / norms
    return cast(np.ndarray, (unit.T @ unit)[np.triu_indices(F.shape[1], 1)])


def _spread(A: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean column, deviations from it divided by their largest entry, and that entry."""
    mean = A.mean(axis=1, keepdims=True)
    deviations = A - mean
    size = float(np.abs(deviations).max())
    if size <= 4 * np.finfo(float).eps * float(np.abs(A).max()):
        raise ValueError(f"need vectors that are not all equal, got {A.shape[1]} equal ones")
    return mean, deviations / size, size


def _columns(vectors: ArrayLike) -> Float[np.ndarray, "d K"]:
    A = np.asarray(vectors, dtype=np.float64)
    if A.ndim != 2 or A.shape[0] < 1 or A.shape[1] < 2:
        raise ValueError(f"need a d x K matrix of K >= 2 column vectors, got shape {A.shape}")
    if not np.isfinite(A).all():
        raise ValueError(f"need finite vectors, got {int((~np.isfinite(A)).sum())} non-finite entries")
    return A


def _need_room(K: int, d: int) -> None:
    if d < K - 1:
        raise ValueError(f"need d >= K-1 = {K - 1} for a simplex ETF of K={K} vectors, got d={d}")


def _at_least(name: str, value: Any, least: int) -> int:
    try:
        integer = operator.index(value)
    except TypeError:
        raise ValueError(f"need {name} to be an integer, got {name}={value!r}") from None
    if integer < least:
        raise ValueError(f"need {name} >= {least}, got {name}={integer}")
    return integer
