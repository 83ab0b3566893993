"""What can be reached at all when there are more classes than a simplex ETF has room for, K > d+1.

K vectors in R^d cannot all have cosine -1/(K-1): the gaps have a positive floor. For the Gram distances it is
attained (``frames.etf_gap_floor``); for the mean absolute gap of the cosines there is a lower bound.

Derivation. For unit vectors let x run over the cosines of the pairs j != k, c = 1/(K-1), avg the mean over
them. The frame potential gives avg x^2 >= w^2 := (K-d)/(d(K-1)) (Welch), |sum v_k|^2 >= 0 gives avg x >= -c.
On [-1, 1] the parabola x(x+c) lies below |x+c|, as |x| <= 1. Hence avg |x+c| >= avg x^2 + c avg x >= w^2 - c^2.
It is attained for d = 1 and even K, and is the best bound from a polynomial of degree two.
"""

from layerpeel.frames import etf_gap_floor, welch_bound

__all__ = ["angle_gap_floor", "attainable_floors"]


def angle_gap_floor(K: int, d: int) -> float:
    """Lower bound of Avg_{j != k} |cos(v_j, v_k) + 1/(K-1)| over K vectors in R^d; zero iff K <= d+1."""
    return max(0.0, welch_bound(K, d) ** 2 - 1 / (K - 1) ** 2) if d + 1 < K else 0.0


def attainable_floors(K: int, d: int) -> dict[str, float]:
    """Metric -> least value in R^d, or a lower bound of it, where it cannot be zero; empty for K <= d+1."""
    if d + 1 >= K:
        return {}
    angle, gram = angle_gap_floor(K, d), etf_gap_floor(K, d)
    return {
        "mean_angle_gap": angle,
        "classifier_angle_gap": angle,
        "nc2_means": gram,
        "nc2_classifier": gram,
        "nc3": gram,
    }
