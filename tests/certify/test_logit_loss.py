"""In logits, the loss has the value and gradient of the problem; its Hessian products are differences of gradients."""

import numpy as np
import pytest

import layerpeel as lp
from layerpeel.certify.logit_loss import LogitLoss

PROBLEM = lp.ulpm(4, (1, 2, 3, 2), 3, reduction="sum")


@pytest.mark.parametrize("scale", [0.3, 40.0])
def test_value_and_gradient_are_those_of_the_problem_also_past_underflow(scale):
    loss, state = LogitLoss(PROBLEM), lp.block_point(lp.ulpm(4, 2, 3), (4,), rho2=12 * scale**2)
    state = state + PROBLEM.init(seed=0, scale=0.1)
    Z = state.W @ state.H
    value, gradient = loss.value_and_gradient(Z)
    assert value == loss.value(Z) == pytest.approx(PROBLEM.log_objective(state), rel=1e-14)
    found, expected = loss.state_gradient(state, gradient), PROBLEM.log_gradient(state)
    np.testing.assert_allclose(found.W, expected.W, rtol=1e-10, atol=1e-13 * scale)
    np.testing.assert_allclose(found.H, expected.H, rtol=1e-10, atol=1e-13 * scale)


def test_hessian_products_are_differences_of_gradients_and_symmetric():
    loss = LogitLoss(PROBLEM)
    Z, A, B = np.random.default_rng(0).normal(size=(3, 4, 8))
    h = 1e-5
    difference = (loss.value_and_gradient(Z + h * A)[1] - loss.value_and_gradient(Z - h * A)[1]) / (2 * h)
    np.testing.assert_allclose(loss.hessian_product(Z, A), difference, atol=1e-9)
    assert np.vdot(B, loss.hessian_product(Z, A)) == pytest.approx(np.vdot(A, loss.hessian_product(Z, B)), rel=1e-13)


def test_a_shift_of_the_logits_of_a_sample_moves_nothing():
    loss = LogitLoss(PROBLEM)
    Z = np.random.default_rng(0).normal(size=(4, 8))
    shift = np.ones((4, 1)) * np.arange(8.0)
    assert loss.value(Z + shift) == pytest.approx(loss.value(Z), rel=1e-14)
    np.testing.assert_allclose(loss.hessian_product(Z, shift), 0, atol=1e-14)
