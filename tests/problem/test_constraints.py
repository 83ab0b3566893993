"""Projections are the nearest points of their sets, and confined velocities are the derivatives of projections."""

import jax
import numpy as np
import pytest
from scipy.optimize import minimize

import layerpeel as lp

SETS = {
    "balls": lp.lpm(4, 3, 5, 1.0, 0.5),
    "weighted balls": lp.lpm(4, [6, 3, 2, 1], 5, 1.0, 0.5),
    "spheres": lp.sphere(4, 2, 5, 2.0),
    "tied spheres": lp.sphere(4, 1, 5, 2.0, tied=True),
    "output ball": lp.output_ball(4, 1.5, n=2),
    "non-negative": lp.ufm(4, 3, 5, 0.01, 0.01, nonneg=True),
}
SIZES = [pytest.param(SETS[name], id=name) for name in SETS]


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def far(problem, seed):
    rng = np.random.default_rng(seed)
    return lp.State(rng.normal(size=(problem.K, problem.d)), rng.normal(size=(problem.d, problem.N)))


@pytest.mark.parametrize("problem", SIZES)
def test_projecting_twice_is_projecting_once_and_init_lies_in_the_set(problem):
    project = problem.constraint.project
    once = project(far(problem, 0))
    assert (project(once) - once).squared_norm < 1e-28
    start = problem.init(0, scale=2.0)
    assert (project(start) - start).squared_norm < 1e-28


@pytest.mark.parametrize("problem", SIZES)
def test_no_random_point_of_the_set_is_nearer_than_the_projection(problem):
    point, project = far(problem, 1), jax.jit(problem.constraint.project)
    nearest = project(point)
    for seed in range(200):
        other = project(nearest + 0.3 * far(problem, seed + 2))
        assert (nearest - point).squared_norm <= (other - point).squared_norm + 1e-12


def test_the_projection_on_an_ellipsoid_is_that_of_a_general_solver():
    problem = SETS["weighted balls"]
    balls, point = problem.constraint, far(problem, 3)
    a, h = np.repeat(balls.weights, problem.d), point.H.T.ravel()
    inside = {"type": "ineq", "fun": lambda x: balls.H2 - np.sum(a * x**2), "jac": lambda x: -2 * a * x}
    options = {"maxiter": 500, "ftol": 1e-15}
    found = minimize(
        lambda x: np.sum((x - h) ** 2), 0 * h, jac=lambda x: 2 * (x - h), constraints=inside, options=options
    )
    np.testing.assert_allclose(balls.project(point).H.T.ravel(), found.x, atol=1e-6)
    assert float(np.sum(balls.weights * np.asarray(balls.project(point).H) ** 2)) == pytest.approx(balls.H2, rel=1e-13)


@pytest.mark.parametrize("problem", SIZES)
def test_a_confined_velocity_is_the_slope_of_the_projected_line(problem):
    constraint = problem.constraint
    state, velocity = constraint.project(far(problem, 4)), far(problem, 5)
    step = 1e-7
    slope = (1 / step) * (constraint.project(state + step * velocity) - state)
    assert (slope - constraint.confine(state, velocity)).squared_norm < 1e-10 * velocity.squared_norm


@pytest.mark.parametrize("problem", SIZES)
def test_a_confined_velocity_is_confined_and_what_was_taken_is_orthogonal(problem):
    constraint = problem.constraint
    state, velocity = constraint.project(far(problem, 6)), far(problem, 7)
    kept = constraint.confine(state, velocity)
    again = constraint.confine(state, kept)
    assert (again - kept).squared_norm < 1e-28 * velocity.squared_norm
    assert abs(kept.inner(velocity - kept)) < 1e-13 * velocity.squared_norm


@pytest.mark.parametrize("name", ["balls", "weighted balls", "output ball", "non-negative"])
def test_inside_the_set_nothing_is_confined(name):
    problem = SETS[name]
    state = problem.constraint.project(0.01 * far(problem, 8))
    velocity = far(problem, 9)
    kept = problem.constraint.confine(state, velocity)
    inside = state.H > 0 if name == "non-negative" else np.ones(state.H.shape, bool)
    np.testing.assert_array_equal(np.asarray(kept.H)[inside], velocity.H[inside])


def test_two_problems_with_the_same_balls_are_the_same():
    sizes = (4, 2, 1)
    first, second = (lp.lpm(3, sizes, 4, 1.0, 2.0) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first != lp.lpm(3, sizes, 4, 1.0, 2.5)
    assert first != lp.lpm(3, (4, 1, 2), 4, 1.0, 2.0)
    assert first.constraint != lp.lpm(3, 2, 4, 1.0, 2.0).constraint
