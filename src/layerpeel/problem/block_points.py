"""Block points: critical points on the sphere that are not optimal, known in closed form.

The K classes fall into blocks; within a block of m classes the logits are a simplex ETF with own logit c, between
blocks they are 0, and W'W = HH'. With S = e^c + (m-1) e^{-c/(m-1)} + K - m, each block is an eigenspace of the
gradient,

    G H' = -lam W,  W' G = -lam H,    lam = sqrt(n) (m e^{-c/(m-1)} + K - m)/S    (sum of the losses),

so the point is critical on the sphere |W|^2 + |H|^2 = rho^2 = 2 sqrt(n) sum_B m_B c_B iff all blocks have the same lam.
For B blocks of the same size that is the same c, and sigma_1(G)/lam = K/(K - m + m e^{-c/(m-1)}), in (1, B/(B-1)): not
optimal (Theorem 3.4). One block of all K classes is the optimum; Example 3.1 of Ji et al. 2022 is the blocks 2 + 2 with
c = 2C^2. Blocks of one class have c = 0, no logits at all.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.optimize import brentq

from layerpeel.frames import simplex_etf
from layerpeel.problem.losses import CrossEntropy
from layerpeel.problem.options import need_positive
from layerpeel.problem.problem import Problem, need_problem
from layerpeel.problem.state import State

__all__ = ["block_point"]

LEAST = 1e-290
"""The least rho2."""


def block_point(problem: Problem, blocks: Sequence[int], *, rho2: float) -> State:
    """The critical point on the sphere |W|^2 + |H|^2 = rho2 whose classes fall into consecutive ``blocks``, by size.

    Raises:
        ValueError: for a loss other than cross-entropy, unequal class sizes, a bias, a regulariser or constraint, block
            sizes that are not K classes in all or are all 1, d < sum of (m - 1), or rho2 <= 0 or
            so small that its square root underflows.
    """
    sizes, rho2 = _admit(problem, blocks), need_positive("rho2", rho2)
    if rho2 < LEAST:
        raise ValueError(f"need rho2 >= {LEAST:g}, below which the squares of its entries underflow, got rho2={rho2:g}")
    W = np.zeros((problem.K, problem.d))
    row = column = 0
    for m, c in zip(sizes, _own_logits(problem, sizes, rho2), strict=True):
        if m > 1:
            W[row : row + m, column : column + m - 1] = np.sqrt(c) * simplex_etf(m, m - 1).T
        row, column = row + m, column + m - 1
    n = problem.n[0]
    return State(n**0.25 * W, np.repeat(W.T / n**0.25, n, axis=1))


def _own_logits(problem: Problem, sizes: tuple[int, ...], rho2: float) -> np.ndarray:
    """c of every block: the same lam in all, and rho2 in all."""
    K, root = problem.K, np.sqrt(problem.n[0])
    first = next(m for m in sizes if m > 1)

    def logits(c: float) -> np.ndarray:
        level = _log_multiplier(K, first, c)
        return np.array([_logit_at(K, m, level, first, c) for m in sizes])

    def excess(c: float) -> float:
        return float(np.dot(sizes, logits(c) / (rho2 / (2 * root)))) - 1

    most = rho2 / (2 * root * first) * (1 + 1e-9)
    return logits(brentq(excess, 0.0, most, xtol=1e-300, rtol=1e-15))


def _logit_at(K: int, m: int, level: float, first: int, c: float) -> float:
    """The own logit at which a block of m classes has log lam = ``level``, as the block of ``first`` has it at c."""
    if m == first or m == 1 or level == 0:
        return c if m == first else 0.0

    def gap(x: float) -> float:
        return _log_multiplier(K, m, x) / -level + 1

    top = c
    while gap(top) > 0:
        top *= 2
    return float(brentq(gap, 0.0, top, xtol=1e-300, rtol=1e-15))


def _log_multiplier(K: int, m: int, c: float) -> float:
    """log of (m e^{-c/(m-1)} + K - m)/S, which falls from 0 at c = 0; exact near it and past underflow."""
    other = -c / (m - 1)
    rest = np.log(K - m) if m < K else -np.inf
    log_S = np.logaddexp(c, np.logaddexp(np.log(m - 1) + other, rest))
    below = np.expm1(other - c) * np.exp(c - log_S)  # the quotient less 1
    if below > -0.5:
        return float(np.log1p(below))
    return float(np.logaddexp(np.log(m) + other, rest) - log_S)


def _admit(problem: Problem, blocks: Sequence[int]) -> tuple[int, ...]:
    need_problem(problem)
    if problem.loss != CrossEntropy() or not problem.balanced or problem.bias:
        raise ValueError("need cross-entropy, equal class sizes and no bias for block points, got another problem")
    if problem.regulariser is not None or problem.constraint is not None:
        raise ValueError("need a problem without regulariser and constraint for block points, got one with")
    if not isinstance(blocks, Iterable) or not all(isinstance(m, int | np.integer) for m in blocks):
        raise ValueError(f"need block sizes that are integers, got {blocks!r}")
    sizes = tuple(int(m) for m in blocks)
    if sum(sizes) != problem.K or min(sizes, default=0) < 1 or max(sizes) == 1:
        raise ValueError(f"need block sizes >= 1, not all 1, that sum to K = {problem.K}, got {tuple(blocks)}")
    needed = sum(sizes) - len(sizes)
    if problem.d < needed:
        raise ValueError(
            f"need d >= {needed} for blocks {sizes}, whose simplices span that many dimensions, got d={problem.d}"
        )
    return sizes
