"""Cross-entropy and its logarithm are exact at every margin, with every derivative."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import layerpeel as lp
from layerpeel import CrossEntropy
from layerpeel.problem.losses import log_softplus

MARGINS = [-800.0, -40.0, -1.0, 0.0, 1.0, 17.9, 18.1, 36.0, 300.0, 700.0]
Y = np.array([[1.0], [0.0], [0.0]])


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def column(margin):
    return jnp.array([[margin], [0.0], [-1.0]])


def exact(margin):
    with mpmath.workdps(400):
        return mpmath.log1p(mpmath.exp(-mpmath.mpf(margin)) * (1 + mpmath.exp(-1)))


@pytest.mark.parametrize("margin", MARGINS)
def test_cross_entropy_has_full_relative_precision_at_every_margin(margin):
    value = CrossEntropy().value(column(margin), Y)[0]
    assert float(value) == pytest.approx(float(exact(margin)), rel=4e-15)


@pytest.mark.parametrize("margin", [*MARGINS, 1e4, 1e8])
def test_log_loss_is_exact_past_underflow(margin):
    with mpmath.workdps(400 if margin < 1e3 else 30):
        truth = mpmath.log(exact(margin)) if margin < 1e3 else -mpmath.mpf(margin) + mpmath.log(1 + mpmath.exp(-1))
    value = CrossEntropy().log_value(column(margin), Y)[0]
    assert float(value) == pytest.approx(float(truth), rel=4e-15)


@pytest.mark.parametrize("margin", MARGINS)
def test_gradient_is_wrong_class_probabilities_without_cancellation(margin):
    gradient = jax.jacobian(lambda Z: CrossEntropy().value(Z, Y)[0])(column(margin))[:, 0]
    with mpmath.workdps(400):
        odds = [mpmath.exp(z) for z in (margin, 0, -1)]
        p = [float(x / sum(odds)) for x in odds]
        truth = [-float((odds[1] + odds[2]) / sum(odds)), p[1], p[2]]
    np.testing.assert_allclose(gradient, truth, rtol=1e-14)


@pytest.mark.parametrize("margin", [-3.0, 0.0, 2.0, 25.0, 700.0, 1e6])
def test_log_gradient_is_the_gradient_over_the_loss(margin):
    gradient = jax.jacobian(lambda Z: CrossEntropy().log_value(Z, Y)[0])(column(margin))[:, 0]
    s = 1 / (1 + np.exp(-1.0))
    if margin > 30:
        np.testing.assert_allclose(gradient, [-1, s, 1 - s], rtol=1e-12)
    else:
        value, plain = jax.value_and_grad(lambda Z: CrossEntropy().value(Z, Y)[0])(column(margin))
        np.testing.assert_allclose(gradient, plain[:, 0] / value, rtol=1e-13)


def test_second_derivative_is_the_softmax_covariance():
    z = jnp.array([0.3, -1.2, 0.7])
    hessian = jax.hessian(lambda z: CrossEntropy().value(z[:, None], Y)[0])(z)
    p = np.exp(z) / np.exp(z).sum()
    np.testing.assert_allclose(hessian, np.diag(p) - np.outer(p, p), atol=1e-15)


def test_log_softplus_is_smooth_across_its_branches():
    m = jnp.linspace(-18.001, -17.999, 101)
    slopes = jax.vmap(jax.grad(log_softplus))(m)
    np.testing.assert_allclose(jnp.diff(log_softplus(m)) / jnp.diff(m), (slopes[1:] + slopes[:-1]) / 2, rtol=1e-9)
    curvature = jax.vmap(jax.grad(jax.grad(log_softplus)))(jnp.array([-50.0, -5.0, 0.0, 3.0]))
    assert np.isfinite(curvature).all()


def test_value_ignores_a_constant_added_to_the_logits():
    Z = jax.random.normal(jax.random.key(0), (3, 1))
    np.testing.assert_allclose(CrossEntropy().value(Z + 1e3, Y), CrossEntropy().value(Z, Y), rtol=1e-12)


@pytest.mark.parametrize("margin", [10.0, 60.0, 80.0, 300.0])
def test_the_loss_of_a_compiled_product_does_not_cancel(margin):
    problem = lp.ulpm(2, 1, 1, reduction="sum")
    half = np.sqrt(margin / 2)
    loss = problem.objective(lp.State([[half], [-half]], [[half, -half]]))
    assert loss == pytest.approx(2 * np.log1p(np.exp(-margin)), rel=1e-12)
