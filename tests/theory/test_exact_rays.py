"""Descent along the ETF ray follows the exact solution Ei(q) + (K-1) ln q = 2 sqrt(n) K t + const as steps shrink."""

import numpy as np
import optax
import pytest
from scipy.optimize import brentq
from scipy.special import expi

import layerpeel as lp


def exact_logit(K, n, start, t):
    """q(t) of the ETF ray under the flow of the summed loss."""
    left = lambda q: expi(q) + (K - 1) * np.log(q)  # noqa: E731
    return brentq(lambda q: left(q) - left(start) - 2 * np.sqrt(n) * K * t, start, 100)


def etf(problem, q):
    unit = problem.optimum("separation").state
    return lp.State(np.sqrt(q) * unit.W, np.sqrt(q) * unit.H)


def logit(problem, state):
    return lp.margin(problem, state).q_min


@pytest.mark.parametrize(
    ("K", "n", "start", "t", "golden"),
    [
        (4, 1, 0.5, 1, 1.8715910693),
        (4, 1, 0.5, 10, 5.7912753023),
        (4, 1, 0.5, 1000, 11.3058762103),
        (5, 10, 1.0, 1, 4.4791588346),
    ],
)
def test_the_exact_solution_has_its_golden_values(K, n, start, t, golden):
    assert exact_logit(K, n, start, t) == pytest.approx(golden, abs=6e-11)


def test_descent_converges_to_the_exact_flow_at_first_order():
    problem = lp.ulpm(4, 1, 4, reduction="sum")
    errors = []
    for eta in (2e-2, 1e-2, 5e-3):
        end = lp.descend(problem, etf(problem, 0.5), optax.sgd(eta), steps=round(1 / eta), record=2).state
        errors.append(abs(logit(problem, end) - exact_logit(4, 1, 0.5, 1.0)))
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.05)


def test_descent_with_rate_5_on_the_mean_has_its_golden_logits():
    problem = lp.ulpm(5, 10, 20)
    run = lp.descend(problem, etf(problem, 0.5), optax.sgd(5.0), steps=10_000, record=[100])
    assert run.metrics.margin.values[0] == pytest.approx([7.594138, 12.822485], abs=6e-7)
