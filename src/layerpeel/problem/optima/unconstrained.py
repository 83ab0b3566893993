"""The unconstrained layer-peeled model in closed form: no minimum, only directions, hence optima on a sphere.

On |W|^2 + |H|^2 = rho^2 (loss, margin) and in the minimum-norm separation problem (5) of the paper the optima are, with
Y the one-hot labels [K, N] and P = I - J/K, the scaled SVD factors of P Y, and their values follow from its nuclear
norm |P Y|_* = (K-1) sqrt(n) for balanced classes (:func:`layerpeel.separation.separation_cost`). Requires d >= K - 1,
which the paper leaves out; below it the printed formulas are not attained.
"""

from typing import TYPE_CHECKING

import numpy as np

from layerpeel.problem.losses import CrossEntropy
from layerpeel.problem.optima.optimum import Optimum, factors
from layerpeel.problem.state import State
from layerpeel.separation import margin_bound, separation_cost

if TYPE_CHECKING:
    from layerpeel.problem.problem import Problem

__all__ = ["loss_on_sphere", "margin_on_sphere", "separation"]


def separation(problem: "Problem") -> Optimum:
    """Theorem 3.2: the least (|W|^2 + |H|^2)/2 with every margin >= 1, |P Y|_*; any class sizes (SELI)."""
    cost = separation_cost(problem.n)
    return Optimum(
        value=cost,
        state=_balanced_factors(problem, logit_scale=1.0),
        conditions="iff every margin is exactly 1, |W|=|H| and W H = (I-J/K) Y; neural collapse for equal class sizes",
        source="Theorem 3.2 of Ji et al. 2022 (corrected: d >= K-1); any class sizes: Thrampoulidis et al. 2022",
    )


def margin_on_sphere(problem: "Problem", rho2: float) -> Optimum:
    """Lemma 3.1: the greatest q_min on the sphere, rho2 / (2 |P Y|_*); any class sizes."""
    q = float(margin_bound(problem.n, rho2))
    return Optimum(
        value=q,
        state=_balanced_factors(problem, logit_scale=q),
        conditions="iff |W|=|H| and W H = q (I-J/K) Y; neural collapse for equal class sizes",
        source="Lemma 3.1 of Ji et al. 2022 (corrected: d >= K-1); any class sizes: Thrampoulidis et al. 2022",
    )


def loss_on_sphere(problem: "Problem", rho2: float) -> Optimum:
    """Theorem 3.3: the least cross-entropy on the sphere, equal class sizes."""
    if problem.loss != CrossEntropy() or not problem.balanced:
        raise ValueError("need cross-entropy and equal class sizes for the least loss on a sphere, got another problem")
    q = float(margin_bound(problem.n, rho2))
    samples = problem.N if problem.reduction == "sum" else 1
    return Optimum(
        value=float(samples * np.log1p((problem.K - 1) * np.exp(-q))),
        state=_balanced_factors(problem, logit_scale=q),
        conditions="iff neural collapse, centred, and |W|=|H|",
        source="Theorem 3.3 of Ji et al. 2022 (corrected: d >= K-1)",
    )


def _balanced_factors(problem: "Problem", *, logit_scale: float) -> State:
    """The factors of logit_scale P Y with W'W = HH'."""
    return State(*factors(logit_scale * (np.eye(problem.K) - 1 / problem.K), problem.n, problem.d))
