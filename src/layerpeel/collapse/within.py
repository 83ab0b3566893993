"""Within-class variation (NC1), from sums over the samples.

r_i = h_i - mu_{y_i} is the residual of a sample, Sigma_W = (1/N) sum_i r_i r_i', and with A = U S V' the
thin SVD of the centred class means (rows a_k), Sigma_B = A'A/K = V (S^2/K) V'. Then

    tr(Sigma_W Sigma_B^+) = (K/N) sum_j e_j/s_j^2,   e_j = sum_i (v_j.r_i)^2:

neither matrix is formed and nothing is inverted but numbers that the cut on S kept.
All are zero at collapse. The two traces are infinite when the class means are all equal (rank 0): dead features are not
collapse.
"""

import numpy as np
from jaxtyping import Float

__all__ = ["nc1", "nc1_quotient", "within_class_variation"]


def nc1(
    energies: Float[np.ndarray, "r"],
    singular_values: Float[np.ndarray, "r"],
    *,
    num_samples: int,
    num_classes: int,
    over_K: bool = True,
) -> float:
    """tr(Sigma_W Sigma_B^+)/K.

    Zero at collapse; invariant to translation, and to invertible linear maps while rank A = d; infinite for
    equal means. Papyan, Han, Donoho 2020 (their notebook omits 1/K).
    """
    if not singular_values.size:
        return float("inf")
    value = float(np.sum(energies / singular_values**2)) / num_samples
    return value if over_K else value * num_classes


def nc1_quotient(
    within: float, singular_values: Float[np.ndarray, "r"], *, num_samples: int, num_classes: int
) -> float:
    """tr Sigma_W / tr Sigma_B, with ``within`` = sum_i |r_i|^2.

    Zero at collapse; invariant to rotation, translation, scale; infinite for equal means. Tirer et al.; rhubarbwu.
    """
    if not singular_values.size:
        return float("inf")
    spread = float(np.sum((singular_values / singular_values[0]) ** 2))  # the squares themselves may underflow
    return float(within / num_samples / singular_values[0] / singular_values[0] / (spread / num_classes))


def within_class_variation(residual_norms: float, centred_norms: float) -> float:
    """Avg_i |h_i - mu_{y_i}| / Avg_i |h_i - m|, from the sums of the norms (not squared).

    Zero at collapse, about 1 without class structure; invariant to rotation, translation, scale; undefined
    when all features are equal. Not a function of second moments: it needs the means first. Seed paper, Fig. 2b.
    """
    return residual_norms / centred_norms if centred_norms > 0 else float("nan")
