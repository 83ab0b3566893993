"""Distances between class means: everything that needs all pairs j < k, in one walk over the Gram.

The rows of A are the K class means about their centre. Distances come from the float64 Gram,
|a_j - a_k|^2 = |a_j|^2 + |a_k|^2 - 2 a_j.a_k, and where that cancels more than six digits from the
difference itself.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from layerpeel.collapse.geometry import pair_angle_gaps, row_blocks, upper

__all__ = ["PairStatistics", "cdnv", "pair_statistics"]

_CANCELLED = 1e-6


@dataclass(frozen=True)
class PairStatistics:
    """Sums over the pairs of class means.

    Attributes:
        angle_gap: Avg_{j != k} |cos(a_j, a_k) + 1/(K-1)|.
        log_mean: mean over j < k of log 1/|a_j/|a_j| - a_k/|a_k||; "GNC2" of Liu 2023, Wu-Papyan 2024.
        log_variance: its variance; zero iff the directions are equidistant, as at collapse.
        inverse_powers: sum_{j != k} |mu_j - mu_k|^-p over the classes j that enter CDNV, for such k; else 0.
        nearest: min_{j != k} |mu_j - mu_k|.
    """

    angle_gap: float
    log_mean: float
    log_variance: float
    inverse_powers: Float[np.ndarray, "K"]
    nearest: Float[np.ndarray, "K"]


def pair_statistics(
    rows: Float[np.ndarray, "K d"],
    norms: Float[np.ndarray, "K"],
    enters: Bool[np.ndarray, "K"],
    *,
    exponent: int = 2,
    noise: float = 0.0,
) -> PairStatistics:
    """Walk over all pairs once, in blocks of rows of the Gram.

    The directional fields are nan when a mean coincides with the centre; ``log_mean`` is inf and the variance
    nan when two directions coincide. Distances up to ``noise`` are rounding, and count as 0.
    """
    K = len(rows)
    inverse_powers, nearest = np.zeros(K), np.full(K, np.inf)
    angles, logs = 0.0, _Variance()
    for block in row_blocks(K, K):
        rest = slice(block.start, K)
        gram = rows[block] @ rows[rest].T
        pairs = upper(gram.shape)
        if norms.all():
            cosines = (gram / norms[block, None] / norms[rest])[pairs]
            angles += float(pair_angle_gaps(cosines, K).sum())
            logs.add(_log_inverse_chords(cosines, rows, norms, block, pairs, noise))
        squares = _squared_distances(gram, rows, norms, block, pairs, noise)
        nearest[block] = np.minimum(nearest[block], squares.min(axis=1))
        nearest[rest] = np.minimum(nearest[rest], squares.min(axis=0))
        powers = _inverse_powers(squares, exponent, enters[block], enters[rest])
        inverse_powers[block] += powers.sum(axis=1)
        inverse_powers[rest] += powers.sum(axis=0)
    mean, variance = logs.result()
    angle_gap = 2 * angles / (K * (K - 1)) if norms.all() else float("nan")
    return PairStatistics(angle_gap, mean, variance, inverse_powers, np.sqrt(nearest))


def cdnv(variances: Float[np.ndarray, "K"], pairs: PairStatistics, enters: Bool[np.ndarray, "K"]) -> float:
    """Class-distance normalised variance: mean_{j<k} (v_j + v_k)/(2 |mu_j - mu_k|^p), v_k = mean |h - mu_k|^2.

    Zero at within-class collapse (NC1); invariant to rotation and translation, and to scale for p = 2;
    infinite when two means coincide; undefined for fewer than two classes of two samples: classes of a single
    sample, whose variance is zero by construction, do not enter. Galanti et al. 2022; Wu-Papyan 2024 (p = 4).
    """
    K = int(enters.sum())
    if K < 2:
        return float("nan")
    if np.isinf(pairs.inverse_powers).any():
        return float("inf")
    return float(variances[enters] @ pairs.inverse_powers[enters] / (K * (K - 1)))


def _squared_distances(
    gram: np.ndarray, rows: np.ndarray, norms: np.ndarray, block: slice, pairs: np.ndarray, noise: float
) -> Float[np.ndarray, "b m"]:
    """|a_j - a_k|^2 for j < k, inf elsewhere; overwrites the Gram."""
    size = (norms[block] ** 2)[:, None] + norms[block.start :] ** 2
    gram *= -2
    gram += size
    j, k = np.nonzero(pairs & (gram < _CANCELLED * size))
    squares = _exact(rows, j + block.start, k + block.start)
    gram[j, k] = np.where(squares <= noise**2, 0.0, squares)
    gram[~pairs] = np.inf
    return gram


def _log_inverse_chords(
    cosines: Float[np.ndarray, "P"],
    rows: np.ndarray,
    norms: np.ndarray,
    block: slice,
    pairs: np.ndarray,
    noise: float,
) -> Float[np.ndarray, "P"]:
    """log 1/|u_j - u_k| = -log(2 - 2 cos)/2 of unit vectors."""
    squares = 2 - 2 * cosines
    close = np.flatnonzero(squares < _CANCELLED)
    if close.size:
        j, k = (index[close] + block.start for index in np.nonzero(pairs))
        exact = _exact(rows, j, k, norms)
        squares[close] = np.where(exact <= (noise / np.minimum(norms[j], norms[k])) ** 2, 0.0, exact)
    with np.errstate(divide="ignore"):
        return -0.5 * np.log(squares)


def _exact(rows: np.ndarray, j: np.ndarray, k: np.ndarray, norms: np.ndarray | None = None) -> Float[np.ndarray, "P"]:
    """|a_j - a_k|^2 from the differences, of unit vectors when ``norms`` are given."""
    squares = np.empty(len(j))
    for part in row_blocks(len(j), rows.shape[1]):
        left, right = rows[j[part]], rows[k[part]]
        if norms is not None:
            left, right = left / norms[j[part], None], right / norms[k[part], None]
        difference = left - right
        squares[part] = np.vecdot(difference, difference)
    return squares


def _inverse_powers(
    squares: np.ndarray, exponent: int, rows: np.ndarray, columns: np.ndarray
) -> Float[np.ndarray, "b m"]:
    with np.errstate(divide="ignore"):
        powers = 1 / (squares if exponent == 2 else squares**2)
    if not columns.all():
        powers[~rows] = 0
        powers[:, ~columns] = 0
    return powers


class _Variance:
    """Mean and variance of numbers that come in parts (Chan, Golub, LeVeque 1979)."""

    def __init__(self) -> None:
        self.count, self.mean, self.scatter = 0, 0.0, 0.0

    def add(self, values: np.ndarray) -> None:
        if not values.size:
            return
        mean = float(values.mean())
        delta, before = mean - self.mean, self.count
        self.count += values.size
        with np.errstate(invalid="ignore"):  # values may be infinite: the mean is then, and the scatter nan
            self.scatter += float(np.sum((values - mean) ** 2)) + delta**2 * before * values.size / self.count
        self.mean += delta * values.size / self.count

    def result(self) -> tuple[float, float]:
        if not self.count:
            return float("nan"), float("nan")
        return self.mean, self.scatter / self.count
