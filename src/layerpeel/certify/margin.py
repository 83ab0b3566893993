"""The neural collapse margin (Definition 3.1 of Ji et al. 2022) and its bound (Lemma 3.1).

q_i = w_y.h_i - max_{j != y} w_j.h_i and q_min = min_i q_i <= rho^2 / (2 |P Y|_*), with rho^2 = |W|^2 + |H|^2 and
|P Y|_* = (K-1) sqrt(n) for balanced classes. Equality iff neural collapse with centred W and H and |W| = |H|;
attainable iff d >= K - 1, a condition that the paper leaves out (and its text says "minimise" for "maximise").
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from layerpeel.problem import Problem, State
from layerpeel.problem.boundary import admit, need_finite_norm
from layerpeel.problem.objective import features
from layerpeel.problem.problem import need_problem
from layerpeel.separation import margin_bound

__all__ = ["Margin", "margin"]


@dataclass(frozen=True, eq=False)
class Margin:
    """Margins of a state; with a seed axis each attribute has it in front.

    Attributes:
        q: margin of each sample.
        q_min: the least of them.
        bound: rho^2 / (2 |P Y|_*), the most that q_min can be at this norm.
        ratio: q_min / bound, in (-inf, 1]; for balanced classes 1 iff neural collapse, centred, with |W| = |H|; nan at
            theta = 0.
    """

    q: Float[Any, "*seed N"]
    q_min: Float[Any, "*seed"]
    bound: Float[Any, "*seed"]
    ratio: Float[Any, "*seed"]


def margin(problem: Problem, state: State) -> Margin:
    """The margins of ``state`` and their ratio to the bound of Lemma 3.1.

    For a bias see :func:`layerpeel.separation.margin_bound`; with hidden layers rho^2 counts the features that enter W.

    Raises:
        ValueError: for a state that does not fit the problem, or one whose norm or margins float64 does not hold.
    """
    need_problem(problem)
    state = admit(problem, state)
    need_finite_norm(state)
    with np.errstate(over="ignore", invalid="ignore"):
        q = _margins(problem, state)
        squared_norm = np.sum(state.W**2, axis=(-2, -1)) + np.sum(features(state) ** 2, axis=(-2, -1))
    if not (np.isfinite(q).all() and np.isfinite(squared_norm).all()):
        raise ValueError("need a state whose margins are finite in float64, got one whose hidden layers lead beyond")
    squared_bias = None if state.b is None else np.sum(state.b**2, axis=-1)
    bound = margin_bound(problem.n, squared_norm, squared_bias=squared_bias)
    with np.errstate(invalid="ignore"):
        return Margin(q=q, q_min=q.min(axis=-1), bound=bound, ratio=q.min(axis=-1) / bound)


def _margins(problem: Problem, state: State) -> Float[np.ndarray, "*seed N"]:
    Z = state.W @ features(state) + (0.0 if state.b is None else state.b[..., None])
    own = np.arange(problem.K)[:, None] == problem.labels
    rivals = np.where(own, -np.inf, Z).max(axis=-2)
    return np.where(own, Z, 0.0).sum(axis=-2) - rivals
