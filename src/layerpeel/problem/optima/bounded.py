"""Cross-entropy with bounded classifiers and features, equal class sizes: balls, spheres, logits in a ball.

By convexity and symmetry the best logits are q P Y, P = I - J/K, with the largest margin q that the bounds allow, and
the mean loss is log(1 + (K-1) e^{-q}):

- norm balls |W|^2 <= W2, |H|^2 <= H2: |W| |H| >= |Z|_* = q (K-1) sqrt(n);
- spheres |w_k| = |h_i| = r: q = r^2 K/(K-1), since (1/(K-1)) sum_{j != y} <w_y - w_j, h> = K/(K-1) <w_y - mean w, h>;
- logits of norm R at most: q = R sqrt(K/(K-1)).
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from layerpeel.frames import simplex_etf
from layerpeel.problem.constraints import NormBalls, OutputBall, Spheres
from layerpeel.problem.optima.optimum import Optimum, factors, need_dimension, spread_over_samples
from layerpeel.problem.state import State
from layerpeel.separation import separation_cost

if TYPE_CHECKING:
    from layerpeel.problem.problem import Problem

__all__ = ["balls_optimum", "output_ball_optimum", "radii", "spheres_optimum"]


def radii(problem: "Problem") -> tuple[float, float]:
    """The squared radii of W and of H of equal classes, whose features have one common weight."""
    balls: NormBalls = problem.constraint  # type: ignore[assignment]
    weight = 1.0 if balls.weights is None else float(np.asarray(balls.weights)[0])
    return float(balls.W2), float(balls.H2) / weight


def balls_optimum(problem: "Problem") -> Optimum:
    """log(1 + (K-1) exp(-sqrt(W2 H2)/((K-1) sqrt n))), Fang et al. 2021; needs d >= K - 1."""
    need_dimension(problem.d, problem.K - 1, "the dimensions of a simplex")
    W2, H2 = radii(problem)
    q = math.sqrt(W2) * math.sqrt(H2) / separation_cost(problem.n)
    W, H = factors(q * (np.eye(problem.K) - 1 / problem.K), problem.n, problem.d, ratio=math.sqrt(W2) / math.sqrt(H2))
    return Optimum(
        value=_value(problem, q),
        state=State(W, H),
        conditions="iff neural collapse on a centred simplex ETF, both norms at their bounds",
        source="Theorem 1 of Fang, He, Long and Su 2021",
    )


def spheres_optimum(problem: "Problem") -> Optimum:
    """log(1 + (K-1) exp(-tau K/(K-1))), tau = radius^2, Lu and Steinerberger 2020; needs d >= K - 1."""
    spheres: Spheres = problem.constraint  # type: ignore[assignment]
    need_dimension(problem.d, problem.K - 1, "the dimensions of a simplex")
    radius = float(spheres.radius)
    M = radius * simplex_etf(problem.K, problem.d)
    return Optimum(
        value=_value(problem, radius**2 * problem.K / (problem.K - 1)),
        state=State(M.T, spread_over_samples(M, problem.n)),
        conditions="iff the vectors are a simplex ETF and w_k = h_i for every sample i of class k",
        source="Theorem 1 of Lu and Steinerberger 2020 (W = H'); free classifiers and more samples by convexity",
    )


def output_ball_optimum(problem: "Problem") -> Optimum:
    """log(1 + (K-1) exp(-R sqrt(K/(K-1)))), Wojtowytsch and E 2020."""
    ball: OutputBall = problem.constraint  # type: ignore[assignment]
    K, R = problem.K, float(ball.radius)
    logits = R * math.sqrt(K / (K - 1)) * (np.eye(K) - 1 / K)
    return Optimum(
        value=_value(problem, R * math.sqrt(K / (K - 1))),
        state=State(np.eye(K), spread_over_samples(logits, problem.n)),
        conditions="iff every logit is R (e_y - 1/K)/|e_y - 1/K|, the vertex of a simplex",
        source="Wojtowytsch and E 2020, Theorem 3.1",
    )


def _value(problem: "Problem", q: float) -> float:
    samples = problem.N if problem.reduction == "sum" else 1
    return float(samples * np.log1p((problem.K - 1) * np.exp(-q)))
