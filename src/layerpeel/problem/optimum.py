"""Global optima in closed form.

The unconstrained model has no minimum, only directions, so its optima are those on a sphere |W|^2 + |H|^2 = rho^2
(loss, margin) and that of the minimum-norm separation problem (5) of the paper. With Y the one-hot labels
[K, N] and P = I - J/K, all three are the scaled SVD factors of P Y, and their values follow from its
nuclear norm |P Y|_* = (K-1) sqrt(n) for balanced classes (:func:`layerpeel.separation.separation_cost`).
Requires d >= K - 1, which the paper leaves out; below it the printed formulas are not attained.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from layerpeel.problem.losses import CrossEntropy
from layerpeel.problem.state import State
from layerpeel.separation import margin_bound, separation_cost

if TYPE_CHECKING:
    from layerpeel.problem.problem import Problem

__all__ = ["Optimum", "optimum"]

OPTIMA = ("loss", "margin", "separation")


@dataclass(frozen=True, eq=False)
class Optimum:
    """A global optimum: its ``value``, one ``state`` that attains it, and what is known of it.

    Attributes:
        value: the optimal value.
        state: one minimiser; the others are its rotations.
        conditions: when the value holds and which states attain it.
        source: the statement and paper it comes from.
    """

    value: float
    state: State
    conditions: str
    source: str


def optimum(
    problem: "Problem", of: Literal["loss", "margin", "separation"] = "loss", *, rho2: float | None = None
) -> Optimum:
    """The closed form of one of three questions about the unconstrained layer-peeled model.

    - ``"loss"`` (Theorem 3.3): the least objective on the sphere |W|^2 + |H|^2 = rho2; balanced cross-entropy.
    - ``"margin"`` (Lemma 3.1): the greatest q_min on that sphere, rho2 / (2 |P Y|_*); any class sizes.
    - ``"separation"`` (Theorem 3.2): the least (|W|^2 + |H|^2)/2 with every margin >= 1, |P Y|_*; any class sizes.

    Raises:
        ValueError: where no closed form is known, d < K - 1, or rho2 is missing, not positive or not wanted.
    """
    if of not in OPTIMA:
        raise ValueError(f"need of to be one of {', '.join(OPTIMA)}, got {of!r}")
    _need_closed_form(problem)
    if of == "separation":
        if rho2 is not None:
            raise ValueError(f"need no rho2 for the separation problem, whose norm is its value, got rho2={rho2}")
        return _separation(problem)
    if rho2 is None:
        raise ValueError(
            "need rho2: without a norm the model has no minimum, only directions; "
            "optimum(rho2=...) answers on a sphere, optimum('separation') for the direction, got none"
        )
    if not (isinstance(rho2, int | float | np.number) and np.isfinite(rho2) and rho2 > 0):
        raise ValueError(f"need rho2 > 0 and finite, got rho2={rho2!r}")
    return _margin(problem, rho2) if of == "margin" else _loss(problem, rho2)


def _need_closed_form(problem: "Problem") -> None:
    if problem.regulariser is not None or problem.constraint is not None or problem.bias:
        raise ValueError("need a problem without regulariser, constraint and bias for a closed form, got one with")
    if problem.d < problem.K - 1:
        raise ValueError(
            f"need d >= K-1 = {problem.K - 1} for the closed form (K centred vectors span K-1 dimensions), "
            f"got d={problem.d}"
        )


def _separation(problem: "Problem") -> Optimum:
    cost = separation_cost(problem.n)
    return Optimum(
        value=cost,
        state=_balanced_factors(problem, logit_scale=1.0),
        conditions="iff every margin is exactly 1, |W|=|H| and W H = (I-J/K) Y; neural collapse for equal class sizes",
        source="Theorem 3.2 of Ji et al. 2022 (corrected: d >= K-1); any class sizes: Thrampoulidis et al. 2022",
    )


def _margin(problem: "Problem", rho2: float) -> Optimum:
    q = float(margin_bound(problem.n, rho2))
    return Optimum(
        value=q,
        state=_balanced_factors(problem, logit_scale=q),
        conditions="iff |W|=|H| and W H = q (I-J/K) Y; neural collapse for equal class sizes",
        source="Lemma 3.1 of Ji et al. 2022 (corrected: d >= K-1); any class sizes: Thrampoulidis et al. 2022",
    )


def _loss(problem: "Problem", rho2: float) -> Optimum:
    if not isinstance(problem.loss, CrossEntropy) or not problem.balanced:
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
    """W = U S^(1/2), H = S^(1/2) V' for logit_scale P Y = U S V', padded with zeros to d: then W'W = HH'."""
    K, d = problem.K, problem.d
    root = np.sqrt(np.asarray(problem.n, dtype=np.float64))
    centred = (np.eye(K) - 1 / K) * root  # P Y = centred @ (orthonormal rows: the labels' indicators / sqrt n_k)
    U, s, Vt = np.linalg.svd(logit_scale * centred)
    factor = np.sqrt(s[: K - 1])
    W, H = np.zeros((K, d)), np.zeros((d, K))
    W[:, : K - 1] = U[:, : K - 1] * factor
    H[: K - 1] = factor[:, None] * Vt[: K - 1]
    return State(W, np.repeat(H / root, problem.n, axis=1))
