"""Deep linear layers between features and classifiers: where the simplex of all classes need not be the optimum.

With F factors of weight lam each the least cost of Z is (F/2) lam sum_i s_i(Z)^{2/F} (fact F1): for F > 2 not convex,
it favours few large singular values. The candidates here are B = K/m blocks of m classes, a simplex in each and the
blocks orthogonal,

    Z = c blockdiag(I - J/m) Y:    K - B singular values c sqrt(n), margins c within a block and c (1 - 1/m) without;

m = K is neural collapse. For lam -> 0 pairs (m = 2) beat it iff F > 2/log2(2(K-1)/K).

The lowest blocks are not the least state in general. A code of rank r, Z = c U'U with K unit columns u_k in R^r of
largest cosine s and UU' = (K/r) I, has r singular values c K/r and the margin c (1 - s), so that it costs, for lam -> 0
and up to a common factor, r (K/(r (1-s)))^{2/F}: pairs are the code r = K/2, s = 0. For K = 10 the code of Petersen's
graph (r = 4, cosines 1/6 and -2/3; graphs of this kind in Sukenik et al. 2024) is below the pairs from F = 4 on,
4 * 3^{1/2} < 5 * 2^{1/2}, and search finds rank 3 at F = 5. For K = 5, which has no pairs, search finds lower states
from F = 3 on. For K <= 4 nothing was found below the blocks.
"""

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from layerpeel.problem.losses import CrossEntropy
from layerpeel.problem.optima.optimum import Optimum, factors, need_dimension
from layerpeel.problem.optima.scalar import minimiser
from layerpeel.problem.regularisers import Ridge
from layerpeel.problem.state import State

if TYPE_CHECKING:
    from layerpeel.problem.problem import Problem

__all__ = ["deep_block_optimum", "deep_blocks"]


def deep_blocks(problem: "Problem") -> dict[int, Optimum]:
    """m -> the best state of K/m simplex blocks of m classes, for every m that divides K and has room in R^d.

    m = K is neural collapse. Each value is attained by its state, a critical point; none is proved to be the least of
    all, and for K = 5 from depth 3, for K = 10 from depth 4 on there are lower ones: ``layerpeel run deep-features``.

    Raises:
        ValueError: unless the model is :func:`layerpeel.deep_ufm` with depth >= 3, cross-entropy and equal classes, or
            for d below the rank of every block state.
    """
    if problem.depth < 3 or problem.loss != CrossEntropy() or not problem.balanced:
        raise ValueError(f"need a deep model, depth >= 3, with cross-entropy and equal class sizes, got {problem!r}")
    if problem.constraint is not None or not isinstance(problem.regulariser, Ridge):
        raise ValueError(f"need a deep model with a weight on every factor and no constraint, got {problem!r}")
    ranks = {m: problem.K - problem.K // m for m in range(2, problem.K + 1) if problem.K % m == 0}
    need_dimension(problem.d, min(ranks.values()), "the rank of the lowest blocks")
    return {m: _block_optimum(problem, m) for m, rank in ranks.items() if rank <= problem.d}


def deep_block_optimum(problem: "Problem") -> Optimum:
    """The lowest of :func:`deep_blocks`: reachable, an upper bound of the least value and for many classes above it."""
    return min(deep_blocks(problem).values(), key=lambda found: found.value)


def _block_optimum(problem: "Problem", m: int) -> Optimum:
    K, n, F = problem.K, problem.n[0], problem.depth
    rank, lam = K - K // m, _weight(problem)

    def objective(c: Any) -> Any:
        wrong = (m - 1) * jnp.exp(-c) + (K - m) * jnp.exp(-c * (1 - 1 / m))
        return jnp.log1p(wrong) + F / 2 * lam * rank * (c * math.sqrt(n)) ** (2 / F)

    c = minimiser(objective, 80.0 + 4 * abs(math.log(lam)))  # c (1 - 1/m) is about -log lam
    scale = problem.N if problem.reduction == "sum" else 1
    with jax.enable_x64(True):
        value = scale * float(objective(c))
    return Optimum(
        value=value,
        state=_deep_state(problem, c * (np.eye(K) - np.kron(np.eye(K // m), np.full((m, m), 1 / m)))),
        conditions=f"the least state of {K // m} simplex blocks of {m} classes, an upper bound of the least value: "
        "others may lie below, as for K = 5 from depth 3, for K = 10 from depth 4 on",
        source="Sukenik, Mondelli and Lampert 2024 (that the ETF is not optimal), by F1",
    )


def _weight(problem: "Problem") -> float:
    """The geometric mean of the weights of all factors, in units of the mean loss."""
    ridge: Ridge = problem.regulariser  # type: ignore[assignment]
    F = problem.depth
    weights = [float(ridge.lam_W), float(ridge.lam_H), *[float(ridge.lam_hidden)] * (F - 2)]
    return math.exp(sum(map(math.log, weights)) / F) / (problem.N if problem.reduction == "sum" else 1)


def _deep_state(problem: "Problem", X: Any) -> State:
    """Factors of X Y with all singular values s^{1/F} times what equalises lam_l |M_l|^2 between them."""
    ridge: Ridge = problem.regulariser  # type: ignore[assignment]
    F, d, K = problem.depth, problem.d, problem.K
    W, H = factors(X, problem.n, d)  # W'W = HH' = S, diagonal
    s = np.sum(W**2, axis=0)
    part = np.zeros(d)
    part[s > 0] = s[s > 0] ** (1 / F - 1 / 2)
    weights = np.array([float(ridge.lam_W), float(ridge.lam_H), float(ridge.lam_hidden)])
    shares = np.sqrt(math.exp(np.sum(np.log(weights) * [1, 1, F - 2]) / F) / weights)
    hidden = np.stack([np.diag(s ** (1 / F)) * shares[2]] * (F - 2))
    return State(W * part * shares[0], part[:, None] * H * shares[1], np.zeros(K) if problem.bias else None, hidden)
