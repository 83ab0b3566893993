"""Both clocks describe the same flow, their Jacobian is exact, and log t survives the change of variable."""

import jax
import numpy as np
import pytest

import layerpeel as lp
from layerpeel.dynamics.clock import (
    LogClock,
    LossClock,
    apply,
    clock_of,
    field,
    flatten,
    linearized,
    tau_of,
    unflatten,
)

PROBLEM = lp.ulpm(3, (2, 1, 3), 4, bias=True)
STATE = PROBLEM.init(seed=1, scale=0.7)


@pytest.mark.parametrize("log_time", [-40.0, -3.0, 0.0, 5.0, 30.0, 1e4])
def test_log_t_comes_back_from_tau(log_time):
    tau = tau_of(log_time)
    assert tau + np.log(-np.expm1(-tau)) == pytest.approx(log_time, rel=1e-12)


def test_the_start_is_tau_zero():
    assert tau_of(-np.inf) == 0.0


def test_a_state_comes_back_from_its_vector():
    state, tau = unflatten(PROBLEM, flatten(STATE, 2.5))
    assert tau == 2.5
    for there, back in zip(jax.tree.leaves(STATE), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(there, back)


@pytest.mark.parametrize("clock", [LossClock(), LogClock()], ids=["loss", "log"])
def test_each_clock_is_the_gradient_flow_at_its_own_pace(clock):
    tau = 1.5
    with jax.enable_x64(True):
        velocity, rate = unflatten(PROBLEM, np.asarray(field(PROBLEM, clock, flatten(STATE, tau))))
    dt_ds = rate * np.exp(tau)  # d tau / ds = (dt/ds) / (1 + t)
    gradient = PROBLEM.gradient(STATE)
    for v, g in zip(jax.tree.leaves(velocity), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(v, -dt_ds * g, rtol=1e-12, atol=1e-14)


def test_the_loss_clock_runs_at_the_inverse_loss():
    with jax.enable_x64(True):
        rate = np.asarray(field(PROBLEM, LossClock(), flatten(STATE, 0.0)))[-1]
    assert rate == pytest.approx(1 / PROBLEM.objective(STATE), rel=1e-13)


@pytest.mark.parametrize("clock", [LossClock(), LogClock()], ids=["loss", "log"])
def test_the_jacobian_is_that_of_central_differences(clock):
    y, h = flatten(STATE, 0.8), 1e-5
    direction = np.random.default_rng(0).normal(size=y.size)
    with jax.enable_x64(True):
        exact = np.asarray(apply(linearized(PROBLEM, clock, y), direction))
        ahead, behind = (np.asarray(field(PROBLEM, clock, y + sign * h * direction)) for sign in (1, -1))
    np.testing.assert_allclose(exact, (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-7)


def test_a_problem_gets_the_clock_it_can_be_followed_in():
    assert clock_of(PROBLEM) == LossClock()
    assert clock_of(lp.Problem(3, 2, 3, regulariser=lp.Ridge(0.1, 0.1))) == LogClock()
