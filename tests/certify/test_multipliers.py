"""The sharpest multipliers solve the program they claim to, by either solver, and no others do better."""

import jax
import numpy as np
import pytest
from kkt_oracle import combination, feasible_point, margin_gradient, margin_of, pairs, separating
from scipy.optimize import minimize

import layerpeel as lp
from layerpeel.certify import multipliers as module

CASES = {
    "balanced": lp.ulpm(4, 3, 5),
    "unequal classes, d = K - 1": lp.ulpm(3, (1, 4, 2), 2),
    "more than d + 1 classes": lp.ulpm(5, 2, 2),
    "one margin a sample": lp.ulpm(2, 3, 1),
    "fewer samples than dimensions": lp.ulpm(3, 1, 7),
}
each_case = pytest.mark.parametrize("problem", CASES.values(), ids=CASES)
each_solver = pytest.mark.parametrize("few", [0, 10**9], ids=["interior point", "least squares"])


def gradients(problem, point):
    """The gradients of the margins as columns, and the margins, in the order of ``pairs``."""
    columns = [margin_gradient(problem, point, i, j) for i, j in pairs(problem)]
    A = np.stack([np.concatenate([column.W.ravel(), column.H.ravel()]) for column in columns], axis=1)
    return A, np.array([margin_of(problem, point, i, j) for i, j in pairs(problem)])


def in_order(problem, multipliers):
    return np.array([multipliers[j, i] for i, j in pairs(problem)])


@each_case
def test_the_combination_of_margin_gradients_is_the_sum_over_pairs(problem):
    state = separating(problem)
    weights = np.random.default_rng(0).exponential(size=(problem.K, problem.N)) * (problem.onehot == 0)
    found, slow = module.margin_gradients(problem, state, weights), combination(problem, state, weights)
    np.testing.assert_allclose(found.W, slow.W, atol=1e-12)
    np.testing.assert_allclose(found.H, slow.H, atol=1e-12)


@each_case
@each_solver
def test_they_meet_the_conditions_of_optimality_of_the_dual(problem, few, monkeypatch):
    monkeypatch.setattr(module, "FEW", few)
    point = feasible_point(problem, separating(problem))
    multipliers = module.sharpest_multipliers(problem, point)
    A, m = gradients(problem, point)
    weights = in_order(problem, multipliers)
    slope = A.T @ (A @ weights) - (m + 1)
    assert (multipliers >= 0).all()
    assert (multipliers[problem.onehot > 0] == 0).all()
    assert slope.min() > -1e-8
    assert np.abs(slope * weights).max() < 1e-7


@each_case
def test_the_gap_is_how_far_the_linearised_problem_falls_by_a_general_solver(problem):
    found = lp.kkt(problem, separating(problem), multipliers="sharpest")
    A, m = gradients(problem, found.point)
    theta = np.concatenate([found.point.W.ravel(), found.point.H.ravel()])
    primal = minimize(
        lambda x: x @ x / 2,
        theta,
        jac=lambda x: x,
        constraints={"type": "ineq", "fun": lambda x: A.T @ x - (m + 1), "jac": lambda x: A.T},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert found.gap == pytest.approx(theta @ theta / 2 - primal.fun, rel=1e-6)
    step = theta - np.concatenate([found.residual.W.ravel(), found.residual.H.ravel()])
    np.testing.assert_allclose(step, primal.x, atol=1e-4)


@each_case
def test_neither_the_softmax_ones_nor_others_have_a_smaller_gap(problem):
    rng = np.random.default_rng(0)
    for seed, scale in enumerate((0.7, 2.0, 5.0, 30.0)):
        state = separating(problem, seed, scale=scale)
        sharpest = lp.kkt(problem, state, multipliers="sharpest")
        assert sharpest.gap <= lp.kkt(problem, state).gap
        for size in (1e-3, 0.1, 1.0):
            moved = np.abs(sharpest.multipliers * (1 + size * rng.normal(size=sharpest.multipliers.shape)))
            assert sharpest.gap <= lp.kkt(problem, state, multipliers=moved).gap


def test_they_depend_on_the_direction_alone():
    problem = CASES["balanced"]
    near, far = (lp.kkt(problem, separating(problem, scale=scale), multipliers="sharpest") for scale in (1.0, 500.0))
    np.testing.assert_allclose(near.multipliers, far.multipliers, rtol=1e-9)
    assert near.gap == pytest.approx(far.gap, rel=1e-10)


@pytest.mark.parametrize(
    "problem", [lp.ulpm(6, 5, 8), lp.ulpm(7, (1, 2, 9, 4, 4, 3, 5), 4)], ids=["d >= K", "d < K - 1"]
)
def test_both_solvers_agree_on_a_medium_problem(problem, monkeypatch):
    point = feasible_point(problem, separating(problem, noise=0.08))
    found = []
    for few in (0, 10**9):
        monkeypatch.setattr(module, "FEW", few)
        found.append(lp.kkt(problem, point, multipliers=module.sharpest_multipliers(problem, point)))
    assert found[0].gap == pytest.approx(found[1].gap, rel=1e-9)
    np.testing.assert_allclose(found[0].residual.H, found[1].residual.H, atol=1e-6)
    assert found[0].gap > 0.1


def test_a_cycling_exact_solver_gives_way_to_the_other(monkeypatch):
    def cycles(*_):
        raise RuntimeError("Maximum number of iterations reached.")

    problem = CASES["balanced"]
    point = feasible_point(problem, separating(problem))
    exact = module.sharpest_multipliers(problem, point)
    monkeypatch.setattr(module, "nnls", cycles)
    np.testing.assert_allclose(module.sharpest_multipliers(problem, point), exact, atol=1e-6)


@each_solver
@pytest.mark.parametrize("n", [1, 4])
def test_at_the_optimum_of_problem_5_the_gap_is_0_by_either_solver(few, n, monkeypatch):
    monkeypatch.setattr(module, "FEW", few)
    problem = lp.ulpm(5, n, 6)
    best = problem.optimum("separation").state
    found = lp.kkt(problem, best, multipliers="sharpest")
    assert found.gap <= lp.kkt(problem, best).gap < 1e-11  # which the interior point alone does not reach
    np.testing.assert_allclose(found.multipliers, (problem.onehot == 0) / (5 * np.sqrt(n)), atol=1e-6)


def test_epsilon_alone_certifies_nothing():
    """For n = 1 every centred W = H' has epsilon = 0 with all multipliers 1/K, whatever its margins."""
    problem = lp.ulpm(4, 1, 5)
    best = problem.optimum("separation").state.W
    W = best + 0.3 * np.random.default_rng(0).normal(size=best.shape)
    W -= W.mean(axis=0)
    state = lp.State(W, W.T.copy())
    equal = lp.kkt(problem, state, multipliers=(problem.onehot == 0) / 4)
    assert equal.epsilon < 1e-14
    assert equal.delta > 1
    assert 0.1 < lp.kkt(problem, state, multipliers="sharpest").gap < equal.gap


def test_the_gap_tends_to_0_along_descent():
    problem = lp.ulpm(4, 2, 5)
    run = lp.descend(
        problem, problem.init(seed=0), lp.normalized(1.0), steps=4000, record=[300, 1000], keep_states=True
    )
    states = jax.tree.map(lambda x: x[1:], run.states)
    found = lp.kkt(problem, states, multipliers="sharpest")
    assert (np.diff(found.gap) < -0.5 * found.gap[:-1]).all()
    assert (found.gap <= lp.kkt(problem, states).gap).all()


def test_of_1800_multipliers_the_sharpest_solve_the_linearised_problem():
    problem = lp.ulpm(10, 20, 32)
    point = feasible_point(problem, separating(problem, noise=0.02))
    found = lp.kkt(problem, point, multipliers=module.sharpest_multipliers(problem, point))
    step = found.point - found.residual  # solves the linearised problem
    assert step.squared_norm / 2 == pytest.approx(found.point.squared_norm / 2 - found.gap, rel=1e-9)
    assert (
        min(
            margin_gradient(problem, point, i, j).inner(step) - margin_of(problem, point, i, j)
            for i, j in pairs(problem)
        )
        > 1 - 1e-8
    )
