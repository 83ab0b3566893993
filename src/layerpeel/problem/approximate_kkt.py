"""How nearly a point solves the minimum-norm separation problem (5): Lemma 3.2 of Ji et al. 2022 in closed form.

Problem (5) is min |theta|^2 / 2 with every margin m_ji = (w_y - w_j).h_i >= 1, y = y_i and j != y. The margins are
2-homogeneous, <theta, grad m> = 2 m. With q_min = min m > 0 and gamma = q_min / rho^2, rho = |theta|, the point
theta~ = theta / sqrt(q_min) is feasible. Let p_ji = dL/dz_ji >= 0 be the slopes of the summed loss L in the wrong
classes (for cross-entropy the softmax probabilities). If every column of dL/dZ sums to 0, then -grad L = sum p grad m,
and with the multipliers lambda = (rho / |grad L|) p

    epsilon = |theta~ - sum lambda grad m(theta~)| = sqrt(2 (1 - beta) / gamma)
    delta   = sum lambda (m(theta~) - 1)           = beta / (2 gamma) * x / (x + q_min),  x = sum p (m - q_min) / sum p.

Both are equalities; the printed lemma has an unspecified constant C in place of gamma and another delta. The smoothed
margin gamma~ = -log(e^L - 1) / rho^2 of cross-entropy is at most gamma and, once L < log 2, never decreases along the
flow (Lyu and Li 2020), so that C = gamma~(t_0) serves for all later times.

Only p / L is formed, so nothing underflows with the loss. The reduction of the problem cancels everywhere but in
gamma~, which belongs to the sum. Not defined where (5) is not: with a bias the margins are not homogeneous, and a
regulariser or a constraint makes another problem.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from layerpeel.problem import objective as pure
from layerpeel.problem.losses import CrossEntropy
from layerpeel.problem.state import State

if TYPE_CHECKING:
    from layerpeel.problem.problem import Problem

__all__ = [
    "ApproximateKkt",
    "approximate_kkt",
    "log_smoothed_odds",
    "loss_multipliers",
    "no_certificate",
    "not_problem_5",
    "pair_margins",
]

ROUNDING = 1e-9
"""The share of the largest column of dL/dZ that a sum of slopes may differ from 0."""


class ApproximateKkt(NamedTuple):
    """What Lemma 3.2 says of a point.

    Attributes:
        epsilon, delta: of the multipliers of the loss; nan unless q_min > 0 and the slopes of the loss are multipliers.
        gamma: q_min / rho^2; nan at 0.
        smoothed_gamma: gamma~; nan unless L < log 2, and for another loss than cross-entropy.
    """

    epsilon: Float[Any, ""]
    delta: Float[Any, ""]
    gamma: Float[Any, ""]
    smoothed_gamma: Float[Any, ""]


def not_problem_5(problem: "Problem") -> str | None:
    """Why (5) is not the limit of this problem, as "need ..., got ..."; None if it is."""
    if problem.bias:
        return "need a problem without bias, whose margins are homogeneous, got one with"
    if problem.depth > 2:
        return f"need a problem of two factors, W and H, got depth={problem.depth}"
    for name in ("regulariser", "constraint"):
        if getattr(problem, name) is not None:
            return f"need a problem without {name}: problem (5) belongs to the unconstrained model, got one with"
    if not problem.loss.vanishes:
        return (
            "need a loss that falls to 0 exponentially, so that its descent separates as problem (5), and knows its "
            f"logarithm (a layerpeel.ExponentialTailed, with log_value), got {problem.loss!r}"
        )
    return None


def approximate_kkt(problem: "Problem", state: State) -> ApproximateKkt:
    """Epsilon and delta in closed form, at a point of a problem that :func:`not_problem_5` admits."""
    beta, gap = pure.alignment(problem, state)
    m = pair_margins(problem, state)
    q_min = jnp.min(m)
    gamma = q_min / state.squared_norm
    p, are_multipliers = _slopes(problem, state)
    x = jnp.sum(p * jnp.where(p > 0, m - q_min, 0.0)) / jnp.sum(p)
    certified = (q_min > 0) & are_multipliers
    return ApproximateKkt(
        epsilon=jnp.where(certified, jnp.sqrt(2 * gap / gamma), jnp.nan),
        delta=jnp.where(certified, beta / (2 * gamma) * x / (x + q_min), jnp.nan),
        gamma=gamma,
        smoothed_gamma=-log_smoothed_odds(problem, state) / state.squared_norm,
    )


def no_certificate() -> ApproximateKkt:
    """All nan, for a problem that :func:`not_problem_5` turns away."""
    return ApproximateKkt(*[jnp.array(jnp.nan)] * 4)


def loss_multipliers(problem: "Problem", state: State) -> tuple[Float[Any, "K N"], Bool[Any, ""]]:
    """lambda = (|theta| / |grad L|) p, 0 at the labels, and whether they are multipliers: p >= 0, columns of sum 0."""
    p, are_multipliers = _slopes(problem, state)
    return p * jnp.sqrt(state.squared_norm / pure.log_gradient(problem, state).squared_norm), are_multipliers


def pair_margins(problem: "Problem", state: State) -> Float[Any, "K N"]:
    """m_ji = (w_y - w_j).h_i; inf at the label j = y."""
    Z, own = pure.logits(state), problem.onehot > 0
    return jnp.where(own, jnp.inf, jnp.sum(jnp.where(own, Z, 0.0), axis=0) - Z)


def log_smoothed_odds(problem: "Problem", state: State) -> Float[Any, ""]:
    """log(e^L - 1) of the summed cross-entropy L, exact where L underflows (there it is log L).

    e^L = prod_i (1 + sum_j e^{-m_ji}), so it is at least -q_min. nan unless L < log 2, and for another loss.
    """
    if problem.loss != CrossEntropy():
        return jnp.array(jnp.nan)
    log_loss = pure.log_objective(problem, state) + (0.0 if problem.reduction == "sum" else np.log(problem.N))
    loss = jnp.exp(jnp.minimum(log_loss, 0.0))
    growth = jnp.where(loss > 0, jnp.expm1(loss) / jnp.where(loss > 0, loss, 1.0), 1.0)  # (e^L - 1) / L
    return jnp.where(log_loss < np.log(np.log(2)), log_loss + jnp.log(growth), jnp.nan)


def _slopes(problem: "Problem", state: State) -> tuple[Float[Any, "K N"], Bool[Any, ""]]:
    """p / L, 0 at the labels, and whether it is >= 0 with columns of d log L / dZ that sum to 0."""
    G = pure.log_logit_gradient(problem, state)
    p = jnp.where(problem.onehot > 0, 0.0, G)
    slack = ROUNDING * jnp.max(jnp.sum(jnp.abs(G), axis=0))
    return p, jnp.all(p >= 0) & jnp.all(jnp.abs(jnp.sum(G, axis=0)) <= slack)
