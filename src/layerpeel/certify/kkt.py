"""Approximate KKT points of the minimum-norm separation problem (5): Lemma 3.2 of Ji et al. 2022.

Let q_min > 0 be the least margin of theta = (W, H), gamma = q_min / rho^2 and theta~ = theta / sqrt(q_min), at which
every margin m_ji = (w_y - w_j).h_i is >= 1. With multipliers lambda_ji >= 0, theta~ is an (epsilon, delta)-approximate
KKT point of (5), min |theta|^2 / 2 with all margins >= 1, for

    epsilon = |theta~ - sum lambda grad m(theta~)|,   delta = sum lambda (m(theta~) - 1).

Both are taken here from these definitions, for any multipliers; both are 0 iff theta~ is a KKT point. For those of the
lemma, lambda = (|theta| / |grad L|) p with softmax probabilities p, :mod:`layerpeel.problem.approximate_kkt` has closed
forms, and with the smoothed margin gamma~ and Lambert's function W0

    epsilon = sqrt(2 (1 - beta) / gamma) <= sqrt(2 (1 - beta) / gamma~),
    delta  <= W0((1 + (K-1) e^{-q_min}) (N (K-1) - 1) / e) / (2 gamma q_min),

while the printed delta, K / (2 gamma q_min), can be exceeded, by a factor that grows like log n. A point that does not
separate the data has no feasible multiple, hence no certificate. Nothing here underflows with the loss.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float
from rich.table import Table
from scipy.special import lambertw

from layerpeel.certify.kkt_table import kkt_table, kkt_text
from layerpeel.certify.multipliers import margin_gradients, sharpest_multipliers
from layerpeel.problem import CrossEntropy, Problem, State
from layerpeel.problem import approximate_kkt as lemma
from layerpeel.problem import objective as pure
from layerpeel.problem.boundary import admit, evaluate, need_finite_norm
from layerpeel.problem.problem import need_problem

__all__ = ["Kkt", "kkt"]


@dataclass(frozen=True, eq=False)
class Kkt:
    """How nearly a state is a KKT point of problem (5); with a seed axis each attribute has it in front.

    Where ``feasible`` is False there is no certificate, ``reason`` says why, and all that needs one is nan.

    Attributes:
        epsilon: |theta~ - sum lambda grad m(theta~)|.
        delta: sum lambda (m(theta~) - 1).
        multipliers: lambda, row j of column i for the margin of sample i over class j; 0 at the label.
        chosen: whose multipliers they are: "softmax", "sharpest" or "given".
        feasible: whether q_min > 0, so that theta~ exists.
        q_min: the least margin.
        beta: <theta, -grad L> / (|theta| |grad L|); nan at critical points.
        beta_gap: 1 - beta, free of cancellation.
        gamma: q_min / rho^2; nan at theta = 0.
        smoothed_gamma: -log(e^L - 1) / rho^2 of the summed cross-entropy L, at most gamma; nan unless L < log 2, the
            premise of Theorem 3.1, and for another loss.
        point: theta~, a State.
        residual: theta~ - sum lambda grad m(theta~), a State; minus the step to the optimum of (5) with linearised
            constraints if the multipliers are the sharpest.
        epsilon_bound: sqrt(2 (1 - beta) / smoothed_gamma), the most that epsilon is with softmax multipliers.
        delta_bound: the most that delta is with softmax multipliers, by Lambert's function; nan for another loss
            than cross-entropy.
        printed_delta: K / (2 gamma q_min), as Lemma 3.2 is printed with C = gamma; not a bound.
    """

    epsilon: Float[Any, "*seed"]
    delta: Float[Any, "*seed"]
    multipliers: Float[Any, "*seed K N"]
    chosen: str
    feasible: Bool[Any, "*seed"]
    q_min: Float[Any, "*seed"]
    beta: Float[Any, "*seed"]
    beta_gap: Float[Any, "*seed"]
    gamma: Float[Any, "*seed"]
    smoothed_gamma: Float[Any, "*seed"]
    point: State
    residual: State
    epsilon_bound: Float[Any, "*seed"]
    delta_bound: Float[Any, "*seed"]
    printed_delta: Float[Any, "*seed"]

    @property
    def gap(self) -> Float[Any, "*seed"]:
        """epsilon^2/2 + delta >= 0: |theta~|^2/2 = 1/(2 gamma) falls by at most this with (5) linearised at theta~.

        0 iff theta~ is a KKT point with these multipliers; what the sharpest ones minimise.
        """
        return _gap(self.epsilon, self.delta)

    @property
    def reason(self) -> str:
        """Why there is no certificate, and of which seeds; nothing if there is one."""
        lost = np.flatnonzero(~np.atleast_1d(self.feasible))
        if lost.size == 0:
            return ""
        if np.ndim(self.feasible) == 0:
            return f"no KKT certificate: need a state that separates the data, q_min > 0, got q_min={self.q_min:.6g}"
        named = ", ".join(map(str, lost[:8])) + (", ..." if lost.size > 8 else "")
        return f"no KKT certificate for {lost.size} of {len(self.feasible)} seeds, q_min <= 0: {named}"

    def __str__(self) -> str:
        return kkt_text(self)

    def __rich__(self) -> Table | str:
        return kkt_table(self)


def kkt(problem: Problem, state: State, *, multipliers: Any = "softmax") -> Kkt:
    """The (epsilon, delta) with which ``state``, scaled to least margin 1, is an approximate KKT point of problem (5).

    ``print`` of the result says what it means. Invariant to the reduction of the loss. Scaling the state changes the
    softmax multipliers alone, which tend to the active constraints as the norm grows.

    Args:
        problem: an exponential-tailed loss; no bias, regulariser or constraint.
        state: one state, or one a seed.
        multipliers: "softmax", those of Lemma 3.2 (for another loss, its slopes in the wrong classes); "sharpest",
            those with the least gap epsilon^2/2 + delta, by a quadratic program a seed; or an array to judge, of
            shape (K, N) and >= 0.

    Raises:
        ValueError: for another problem, a loss whose slopes are no multipliers, a state that does not fit or whose
            norm overflows, or multipliers that are negative, not finite, not 0 at the labels or of another shape. A
            state that does not separate the data is no error: the result says so.
    """
    need_problem(problem)
    if refusal := lemma.not_problem_5(problem):
        raise ValueError(refusal)
    state = admit(problem, state)
    need_finite_norm(state)
    facts = jax.tree.map(lambda x: np.asarray(x)[()], evaluate(_facts, problem, state))
    if not np.all(facts["are_multipliers"]):
        raise ValueError(
            "need a loss whose slopes are >= 0 in the wrong classes and sum to 0 over all classes, "
            f"which makes them multipliers, got {problem.loss!r}"
        )
    return _certificate(problem, state, facts, multipliers)


def _facts(problem: Problem, state: State) -> dict[str, Any]:
    """What jax computes of a point."""
    beta, beta_gap = pure.alignment(problem, state)
    softmax, are_multipliers = lemma.loss_multipliers(problem, state)
    return {
        "beta": beta,
        "beta_gap": beta_gap,
        "margins": lemma.pair_margins(problem, state),
        "minus_log_odds": -lemma.log_smoothed_odds(problem, state),
        "softmax": softmax,
        "are_multipliers": are_multipliers,
    }


def _certificate(problem: Problem, state: State, facts: dict[str, Any], wanted: Any) -> Kkt:
    q_min = facts["margins"].min(axis=(-2, -1))
    feasible = q_min > 0
    rho2, q = state.squared_norm, np.where(feasible, q_min, np.nan)[()]
    with np.errstate(divide="ignore", invalid="ignore"):
        gamma, smoothed_gamma = q_min / rho2, facts["minus_log_odds"] / rho2
        point = state * (1 / np.sqrt(q))
        slack = np.where(problem.onehot > 0, 0.0, facts["margins"] - _over(q)) / _over(q)
        chosen, weights = _choose(problem, point, slack, facts["softmax"], wanted)
        residual, epsilon, delta = _judge(problem, point, slack, weights)
        return Kkt(
            epsilon=epsilon,
            delta=delta,
            multipliers=np.where(_over(feasible), weights, np.nan),
            chosen=chosen,
            feasible=feasible,
            q_min=q_min,
            beta=facts["beta"],
            beta_gap=facts["beta_gap"],
            gamma=gamma,
            smoothed_gamma=smoothed_gamma,
            point=point,
            residual=residual,
            epsilon_bound=np.sqrt(2 * facts["beta_gap"] / smoothed_gamma),
            delta_bound=_delta_bound(problem, q, gamma),
            printed_delta=problem.K / (2 * gamma * q),
        )


def _judge(problem: Problem, point: State, slack: Any, multipliers: Any) -> tuple[State, Any, Any]:
    """The residual, epsilon and delta from their definitions; ``slack`` is m - 1 at ``point``."""
    residual = point - margin_gradients(problem, point, multipliers)
    return residual, np.sqrt(residual.squared_norm), (multipliers * slack).sum(axis=(-2, -1))


def _gap(epsilon: Any, delta: Any) -> Any:
    return epsilon**2 / 2 + delta


def _delta_bound(problem: Problem, q_min: Any, gamma: Any) -> Any:
    """x <= W0((1 + (K-1) e^{-q_min}) (N (K-1) - 1) / e), reached where one margin is least and the others are equal."""
    if not isinstance(problem.loss, CrossEntropy):
        return np.full_like(q_min, np.nan)[()]
    others = problem.N * (problem.K - 1) - 1
    x = lambertw((1 + (problem.K - 1) * np.exp(-q_min)) * others / np.e).real
    return x / (2 * gamma * q_min)


def _choose(problem: Problem, point: State, slack: Any, softmax: Any, wanted: Any) -> tuple[str, Any]:
    if not isinstance(wanted, str):
        return "given", _admit_multipliers(problem, wanted, softmax.shape)
    if wanted == "softmax":
        return wanted, softmax
    if wanted == "sharpest":
        return wanted, _sharpest(problem, point, slack, softmax)
    raise ValueError(f"need multipliers to be softmax, sharpest or an array, got {wanted!r}")


def _sharpest(problem: Problem, point: State, slack: Any, softmax: Any) -> Any:
    """Seed by seed; the softmax ones where the solver's tolerance leaves it behind them, at points nearly exact."""
    sharpest = np.array(softmax)
    for seed in np.ndindex(softmax.shape[:-2]):
        if np.isfinite(point.W[seed]).all():
            sharpest[seed] = sharpest_multipliers(problem, State(point.W[seed], point.H[seed]))
    gaps = [_gap(*_judge(problem, point, slack, weights)[1:]) for weights in (sharpest, softmax)]
    return np.where(_over(gaps[0] <= gaps[1]), sharpest, softmax)


def _admit_multipliers(problem: Problem, multipliers: Any, shape: tuple[int, ...]) -> Float[np.ndarray, "*seed K N"]:
    try:
        weights = np.broadcast_to(np.asarray(multipliers, dtype=np.float64), shape)
    except (TypeError, ValueError):
        got = getattr(multipliers, "shape", None) or type(multipliers).__name__
        raise ValueError(f"need multipliers of shape {shape}, got {got}") from None
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError("need multipliers >= 0 and finite, got some that are not")
    if (weights * problem.onehot).any():
        raise ValueError("need multipliers that are 0 at the labels, got others")
    return weights


def _over(x: Any) -> Any:
    """``x`` with axes for the entries of a matrix."""
    return np.asarray(x)[..., None, None]
