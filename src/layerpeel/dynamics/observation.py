"""What is recorded of a state: loss, alignment, margin and every collapse metric.

The collapse metrics and the margin come from :func:`layerpeel.collapse.measure`, the same code that measures real
networks.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from layerpeel.collapse import measure
from layerpeel.problem import Problem, State
from layerpeel.problem import objective as pure
from layerpeel.problem.boundary import evaluate

__all__ = ["observe"]


def observe(problem: Problem, states: State) -> dict[str, Float[np.ndarray, "seed"]]:
    """Field -> one number a seed, at finite states with a seed axis.

    Besides the fields of a CollapseReport: ``loss`` and ``log_loss`` (the objective and its logarithm), ``beta`` and
    ``beta_gap`` = 1 - beta (the alignment of Lemma 3.2, the gap free of cancellation) and ``kkt_epsilon`` =
    sqrt(2 (1 - beta) / gamma), the epsilon of Lemma 3.2 with gamma = q_min / rho^2; nan while q_min <= 0, and with a
    bias, for margins are then not homogeneous. At theta = 0 beta is nan.
    """
    reports = [_measure(problem, W, H, b) for W, H, b in _members(states)]
    observed = {name: np.array([report[name] for report in reports]) for name in reports[0]}
    observed |= evaluate(_loss_and_alignment, problem, states)
    separated = (observed["margin"] > 0) & (states.b is None)
    with np.errstate(divide="ignore", invalid="ignore"):
        gamma = np.where(separated, observed["margin"] / states.squared_norm, np.nan)
        observed["kkt_epsilon"] = np.sqrt(2 * observed["beta_gap"] / gamma)
    return observed


def _loss_and_alignment(problem: Problem, state: State) -> dict[str, Any]:
    beta, gap = pure.alignment(problem, state)
    return {
        "loss": pure.objective(problem, state),
        "log_loss": pure.log_objective(problem, state),
        "beta": beta,
        "beta_gap": gap,
    }


def _measure(problem: Problem, W: Any, H: Any, b: Any) -> dict[str, float]:
    return measure(H.T, problem.labels, classifier=W, bias=b, num_classes=problem.K).asdict()


def _members(states: State) -> list[tuple[Any, Any, Any]]:
    biases = [None] * len(states.W) if states.b is None else states.b
    return list(zip(states.W, states.H, biases, strict=True))
