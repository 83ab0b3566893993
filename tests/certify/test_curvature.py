"""Curvature on the sphere: golden values, the same by two methods, and the second derivative along great circles."""

import numpy as np
import pytest

import layerpeel as lp

M = np.kron(np.eye(2), np.array([[1.0, -1.0], [-1.0, 1.0]]))


def test_example_3_1_has_its_two_golden_curvatures():
    found = lp.curvature(lp.ulpm(4, 1, 4, reduction="sum"), lp.State(M, M))
    s = np.exp(2.0)
    assert found.eigenvalue == pytest.approx(-2 * (s - 1) / (1 + s) ** 2, rel=1e-9)
    assert found.projected.eigenvalue == pytest.approx(-0.420, abs=5e-4)


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
    assert found.transversal.eigenvalue > 1e-3


@pytest.mark.parametrize(("K", "blocks", "ratio"), [(4, (2, 2), 1.7616), (6, (2, 2, 2), 1.4049)])
def test_a_block_point_curves_down_by_sigma_less_lam(K, blocks, ratio):
    problem = lp.ulpm(K, 1, K, reduction="sum")
    point = lp.block_point(problem, blocks, rho2=2 * K * 2.0)  # own logit c = 2
    certificate = lp.global_certificate(problem, point)
    assert certificate.sigma / certificate.lam == pytest.approx(ratio, abs=5e-5)
    found = lp.curvature(problem, point)
    assert found.relative <= -(certificate.sigma - certificate.lam) * (1 - 1e-9)


@pytest.mark.parametrize("problem", [lp.ulpm(4, 2, 5, reduction="sum"), lp.ulpm(3, (1, 3, 2), 4)], ids=["sum", "mean"])
def test_it_is_the_second_derivative_along_great_circles(problem):
    state = problem.init(seed=1, scale=0.8)
    found, rho = lp.curvature(problem, state), np.sqrt(state.squared_norm)
    assert abs(state.inner(found.direction)) < 1e-10 * rho
    assert found.direction.squared_norm == pytest.approx(1, rel=1e-12)

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
    assert lanczos.kernel_dimension is None


def test_it_works_where_the_loss_underflows():
    problem = lp.ulpm(4, 1, 4, reduction="sum")
    found = lp.curvature(problem, 60.0 * lp.State(M, M))
    assert found.eigenvalue == 0.0
    assert found.relative < -1e-3


def test_wrong_calls_get_a_sentence():
    problem = lp.ulpm(4, 1, 4)
    with pytest.raises(ValueError, match="need"):
        lp.curvature(problem, 0.0 * problem.init(0))
    with pytest.raises(ValueError, match="need"):
        lp.curvature(problem, problem.init(range(2)))
