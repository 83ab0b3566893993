"""Example 3.1: W = H = C M is a KKT direction of (5) that is not optimal; printed gradient (9) is wrong (E2)."""

import numpy as np
import optax
import pytest

import layerpeel as lp

M = np.kron(np.eye(2), np.array([[1.0, -1.0], [-1.0, 1.0]]))
PROBLEM = lp.ulpm(4, 1, 4, reduction="sum")


def at(C):
    return lp.State(C * M, C * M)


def test_loss_and_gradient_have_their_golden_values():
    assert PROBLEM.objective(at(1.0)) == pytest.approx(1.0154240883437797, rel=1e-15)
    gradient = PROBLEM.gradient(at(1.0))
    np.testing.assert_allclose(gradient.W, -0.23840584404423515 * M, rtol=1e-14, atol=1e-16)
    np.testing.assert_allclose(gradient.H, gradient.W, atol=1e-16)


def test_the_printed_gradient_fails():
    e2, em2 = np.exp(2.0), np.exp(-2.0)
    printed = -(2 + 2 * em2) / (2 + 2 * em2 + 2 * e2) * M
    assert np.abs(PROBLEM.gradient(at(1.0)).W - printed).max() > 0.1


def test_its_margin_is_1_8_of_the_squared_norm_where_the_etf_has_1_6():
    found = lp.margin(PROBLEM, at(1.0))
    rho2 = 2 * np.sum(M**2)
    assert found.q_min / rho2 == pytest.approx(1 / 8, rel=1e-15)
    assert found.ratio == pytest.approx((1 / 8) / (1 / 6), rel=1e-14)


def test_the_etf_of_the_same_norm_has_lower_loss():
    assert PROBLEM.optimum(rho2=16.0).value == pytest.approx(0.7573553574585687, rel=1e-14)


def test_descent_stays_on_the_ray():
    W = lp.descend(PROBLEM, at(0.6), optax.sgd(0.05), steps=2000).state.W
    np.testing.assert_allclose(W, W[0, 0] * M, atol=1e-10)


@pytest.mark.slow
def test_noise_leaves_the_ray_slowly_for_plain_descent_and_soon_when_it_is_normalized():
    starts = lp.State(np.stack([0.6 * M] * 6), np.stack([0.6 * M] * 6))
    plain, normalized = (
        lp.descend(PROBLEM, starts, optimizer, steps=5000, noise=lp.GradientNoise(1.0)).metrics.margin_ratio.values[
            :, -1
        ]
        for optimizer in (optax.sgd(0.05), lp.normalized(1.0))
    )
    assert plain.max() < 0.76
    assert normalized.min() > 0.77
