"""Self-duality (NC3): do classifier rows and class means point the same way?

A has the class means about their centre as rows here, W the classifier rows of the same classes; fro(V) = V/|V|_F.
The third field, |fro(W A') - E|_F, is ``geometry.etf_gap(W, A)``.
"""

import numpy as np
from jaxtyping import Float

from layerpeel.collapse.geometry import row_blocks

__all__ = ["dual_distance", "duality_gap"]


def duality_gap(
    means: Float[np.ndarray, "K d"],
    weights: Float[np.ndarray, "K d"],
    mean_norms: Float[np.ndarray, "K"],
    weight_norms: Float[np.ndarray, "K"],
) -> float:
    """Avg_k |a_k/|a_k| - w_k/|w_k||, in [0, 2].

    Zero iff each row is along its class mean; invariant to a common rotation and to each length; undefined
    for a zero vector. Seed paper, Fig. 2d.
    """
    if not (mean_norms.all() and weight_norms.all()):
        return float("nan")
    total = 0.0
    for block in row_blocks(*means.shape):
        difference = means[block] / mean_norms[block, None] - weights[block] / weight_norms[block, None]
        total += np.sqrt(np.vecdot(difference, difference)).sum()
    return float(total / len(means))


def dual_distance(
    means: Float[np.ndarray, "K d"],
    weights: Float[np.ndarray, "K d"],
    mean_norms: Float[np.ndarray, "K"],
    weight_norms: Float[np.ndarray, "K"],
    *,
    squared: bool = False,
) -> float:
    """|fro(W) - fro(A)|_F, in [0, 2].

    Zero iff W is a positive multiple of A; invariant to a common rotation and to the scale of each;
    undefined for a zero matrix. Papyan, Han, Donoho 2020, where it is squared.
    """
    A, W = np.linalg.norm(mean_norms), np.linalg.norm(weight_norms)
    if A == 0 or W == 0:
        return float("nan")
    total = 0.0
    for block in row_blocks(*means.shape):
        difference = means[block] / A - weights[block] / W
        total += np.vdot(difference, difference)
    return float(total if squared else np.sqrt(total))
