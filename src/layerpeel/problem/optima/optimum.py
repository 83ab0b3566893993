"""What is known of a global optimum, and the factors that give it: every optimum of this package is put together here.

For d >= rank Z the least of (lam_W/2) |W|^2 + (lam_H/2) |H|^2 over W H = Z is sqrt(lam_W lam_H) |Z|_* (fact F1): so
all models of two factors ask for the best logits Z under, or within, a nuclear norm, and the factors follow from its
singular value decomposition Z = U S V',

    W = (lam_H/lam_W)^{1/4} U S^{1/2},    H = (lam_W/lam_H)^{1/4} S^{1/2} V'.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from layerpeel.problem.state import State

__all__ = ["Optimum", "factors", "need_dimension", "spread_over_samples"]

RANK = 1e-9
"""Singular values below this part of the largest count as 0."""


@dataclass(frozen=True, eq=False)
class Optimum:
    """The least value known of an objective, one ``state`` that attains it, and what is known of it.

    Attributes:
        value: the global optimum, but for deep models (an upper bound) and where ``lower_bound`` says how near it is.
        state: one state that attains it.
        conditions: when the value holds and which states attain it.
        source: the statement and paper it comes from.
        lower_bound: what no state goes below, proved by duality at ``state``, where the optimum was computed; None for
            a closed form.
    """

    value: float
    state: State
    conditions: str
    source: str
    lower_bound: float | None = None


def factors(
    X: Float[np.ndarray, "K K"], sizes: Sequence[int], d: int, *, ratio: float = 1.0, weights: Any = 1.0
) -> tuple[Any, Any]:
    """W [K, d] and H [d, N] of least norm with W H = X Y, the logits x_k for every sample of class k.

    ``ratio`` = |W|^2 / |H|^2, which is sqrt(lam_H/lam_W); with ``weights`` a [K], |H|^2 is sum_k a_k sum_i |h_ki|^2.

    Raises:
        ValueError: for d below the rank of X.
    """
    root = np.sqrt(np.asarray(sizes, dtype=np.float64) * weights)
    U, s, Vt = np.linalg.svd(X * root)  # weighted, X Y = (X root) (orthonormal rows)
    rank = int(np.sum(s > RANK * max(s[0], 1e-300)))
    need_dimension(d, rank)
    half = np.sqrt(s[:rank])
    W, H = np.zeros((len(X), d)), np.zeros((d, len(X)))
    W[:, :rank] = U[:, :rank] * half * np.sqrt(ratio)
    H[:rank] = half[:, None] * Vt[:rank] / np.sqrt(ratio)
    return W, spread_over_samples(H / root, sizes)


def spread_over_samples(columns: Float[np.ndarray, "d K"], sizes: Sequence[int]) -> Float[np.ndarray, "d N"]:
    """One column a class -> one column a sample."""
    return np.repeat(columns, sizes, axis=1)


def need_dimension(d: int, least: int, why: str = "the rank of the optimal logits") -> None:
    """Raise unless the features have room for an optimum of ``least`` dimensions."""
    if d < least:
        raise ValueError(f"need d >= {least}, {why}, for this optimum, got d={d}")
