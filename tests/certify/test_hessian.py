"""The Hessian on the sphere against jax.hessian, differences of gradients, great circles, and what orbits keep."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import layerpeel as lp
from layerpeel.certify.hessian import Compression, sphere_hessian
from layerpeel.problem import objective as pure


@dataclass(frozen=True)
class SquaredLoss(lp.Loss):
    """Not exponential-tailed: no logarithm of it is used."""

    def value(self, Z, Y):
        return jnp.sum((Z - Y) ** 2, axis=0) / 2


PROBLEMS = {
    "sum, unequal classes": lp.ulpm(3, (1, 4, 2), 4, reduction="sum"),
    "mean, bias": lp.ulpm(3, 2, 4, bias=True),
    "ridge": lp.Problem(K=3, n=2, d=3, regulariser=lp.Ridge(0.1, np.float64(0.05))),
    "squared loss": lp.Problem(K=3, n=2, d=4, loss=SquaredLoss(), reduction="sum"),
}
EXAMPLE = np.kron(np.eye(2), np.array([[1.0, -1.0], [-1.0, 1.0]]))


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def point(problem):
    state = problem.init(seed=3, scale=0.8)
    return lp.State(state.W, state.H, np.arange(problem.K) / 5 if problem.bias else None)


def flat(state):
    return np.asarray(ravel_pytree(state)[0])


def skew(d):
    A = np.random.default_rng(0).standard_normal((d, d))
    return A - A.T


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_the_product_is_that_of_the_dense_hessian_plus_lam(problem):
    state = point(problem)
    x, unravel = ravel_pytree(jax.tree.map(jnp.asarray, state))
    expected = np.asarray(jax.hessian(lambda y: pure.objective(problem, unravel(y)))(x))
    lam = -state.inner(problem.gradient(state)) / state.squared_norm
    hessian = sphere_hessian(problem, state)
    product = jax.jit(jax.vmap(lambda e: ravel_pytree(hessian.product(unravel(e)))[0]))
    found = float(np.exp(hessian.log_unit)) * np.asarray(product(jnp.eye(x.size)))
    np.testing.assert_allclose(found, expected + lam * np.eye(x.size), atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_the_product_is_the_difference_of_gradients(problem):
    state, vector, h = point(problem), problem.init(seed=5, scale=1.0), 1e-5
    hessian = sphere_hessian(problem, state)
    slope = (1 / (2 * h)) * (problem.gradient(state + h * vector) - problem.gradient(state - h * vector))
    found = float(np.exp(hessian.log_unit)) * (hessian.product(vector) - hessian.multiplier * vector)
    np.testing.assert_allclose(flat(found), flat(slope), atol=1e-8)


def sphere_gradient(hessian):
    """grad L + lam theta in the unit, 0 at the critical points of the sphere."""
    return hessian.gradient + hessian.multiplier * hessian.state


@pytest.mark.parametrize("critical", [True, False], ids=["critical", "not critical"])
def test_on_the_tangent_space_it_is_the_second_derivative_along_great_circles(critical):
    problem = lp.ulpm(4, 2, 4, reduction="sum")
    state = lp.block_point(problem, (2, 2), rho2=20.0) if critical else point(problem)
    hessian = sphere_hessian(problem, state)
    residual = float(np.sqrt(sphere_gradient(hessian).squared_norm / hessian.gradient.squared_norm))
    assert residual < 1e-14 if critical else residual > 0.1
    operator = Compression(hessian)
    for seed in range(5):
        x = operator.project(np.random.default_rng([seed, 1]).standard_normal(operator.size))
        x = x / np.linalg.norm(x)
        expected = state.squared_norm * float(np.exp(hessian.log_unit)) * (x @ operator.product(x))
        found = second_derivative_on_circle(problem, state, operator.as_state(x))
        assert found == pytest.approx(expected, abs=1e-8 * state.squared_norm)


def second_derivative_on_circle(problem, state, v, h=2e-3):
    """d^2/ds^2 L(cos(s) theta + sin(s) rho v) at 0, by differences of fourth order."""
    rho = np.sqrt(state.squared_norm)
    values = [problem.objective(np.cos(s) * state + (rho * np.sin(s)) * v) for s in h * np.arange(-2, 3)]
    return np.dot([-1, 16, -30, 16, -1], values) / (12 * h**2)


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_on_the_orbit_it_turns_the_gradient_of_the_sphere(problem):
    """(Hess L + lam I) A.theta = A.(grad L + lam theta) at every point: 0 at the critical ones."""
    state, A = point(problem), skew(problem.d)
    hessian = sphere_hessian(problem, state)
    bias = None if state.b is None else np.zeros(problem.K)
    residual = sphere_gradient(hessian)
    expected = flat(lp.State(residual.W @ A, -A @ residual.H, bias))
    found = flat(hessian.product(lp.State(state.W @ A, -A @ state.H, bias)))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.abs(expected).max() > 1e-3


def test_at_critical_points_the_orbit_is_in_the_kernel():
    problem = lp.ulpm(6, 2, 5, reduction="sum")
    for blocks in ((6,), (3, 3), (4, 2)):
        hessian = sphere_hessian(problem, lp.block_point(problem, blocks, rho2=30.0))
        turned = hessian.product(hessian.orbit.direction(skew(5)))
        assert np.abs(flat(turned)).max() < 1e-14 < np.abs(flat(hessian.gradient)).max()


@pytest.mark.parametrize("transversal", [False, True], ids=["tangent", "transversal"])
def test_a_compression_is_symmetric_and_lifts_its_complement(transversal):
    problem = PROBLEMS["mean, bias"]
    operator = Compression(sphere_hessian(problem, point(problem)), transversal=transversal)
    eye = np.eye(operator.size)
    matrix = np.stack([operator.product(e, lift=7.0) for e in eye])
    projection = np.stack([operator.project(e) for e in eye])
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-13)
    np.testing.assert_allclose(projection @ projection, projection, atol=1e-13)
    assert np.linalg.matrix_rank(eye - projection, tol=1e-8) == operator.removed
    np.testing.assert_allclose(matrix @ (eye - projection), 7.0 * (eye - projection), atol=1e-12)
    shifted = np.stack([operator.product(e, lift=7.0, scale=-3.0, shift=2.0) for e in eye])
    np.testing.assert_allclose(shifted, -3.0 * matrix - 2.0 * eye, atol=1e-13)


@pytest.mark.parametrize("C", [1.0, 5.0, 50.0, 500.0])
def test_past_underflow_the_curvature_of_example_3_1_keeps_its_ratio_to_the_loss(C):
    """-4(s-1)/(1+s)^2 along (u u', u u') over 8 log(1 + 1/s), s = e^{2C^2}: -1/2 as C grows."""
    hessian = sphere_hessian(lp.ulpm(4, 1, 4, reduction="sum"), lp.State(C * EXAMPLE, C * EXAMPLE))
    u = np.array([1.0, 1.0, -1.0, -1.0]) / 2
    v = lp.State(np.outer(u, u), np.outer(u, u))
    s = np.exp(2 * C**2) if C <= 5 else np.inf
    expected = -0.5 if C > 5 else -4 * (s - 1) / (1 + s) ** 2 / (8 * np.log1p(1 / s))
    assert float(v.inner(hessian.product(v))) == pytest.approx(expected, rel=1e-9)
