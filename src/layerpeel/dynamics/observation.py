"""What is recorded of a state: loss, alignment, margin, the KKT certificate of Lemma 3.2 and every collapse metric.

The collapse metrics and the margin come from :func:`layerpeel.collapse.measure`, the same code that measures real
networks.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from layerpeel.collapse import measure
from layerpeel.problem import Problem, State
from layerpeel.problem import objective as pure
from layerpeel.problem.approximate_kkt import approximate_kkt, no_certificate, not_problem_5
from layerpeel.problem.boundary import evaluate

__all__ = ["observe"]


def observe(problem: Problem, states: State) -> dict[str, Float[np.ndarray, "seed"]]:
    """Field -> one number a seed, at finite states with a seed axis.

    Besides the fields of a CollapseReport: ``loss`` and ``log_loss`` (the objective and its logarithm), ``beta`` and
    ``beta_gap`` = 1 - beta (the alignment of Lemma 3.2, the gap free of cancellation; nan at theta = 0) and, of
    :func:`layerpeel.problem.approximate_kkt.approximate_kkt`: ``kkt_epsilon`` and ``kkt_delta`` of that lemma, nan
    while q_min <= 0; ``gamma`` = q_min / rho^2; ``smoothed_gamma``, nan until the summed cross-entropy is below log 2.
    These four are nan throughout for a problem of which (5) is not the limit: one with a bias, a regulariser, a
    constraint or a loss that is not exponential-tailed.
    """
    reports = [_measure(problem, W, H, b) for W, H, b in _members(states)]
    observed = {name: np.array([report[name] for report in reports]) for name in reports[0]}
    return observed | evaluate(_loss_and_certificate, problem, states)


def _loss_and_certificate(problem: Problem, state: State) -> dict[str, Any]:
    beta, gap = pure.alignment(problem, state)
    certificate = no_certificate() if not_problem_5(problem) else approximate_kkt(problem, state)
    return {
        "loss": pure.objective(problem, state),
        "log_loss": pure.log_objective(problem, state),
        "beta": beta,
        "beta_gap": gap,
        "kkt_epsilon": certificate.epsilon,
        "kkt_delta": certificate.delta,
        "gamma": certificate.gamma,
        "smoothed_gamma": certificate.smoothed_gamma,
    }


def _measure(problem: Problem, W: Any, H: Any, b: Any) -> dict[str, float]:
    return measure(H.T, problem.labels, classifier=W, bias=b, num_classes=problem.K).asdict()


def _members(states: State) -> list[tuple[Any, Any, Any]]:
    """Seed by seed the classifiers, the features that enter them, and the bias."""
    biases = [None] * len(states.W) if states.b is None else states.b
    return list(zip(states.W, pure.features(states), biases, strict=True))
