"""The shape of K vectors: lengths, angles, Grams. Zero for the simplex ETF.

The rows of V are class means about their centre, or the rows of a classifier. E = (I - J/K)/sqrt(K-1)
is the Gram of the simplex ETF at unit Frobenius norm, fro(G) = G/|G|_F. K x K matrices are walked in blocks
of rows and never held; all is float64. A zero vector has no direction: what needs it is nan.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

__all__ = [
    "angle_gap",
    "cleared",
    "etf_gap",
    "norm_variation",
    "rounding",
    "row_blocks",
    "row_norms",
    "singular_system",
]

BLOCK = 2**21
"""Numbers in a block of a Gram matrix: 16 MiB in float64."""


def row_norms(rows: Float[np.ndarray, "K d"]) -> Float[np.ndarray, "K"]:
    """|v_k|."""
    return np.sqrt(np.vecdot(rows, rows))


def row_blocks(size: int, width: int) -> Iterator[slice]:
    """Slices over ``size`` rows such that a block ``width`` wide stays small."""
    step = max(BLOCK // max(width, 1), 16)
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def norm_variation(norms: Float[np.ndarray, "K"], *, ddof: int = 0) -> float:
    """Std_k |v_k| / Avg_k |v_k| (equinorm, NC2).

    Zero at equal lengths; invariant to rotation and scale; undefined for vectors all zero, or K <= ddof.
    Seed paper, Fig. 2a; Papyan, Han, Donoho 2020 (their code: ddof 1).
    """
    mean = norms.mean()
    if mean == 0 or norms.size <= ddof:
        return float("nan")
    return float(norms.std(ddof=ddof) / mean)


def angle_gap(rows: Float[np.ndarray, "K d"], norms: Float[np.ndarray, "K"]) -> float:
    """Avg_{j != k} |cos(v_j, v_k) + 1/(K-1)| (equal and largest angles, NC2).

    Zero at the simplex ETF, which needs d >= K-1; invariant to rotation and to the length of each vector;
    undefined with a zero vector. Seed paper, Fig. 2c; Papyan, Han, Donoho 2020.
    """
    K = len(rows)
    if not norms.all():
        return float("nan")
    total = 0.0
    for block in row_blocks(K, K):
        cosines = rows[block] @ rows[block.start :].T
        cosines /= norms[block, None]
        cosines /= norms[block.start :]
        total += float(pair_angle_gaps(cosines[upper(cosines.shape)], K).sum())
    return 2 * total / (K * (K - 1))


def pair_angle_gaps(cosines: Float[np.ndarray, "P"], K: int) -> Float[np.ndarray, "P"]:
    """|cos + 1/(K-1)| of some pairs."""
    return np.abs(cosines + 1 / (K - 1))


def upper(shape: tuple[int, ...]) -> np.ndarray:
    """Mask of the pairs j < k in rows of a Gram that start at its diagonal."""
    return np.arange(shape[0])[:, None] < np.arange(shape[1])


def etf_gap(left: Float[np.ndarray, "K d"], right: Float[np.ndarray, "K d"]) -> float:
    """|fro(L R') - E|_F in [0, 2]: "NC2" for L = R, and "NC3" for L = W, R the class means.

    Zero iff L R' is a positive multiple of E; invariant to rotation of both and to the scale of each;
    undefined for L R' = 0. Zhu et al. 2021, eq. (9), (10).

    With c = <L R', E> and D = L R' - cE (orthogonal to E), |L R'|^2 = c^2 + |D|^2 =: g^2 and the squared gap
    is 2 (1 - c/g) = 2 |D|^2/(g (g + c)): no cancellation near zero. For K-1 >= 2d the rank keeps the gap
    above 0.7, and g^2 = <L'L, R'R> saves the K x K products.
    """
    K, d = left.shape
    c = (np.vdot(left, right) - left.sum(0) @ right.sum(0) / K) / np.sqrt(K - 1)
    if 2 * d <= K - 1:
        g = np.sqrt(max(np.vdot(left.T @ left, right.T @ right), 0.0))
        return float(np.sqrt(max(2 - 2 * c / g, 0.0))) if g > 0 else float("nan")
    rest = _distance_from_etf(left, right, c)
    g = np.sqrt(c * c + rest)
    if g == 0:
        return float("nan")
    return float(np.sqrt(2 * rest / (g * (g + c)) if c > 0 else 2 * (g - c) / g))


def _distance_from_etf(left: np.ndarray, right: np.ndarray, c: float) -> float:
    """|L R' - cE|_F^2."""
    K = len(left)
    off_diagonal = c / (K * np.sqrt(K - 1))
    total = 0.0
    for block in row_blocks(K, K):
        product = left[block] @ right.T
        product += off_diagonal
        np.einsum("ii->i", product[:, block])[...] -= K * off_diagonal
        total += np.vdot(product, product)
    return float(total)


def rounding(K: int, scale: float) -> float:
    """How long a difference of K vectors of size ``scale`` can be and still be rounding alone."""
    return float(8 * np.finfo(np.float64).eps * np.sqrt(K) * scale)


def cleared(rows: Float[np.ndarray, "K d"], noise: float) -> Float[np.ndarray, "K d"]:
    """``rows``, in place, with those no longer than ``noise`` set to exact zeros: they have no direction."""
    rows[row_norms(rows) <= noise] = 0
    return rows


def singular_system(
    rows: Float[np.ndarray, "K d"], scale: float
) -> tuple[Float[np.ndarray, "r"], Float[np.ndarray, "d r"]]:
    """Singular values s and right singular vectors of V above rounding: r is the numerical rank.

    The cut is on the singular values themselves, at max(K, d) eps of the largest; and V is zero altogether
    when the largest is within rounding of ``scale``, the size of the numbers that V is a difference of. The
    d x d matrix V'V is never formed: it has the squares, and loses what is below sqrt(eps).
    """
    K, d = rows.shape
    _, s, Vt = np.linalg.svd(_triangular(rows) if d < K else rows, full_matrices=False)
    cut = max(max(K, d) * np.finfo(np.float64).eps * s[0], rounding(K, scale))
    rank = int(np.sum(s > cut))
    return s[:rank], Vt[:rank].T


def _triangular(rows: Float[np.ndarray, "K d"]) -> Float[np.ndarray, "d d"]:
    """R of the QR factorisation of a tall matrix, a block of rows at a time; it has the same s and V."""
    K, d = rows.shape
    R: Any = np.empty((0, d))
    for block in row_blocks(K, d):
        R = np.linalg.qr(np.vstack([R, rows[block]]), mode="r")
    return R
