"""What no point of the convex program goes below: its dual, at slopes made feasible.

With l*(g) = sup_z <g, z> - l(z) and G = (c_k g_k), for all slopes g with G 1 = 0 where the bias is free,

    F* >= -sum_k c_k l*(g_k) - T sigma_1(G diag(1/root)) - |G 1|^2/(2 lam_b),

and for a ridge, instead of T, sigma_1 <= lam. At the slopes g = dl/dz of a point (M, b) it is the linearisation L - <G,
Z> - T sigma_1, tight at an optimum. Slopes that are not feasible become so without leaving the domain of l*: scaled by
lam/sigma_1, and for a free bias shifted by -G 1. The conjugates, with p = g + t and t the targets of the loss:

    cross-entropy   sum_j p_j log p_j,    p in the simplex
    squared error   |g|^2/2 + g_y
    hinge           p_y - 1,              p in the simplex
"""

import numpy as np
from jaxtyping import Float

from layerpeel.problem.losses import CrossEntropy, SquaredError
from layerpeel.problem.optima.program import ConvexProgram

__all__ = ["dual_value"]


def dual_value(program: ConvexProgram, slopes: Float[np.ndarray, "K K"]) -> float:
    """The bound above at ``slopes``, feasible or nearly so; 0, as no loss is negative, where it is lower than that."""
    g = _without_push(program, slopes) if program.bias and program.lam_b == 0 else slopes
    sigma = float(np.linalg.norm(g * (program.c / program.root), 2))
    if not program.ball and sigma > program.lam:
        g, sigma = g * (program.lam / sigma), program.lam
    price = program.T * sigma if program.ball else 0.0
    if program.bias and program.lam_b > 0:
        price += float(np.sum((g @ program.c) ** 2)) / (2 * program.lam_b)
    return max(0.0, -float(program.c @ _conjugate(program, g)) - price)


def _without_push(program: ConvexProgram, slopes: Float[np.ndarray, "K K"]) -> Float[np.ndarray, "K K"]:
    """The slopes less their push on the bias: sum_k c_k g_k = 0."""
    return slopes - (slopes @ program.c)[:, None]


def _conjugate(program: ConvexProgram, g: Float[np.ndarray, "K K"]) -> Float[np.ndarray, "K"]:
    """l*(g_k) of every class; inf outside of its domain."""
    if isinstance(program.loss, SquaredError):
        return np.sum(g**2, axis=0) / 2 + np.diag(g)
    p = g + program.targets
    np.fill_diagonal(p, 0.0)
    wrong = p.sum(axis=0)  # 1 - p_y, without cancellation
    if p.min() < 0 or wrong.max() > 1:
        return np.full(program.K, np.inf)
    if not isinstance(program.loss, CrossEntropy):
        return -wrong
    entropy = np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.where(wrong < 1, (1 - wrong) * np.log1p(-wrong), 0.0)
    return entropy + own
