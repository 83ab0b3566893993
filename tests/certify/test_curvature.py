"""Curvature on the sphere: golden values, the same by two methods, and the second derivative along great circles."""

import inspect
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest

import layerpeel as lp

EXAMPLE = np.kron(np.eye(2), np.array([[1.0, -1.0], [-1.0, 1.0]]))


@pytest.mark.parametrize("method", ["dense", "lanczos"])
def test_example_3_1_has_its_two_golden_curvatures(method):
    found = lp.curvature(lp.ulpm(4, 1, 4, reduction="sum"), lp.State(EXAMPLE, EXAMPLE), method=method)
    s = np.exp(2.0)
    assert found.eigenvalue == pytest.approx(-2 * (s - 1) / (1 + s) ** 2, rel=1e-12)
    assert found.eigenvalue == pytest.approx(-0.3631369951395819 / 2, rel=1e-12)
    assert found.projected.eigenvalue == pytest.approx(-0.420, abs=5e-4)
    assert found.multiplier == pytest.approx(0.23840584404423515, rel=1e-12)
    assert found.stationarity < 1e-14
    assert all(pair.converged for pair in (found.lowest, found.transversal, found.highest))


def test_the_projected_pair_is_the_lowest_of_the_dense_tangent_hessian():
    problem = lp.ulpm(4, 1, 4, reduction="sum")
    state = lp.State(EXAMPLE, EXAMPLE)
    found = lp.curvature(problem, state).projected
    hessian, theta, x = (tangent_hessian(problem, state), *map(flat, (state, found.direction)))
    assert np.linalg.eigvalsh(hessian)[0] == pytest.approx(found.eigenvalue, abs=1e-9)
    np.testing.assert_allclose(hessian @ x, found.eigenvalue * x, atol=1e-9)
    assert theta @ x == pytest.approx(0, abs=1e-13)


def flat(state):
    return np.concatenate([state.W.ravel(), state.H.ravel()])


def tangent_hessian(problem, state, h=1e-5):
    """P Hess L P, column by column, from differences of gradients."""
    K, d, theta = problem.K, problem.d, flat(state)
    P = np.eye(theta.size) - np.outer(theta, theta) / (theta @ theta)
    gradient = lambda x: flat(problem.gradient(lp.State(x[: K * d].reshape(K, d), x[K * d :].reshape(d, -1))))  # noqa: E731
    return P @ np.stack([(gradient(theta + h * e) - gradient(theta - h * e)) / (2 * h) for e in np.eye(theta.size)]) @ P


def test_at_the_optimum_it_is_0_on_the_rotations_and_golden_across_them():
    problem = lp.ulpm(3, 2, 3, reduction="sum")
    found = lp.curvature(problem, problem.optimum(rho2=8.0).state)
    assert found.eigenvalue == pytest.approx(0, abs=1e-12)
    assert found.kernel_dimension == found.orbit_dimension == 3
    assert found.transversal.eigenvalue == pytest.approx(0.694007, abs=5e-7)
    assert found.highest.eigenvalue == pytest.approx(2.042331, abs=5e-7)


@pytest.mark.parametrize(("K", "n", "d"), [(3, 1, 2), (4, 2, 3), (4, 1, 6), (5, 2, 5)])
def test_the_kernel_at_the_optimum_is_the_orbit_of_rotations(K, n, d):
    problem = lp.ulpm(K, n, d, reduction="sum")
    found = lp.curvature(problem, problem.optimum(rho2=10.0).state)
    assert found.orbit_dimension == (K - 1) * d - (K - 1) * K // 2
    assert found.kernel_dimension == found.orbit_dimension
    assert found.eigenvalue == pytest.approx(0, abs=1e-13)
    assert found.transversal.eigenvalue > 1e-3


@pytest.mark.parametrize("method", ["dense", "lanczos"])
@pytest.mark.parametrize(
    ("K", "n", "d", "blocks"),
    [
        (4, 1, 4, (2, 2)),
        (6, 1, 6, (2, 2, 2)),
        (4, 3, 3, (2, 2)),
        (8, 1, 7, (4, 4)),
        (9, 3, 12, (3, 3, 3)),
        (5, 2, 5, (3, 2)),
    ],
    ids=str,
)
def test_at_a_block_point_it_is_lam_less_sigma_1_across_the_orbit(K, n, d, blocks, method):
    problem = lp.ulpm(K, n, d)
    point = lp.block_point(problem, blocks, rho2=2 * np.sqrt(n) * K * 2.0)
    certificate = lp.global_certificate(problem, point)
    found = lp.curvature(problem, point, method=method)
    assert found.relative == pytest.approx(certificate.lam - certificate.sigma, rel=1e-9)
    assert found.relative < 0
    assert found.transversal.relative == pytest.approx(found.relative, rel=1e-9)


@pytest.mark.parametrize(("K", "blocks", "ratio"), [(4, (2, 2), 1.7616), (6, (2, 2, 2), 1.4049)])
def test_its_golden_ratio_to_lam_at_own_logit_2(K, blocks, ratio):
    problem = lp.ulpm(K, 1, K, reduction="sum")
    found = lp.curvature(problem, lp.block_point(problem, blocks, rho2=2 * K * 2.0))
    assert 1 - found.eigenvalue / found.multiplier == pytest.approx(ratio, abs=5e-5)


def test_below_d_equal_to_k_minus_1_there_is_a_minimum_that_is_no_simplex():
    problem = lp.ulpm(4, 1, 2, reduction="sum")
    for seed in range(3):
        start = problem.init(seed=seed, scale=1.0)
        low = lp.polish(problem, start * np.sqrt(20.0 / start.squared_norm)).state
        assert problem.objective(low) == pytest.approx(0.63111787, abs=5e-9)
        found = lp.curvature(problem, low)
        assert found.stationarity < 1e-6
        assert found.eigenvalue == pytest.approx(0, abs=1e-9)
        assert found.kernel_dimension == found.orbit_dimension == 1
        assert found.transversal.eigenvalue > 0.1


@pytest.mark.parametrize("problem", [lp.ulpm(4, 2, 5, reduction="sum"), lp.ulpm(3, (1, 3, 2), 4)], ids=["sum", "mean"])
def test_it_is_the_second_derivative_along_great_circles(problem):
    state = problem.init(seed=1, scale=0.8)
    found, rho = lp.curvature(problem, state), np.sqrt(state.squared_norm)
    assert abs(state.inner(found.direction)) < 1e-10 * rho
    assert found.direction.squared_norm == pytest.approx(1, rel=1e-12)
    assert problem.gradient(state).inner(found.direction) < 0

    def on_circle(angle):
        return problem.objective(np.cos(angle) * state + (rho * np.sin(angle)) * found.direction)

    h = 1e-3
    second = (on_circle(h) - 2 * on_circle(0.0) + on_circle(-h)) / h**2
    assert second == pytest.approx(rho**2 * found.eigenvalue, rel=1e-4)


def test_lanczos_finds_what_the_dense_matrix_has():
    problem = lp.ulpm(5, 4, 8, reduction="sum")
    state = problem.init(seed=0, scale=0.7)
    dense, lanczos = (lp.curvature(problem, state, method=method) for method in ("dense", "lanczos"))
    assert lanczos.eigenvalue == pytest.approx(dense.eigenvalue, rel=1e-7)
    assert lanczos.transversal.eigenvalue == pytest.approx(dense.transversal.eigenvalue, rel=1e-6)
    assert lanczos.highest.eigenvalue == pytest.approx(dense.highest.eigenvalue, rel=1e-5)
    assert (dense.kernel_dimension, lanczos.kernel_dimension) == (0, None)
    same = flat(dense.direction) @ flat(lanczos.direction)
    assert same == pytest.approx(1, abs=1e-9)


def test_the_transversal_direction_turns_nothing():
    problem = lp.ulpm(4, 2, 5, bias=True)
    state = problem.init(seed=2, scale=0.5)
    found = lp.curvature(problem, state)
    v = found.transversal.direction
    balance = state.W.T @ v.W - v.H @ state.H.T
    np.testing.assert_allclose(balance, balance.T, atol=1e-12)
    assert found.eigenvalue < found.transversal.eigenvalue < found.highest.eigenvalue


def test_the_same_call_gives_the_same_numbers():
    problem = lp.ulpm(5, 4, 8)
    for state in (problem.init(seed=0), problem.optimum(rho2=50.0).state):
        first, second = (lp.curvature(problem, state, method="lanczos") for _ in range(2))
        assert (first.relative, first.transversal.relative) == (second.relative, second.transversal.relative)
        np.testing.assert_array_equal(first.direction.W, second.direction.W)


def test_a_regularised_minimum_curves_up_but_for_rotations_and_has_no_multiplier():
    lam, n = 5e-3, 5
    problem = lp.Problem(K=4, n=n, d=4, regulariser=lp.Ridge(lam, lam))
    q = np.log(1 / (np.sqrt(n) * lam) - 3)
    unit = lp.ulpm(4, n, 4).optimum("separation").state
    found = lp.curvature(problem, np.sqrt(q) * unit)
    assert problem.objective(np.sqrt(q) * unit) == pytest.approx(0.183691995718, abs=5e-13)
    assert found.multiplier == pytest.approx(0, abs=1e-12)
    assert found.log_unit == 0.0
    assert found.kernel_dimension == found.orbit_dimension == 6
    assert found.transversal.eigenvalue > 1e-3


def test_too_few_products_are_said_and_what_was_found_is_kept():
    problem = lp.ulpm(5, 10, 20)
    state = problem.init(seed=0)
    dense, few = lp.curvature(problem, state), lp.curvature(problem, state, method="lanczos", products=5)
    assert not few.converged
    assert few.residual > 1e-4 * dense.highest.relative
    assert dense.relative < few.relative < dense.highest.relative


@pytest.mark.slow
def test_it_scales_without_a_matrix():
    problem = lp.ulpm(40, 40, 100, reduction="sum")
    best = problem.optimum(rho2=2 * 39 * np.sqrt(40) * 4.0)
    point = lp.block_point(problem, (20, 20), rho2=2 * 40 * np.sqrt(40) * 4.0)
    top, saddle = lp.curvature(problem, best.state), lp.curvature(problem, point)
    assert top.eigenvalue == pytest.approx(0, abs=1e-12)
    assert top.transversal.eigenvalue > 1e-3
    certificate = lp.global_certificate(problem, point)
    assert saddle.relative == pytest.approx(certificate.lam - certificate.sigma, rel=1e-8)


@pytest.mark.parametrize("method", ["dense", "lanczos"])
def test_where_the_loss_underflows_it_keeps_its_ratio_to_the_loss(method):
    """-2(s-1)/(1+s)^2 / (8 log(1 + 1/s)) -> -1/4, s = e^{2C^2}."""
    found = lp.curvature(lp.ulpm(4, 1, 4), 60.0 * lp.State(EXAMPLE, EXAMPLE), method=method)
    assert found.eigenvalue == 0.0
    assert found.log_unit == pytest.approx(np.log(2) - 7200, rel=1e-12)
    assert found.relative == pytest.approx(-0.25, rel=1e-9)


PLAIN = lp.ulpm(4, 1, 4)


@pytest.mark.parametrize(
    ("problem", "state", "options", "sentence"),
    [
        (PLAIN, 0.0 * PLAIN.init(0), {}, "need a state on a sphere"),
        (PLAIN, PLAIN.init(range(2)), {}, "need one state at a time, without a seed axis, got 2 seeds"),
        (PLAIN, lp.ulpm(4, 1, 5).init(0), {}, r"need W of shape \(4, 4\), got \(4, 5\)"),
        (PLAIN, np.inf * PLAIN.init(0), {}, "need finite entries in W"),
        ("ulpm", PLAIN.init(0), {}, "need a layerpeel.Problem, got str"),
        (lp.Problem(4, 1, 4, constraint=lp.NormBalls(1, 1)), PLAIN.init(0), {}, "need a problem without a constraint"),
        (PLAIN, PLAIN.init(0), {"method": "qr"}, "need method to be one of auto, dense, lanczos, got 'qr'"),
        (PLAIN, PLAIN.init(0), {"tolerance": 0.0}, "need 1e-14 <= tolerance < 1, got tolerance=0.0"),
        (PLAIN, PLAIN.init(0), {"tolerance": True}, "need 1e-14 <= tolerance < 1, got tolerance=True"),
        (PLAIN, PLAIN.init(0), {"products": 0}, "need products >= 1 and an integer, got products=0"),
    ],
)
def test_wrong_calls_get_a_sentence(problem, state, options, sentence):
    with pytest.raises(ValueError, match="^" + sentence):
        inspect.unwrap(lp.curvature)(problem, state, **options)  # the type checker of the tests would speak first


def test_a_gradient_that_is_not_finite_is_refused():
    problem = lp.Problem(K=2, n=1, d=1, loss=RootLoss())
    with pytest.raises(ValueError, match=r"^need an objective with a finite gradient at the state"):
        lp.curvature(problem, lp.State(np.ones((2, 1)), np.zeros((1, 2))))


@dataclass(frozen=True)
class RootLoss(lp.Loss):
    """sqrt |z|, which has no gradient at 0."""

    def value(self, Z, Y):
        return jnp.sum(jnp.sqrt(jnp.abs(Z)), axis=0)


def test_print_tells_the_ends_the_kernel_and_no_arrays():
    problem = lp.ulpm(3, 2, 3, reduction="sum")
    said = str(lp.curvature(problem, problem.optimum(rho2=8.0).state))
    assert "2.04233, across rotations from 0.694007" in said
    assert "kernel of dimension 3, rotations 3" in said
    assert "array" not in said


def test_print_is_in_units_of_the_loss_where_the_loss_underflows():
    problem = lp.ulpm(3, 2, 3, reduction="sum")
    found = lp.curvature(problem, problem.optimum(rho2=5000.0).state)
    said = str(found)
    assert found.highest.eigenvalue == 0.0
    assert "on the sphere, in units of L (log L = -881." in said
    assert f"and {found.highest.relative:.6g}, across rotations from {found.transversal.relative:.6g};" in said
    assert f"projected from {found.projected.relative:.6g} (lam = {found.relative_multiplier:.6g});" in said
