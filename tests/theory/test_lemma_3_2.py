"""Lemma 3.2: epsilon and delta of an approximate KKT point are equalities; the printed delta is exceeded."""

import jax
import numpy as np
import pytest
from kkt_oracle import separating

import layerpeel as lp
from layerpeel.problem.approximate_kkt import approximate_kkt
from layerpeel.problem.boundary import evaluate

PROBLEMS = {
    "K=4 n=3 d=5": lp.ulpm(4, 3, 5),
    "K=3 unequal d=2": lp.ulpm(3, (1, 7, 2), 2, reduction="sum"),
    "K=6 n=2 d=2": lp.ulpm(6, 2, 2),
    "K=2 n=20 d=3": lp.ulpm(2, 20, 3, reduction="sum"),
}
each_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)


def many_separating(problem):
    """Random separating points of all norms, 200 of them."""
    rng = np.random.default_rng(0)
    states = [
        separating(problem, seed, noise=rng.uniform(0, 0.25), scale=10 ** rng.uniform(-0.5, 2)) for seed in range(200)
    ]
    together = jax.tree.map(lambda *x: np.stack(x), *states)
    feasible = lp.margin(problem, together).q_min > 0
    assert feasible.sum() > 100
    return jax.tree.map(lambda x: x[feasible], together)


@each_problem
def test_epsilon_and_delta_are_their_closed_forms(problem):
    states = many_separating(problem)
    by_definition, in_closed_form = lp.kkt(problem, states), evaluate(approximate_kkt, problem, states)
    np.testing.assert_allclose(
        by_definition.epsilon, np.sqrt(2 * by_definition.beta_gap / by_definition.gamma), rtol=1e-10
    )
    np.testing.assert_allclose(by_definition.epsilon, in_closed_form.epsilon, rtol=1e-10)
    np.testing.assert_allclose(by_definition.delta, in_closed_form.delta, rtol=1e-9, atol=1e-300)


@each_problem
def test_random_points_stay_under_the_corrected_bounds(problem):
    found = lp.kkt(problem, many_separating(problem))
    assert (found.delta < found.delta_bound).all()
    small = np.isfinite(found.smoothed_gamma)
    assert small.sum() > 50
    assert (found.epsilon <= found.epsilon_bound * (1 + 1e-12))[small].all()


def two_levels(n, q, u):
    """K = 2, d = 1, |W| = |H|: one margin q, all others q + u."""
    problem = lp.ulpm(2, n, 1, reduction="sum")
    margins = np.full(2 * n, q + u)
    margins[0] = q
    w = (np.sum(margins**2) / 8) ** 0.25
    signs = np.where(problem.labels == 0, 1.0, -1.0)
    return problem, lp.State(np.array([[w], [-w]]), (signs * margins / (2 * w))[None])


def test_the_bound_on_delta_is_nearly_attained():
    x = 0.2784645427610738  # W0(1/e)
    problem, state = two_levels(1, 1e5, 1 + x)
    found = lp.kkt(problem, state)
    assert found.delta_bound == pytest.approx(x / (2 * found.gamma * found.q_min), rel=1e-12)
    assert 0.92 < found.delta / found.delta_bound < 1


def test_the_printed_delta_is_exceeded_by_a_factor_that_grows_like_log_n():
    """All others together weigh as much as sqrt(2n) of the least: u = log(2n)/2, and beta is 2/(1 + sqrt 2)."""
    factors = []
    for n in (400, 4000, 40_000):
        problem, state = two_levels(n, 1e4, np.log(2 * n) / 2)
        found = lp.kkt(problem, state)
        assert found.smoothed_gamma > 0  # the premise of the lemma, L < log 2, holds
        assert found.smoothed_gamma == pytest.approx(found.gamma, rel=1e-3)  # so C = gamma~ saves nothing
        assert found.delta < found.delta_bound
        assert found.beta == pytest.approx(2 / (1 + np.sqrt(2)), rel=0.02)
        factors.append(found.delta / found.printed_delta)
    assert factors[0] == pytest.approx(1.35, abs=0.02)
    np.testing.assert_allclose(np.diff(factors), np.log(10) / 2 / (1 + np.sqrt(2)), rtol=0.05)
    assert "which fails here" in str(found)


@pytest.mark.parametrize(("K", "n", "d"), [(5, 10, 20), (4, 1, 3), (2, 3, 1)])
def test_the_etf_is_a_kkt_point_with_all_multipliers_equal(K, n, d):
    """Theorem 3.2: 1 / (K sqrt n), at every norm."""
    problem = lp.ulpm(K, n, d)
    best = problem.optimum("separation").state
    for scale in (1.0, 100.0):
        found = lp.kkt(problem, scale * best)
        np.testing.assert_allclose(found.multipliers, (problem.onehot == 0) / (K * np.sqrt(n)), rtol=3e-11)
        assert found.epsilon < 1e-10  # logits of 1e4 are known to 1e-12
        assert found.delta < 1e-11
        assert 1 / (2 * found.gamma) == pytest.approx((K - 1) * np.sqrt(n), rel=1e-13)
    assert problem.optimum("separation").value == pytest.approx((K - 1) * np.sqrt(n), rel=1e-13)


M = np.kron(np.eye(2), np.array([[1.0, -1.0], [-1.0, 1.0]]))
EXAMPLE = lp.ulpm(4, 1, 4, reduction="sum")
LAMBDA = (np.kron(np.eye(2), np.ones((2, 2))) == 0) / 2


@pytest.mark.parametrize("C", [1 / np.sqrt(2), 3.0])
def test_example_3_1_is_a_kkt_point_with_multipliers_one_half(C):
    found = lp.kkt(EXAMPLE, lp.State(C * M, C * M), multipliers=LAMBDA)
    assert found.gap < 1e-14
    assert found.gamma == pytest.approx(1 / 8, rel=1e-14)
    assert 1 / (2 * found.gamma) == pytest.approx(4.0, rel=1e-14)
    np.testing.assert_allclose(found.point.W, M / np.sqrt(2), rtol=1e-14)
    best = lp.kkt(EXAMPLE, EXAMPLE.optimum("separation").state)
    assert (best.gamma, 1 / (2 * best.gamma)) == pytest.approx((1 / 6, 3.0), rel=1e-14)


def test_at_example_3_1_the_sharpest_multipliers_are_its_own_and_the_softmax_ones_tend_to_them():
    at = lambda C, which: lp.kkt(EXAMPLE, lp.State(C * M, C * M), multipliers=which)  # noqa: E731
    np.testing.assert_allclose(at(1.0, "sharpest").multipliers, LAMBDA, atol=1e-12)
    deltas = [at(C, "softmax").delta for C in (1.0, 2.0, 3.0)]
    np.testing.assert_allclose(deltas, [2 / (1 + np.exp(2 * C**2)) for C in (1.0, 2.0, 3.0)], rtol=1e-11)
    assert max(at(C, "softmax").epsilon for C in (1.0, 2.0, 3.0)) < 1e-14
    np.testing.assert_allclose(at(5.0, "softmax").multipliers, LAMBDA, atol=1e-14)
