"""As a function of one vector the loss is constant along rays, its Hessian that of great circles."""

import numpy as np
import pytest
from scipy.optimize import check_grad

import layerpeel as lp
from layerpeel.certify.curve import downhill_curve
from layerpeel.certify.global_certificate import certify_logits
from layerpeel.certify.logit_loss import LogitLoss
from layerpeel.certify.sphere import onto_sphere, tangent
from layerpeel.certify.sphere_loss import SphereLoss

PROBLEM = lp.ulpm(4, 2, 3, reduction="sum")
LOSS = LogitLoss(PROBLEM)
SPHERE = SphereLoss(LOSS, 9.0)
STATE = onto_sphere(PROBLEM.init(seed=0, scale=1.0), 9.0)


def test_vectors_and_states_are_the_same():
    x = SPHERE.vector(STATE)
    np.testing.assert_array_equal(SPHERE.split(x).H, STATE.H)
    assert SPHERE.state(5 * x).squared_norm == pytest.approx(9.0, rel=1e-14)


@pytest.mark.parametrize("length", [0.2, 1.0, 30.0])
def test_the_gradient_is_exact_at_any_length_and_orthogonal(length):
    x = length * SPHERE.vector(STATE)
    value, gradient = SPHERE.value_and_gradient(x)
    assert value == pytest.approx(PROBLEM.log_objective(STATE), rel=1e-14)
    assert abs(x @ gradient) < 1e-13
    error = check_grad(*(lambda y, i=i: SPHERE.value_and_gradient(y)[i] for i in (0, 1)), x)
    assert error < 1e-6 * max(1.0, np.linalg.norm(gradient))


def test_hessian_products_are_the_curvature_of_great_circles():
    x, hessian = SPHERE.vector(STATE), SPHERE.hessian(SPHERE.vector(STATE))
    for seed in range(4):
        D = tangent(STATE, PROBLEM.init(seed=50 + seed, scale=1.0))
        D = D * (1 / np.sqrt(D.squared_norm))
        y = SPHERE.vector(D)
        curve = downhill_curve(LOSS, certify_logits(LOSS, STATE), STATE, D)
        assert y @ hessian.matvec(y) == pytest.approx(curve.curvature, rel=1e-12)
    assert np.abs(hessian.matvec(x)).max() < 1e-13


def test_the_hessian_is_symmetric_and_the_derivative_of_the_gradient():
    x = SPHERE.vector(STATE)
    hessian = SPHERE.hessian(x)
    dense = np.column_stack([hessian.matvec(e) for e in np.eye(36)])
    np.testing.assert_allclose(dense, dense.T, atol=1e-13)
    y = SPHERE.vector(tangent(STATE, PROBLEM.init(seed=9, scale=1.0)))
    h = 1e-6
    change = (SPHERE.value_and_gradient(x + h * y)[1] - SPHERE.value_and_gradient(x - h * y)[1]) / (2 * h)
    np.testing.assert_allclose(change - x * (x @ change) / 9.0, dense @ y, atol=1e-8)
