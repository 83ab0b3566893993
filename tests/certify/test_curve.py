"""The model of second order along a great circle is its Taylor series, and the step found goes down."""

import numpy as np
import pytest

import layerpeel as lp
from layerpeel.certify.curve import downhill_curve, lowest_step
from layerpeel.certify.global_certificate import certify_logits
from layerpeel.certify.logit_loss import LogitLoss

PROBLEM = lp.ulpm(4, 2, 3, reduction="sum")
LOSS = LogitLoss(PROBLEM)


def curve_at(state, direction):
    return downhill_curve(LOSS, certify_logits(LOSS, state), state, direction)


def random_curve(seed):
    return curve_at(PROBLEM.init(seed=seed, scale=1.0), PROBLEM.init(seed=100 + seed, scale=1.0))


@pytest.mark.parametrize("seed", range(4))
def test_logits_are_those_of_the_state_and_its_norm_stays(seed):
    curve = random_curve(seed)
    for step in (0.0, 0.3, 2.0):
        state = curve.state(step)
        np.testing.assert_allclose(curve.logits(step), state.W @ state.H, atol=1e-13)
        assert state.squared_norm == pytest.approx(curve.rho2, rel=1e-14)


@pytest.mark.parametrize("seed", range(4))
def test_slope_and_curvature_are_the_finite_differences(seed):
    curve, h = random_curve(seed), 1e-4
    below, at, above = (LOSS.value(curve.logits(step)) for step in (-h, 0.0, h))
    assert curve.slope == pytest.approx((above - below) / (2 * h), rel=1e-6)
    assert curve.curvature == pytest.approx((above - 2 * at + below) / h**2, rel=1e-5)
    assert curve.slope < 0


def test_predicted_and_actual_decrease_agree_to_third_order():
    for seed in range(4):
        curve = random_curve(seed)
        start = LOSS.value(curve.Z)
        errors = [
            abs(start - LOSS.value(curve.logits(step)) - curve.predicted(step)) for step in (4e-2, 2e-2, 1e-2, 5e-3)
        ]
        orders = np.log2(np.divide(errors[:-1], errors[1:]))
        assert orders.min() > 2.7


def test_at_block_points_they_agree_to_fourth_order():
    """There the logits move by s^2 along one pair: odd terms vanish."""
    problem = lp.ulpm(4, 1, 4, reduction="sum")
    found = lp.escape(problem, lp.block_point(problem, (2, 2), rho2=16.0))
    loss, state = LogitLoss(problem), lp.block_point(problem, (2, 2), rho2=16.0)
    curve = downhill_curve(loss, found.certificate, state, found.direction)
    start = loss.value(curve.Z)
    errors = [abs(start - loss.value(curve.logits(step)) - curve.predicted(step)) for step in (0.4, 0.2, 0.1)]
    assert np.log2(np.divide(errors[:-1], errors[1:])) == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("seed", range(8))
def test_the_step_is_close_to_the_best_of_the_circle_or_a_local_best(seed):
    curve = random_curve(seed)
    certificate = certify_logits(LOSS, curve.origin)
    step = lowest_step(LOSS, curve, certificate)
    reached = LOSS.value(curve.logits(step))
    assert reached < certificate.log_value
    assert all(reached <= LOSS.value(curve.logits(step * f)) + 1e-4 for f in (0.9, 1.1))


def test_a_direction_along_the_state_is_none():
    state = PROBLEM.init(seed=0, scale=1.0)
    assert curve_at(state, state * 0.0) is None


def test_no_step_where_nothing_falls():
    best = PROBLEM.optimum(rho2=9.0).state
    curve = curve_at(best, PROBLEM.init(seed=0, scale=1.0))
    assert curve.curvature > 0
    assert lowest_step(LOSS, curve, certify_logits(LOSS, best)) is None
