"""Loss-normalised descent: the trial's golden values with momentum, and powers of the steps that momentum doubles."""

import numpy as np
import optax
import pytest

import layerpeel as lp

PROBLEM = lp.ulpm(5, 10, 20)
START = PROBLEM.init(seed=0, scale=0.1)


def test_momentum_of_friction_1_has_the_golden_values_of_the_first_trial():
    run = lp.descend(PROBLEM, START, lp.normalized(1.0, momentum=True, friction=1.0), 10_000, record=[1000, 3000])
    np.testing.assert_allclose(1 - run.metrics.margin_ratio.values[0], [5.98e-4, 3.79e-5, 2.75e-6], rtol=3e-3)
    np.testing.assert_allclose(run.metrics.within_class_variation.values[0], [2.29e-2, 7.5e-3, 2.25e-3], rtol=8e-3)


def test_plain_normalised_descent_has_its_golden_values():
    run = lp.descend(PROBLEM, START, lp.normalized(4.0), 20_000, record=2)
    assert 1 - float(run.metrics.margin_ratio[0, -1]) == pytest.approx(5.76e-4, rel=2e-3)
    assert float(run.metrics.within_class_variation[0, -1]) == pytest.approx(3.27e-2, rel=2e-3)


def test_momentum_doubles_the_exponents_of_the_steps():
    problem = lp.ulpm(4, 1, 8)
    starts = problem.init(seed=range(8), scale=0.1)
    record = np.geomspace(1, 20_000, 40).astype(int)
    plain, fast = (
        lp.rates(
            lp.descend(problem, starts, optimizer, 20_000, record=np.unique(record)), variable="step", window=(2e3, 2e4)
        )
        for optimizer in (lp.normalized(), lp.normalized(momentum=True))
    )
    assert plain["margin_gap"].value == pytest.approx(-1, abs=0.1)
    assert fast["margin_gap"].value == pytest.approx(-2, abs=0.1)


def test_one_step_is_its_one_line():
    run = lp.descend(PROBLEM, START, lp.normalized(2.0), 1)
    g = PROBLEM.log_gradient(START)
    np.testing.assert_allclose(run.state.W, START.W - 2.0 / START.squared_norm * g.W, rtol=1e-12)


def test_any_optimiser_runs_on_log_loss():
    run = lp.descend(PROBLEM, START, optax.chain(lp.on_log_loss(), optax.adam(1e-2)), 2000, record=2)
    assert float(run.metrics.margin_ratio[0, -1]) > 0
    assert float(run.metrics.log_loss[0, -1]) < -10


@pytest.mark.parametrize("wrong", [{"c": 0.0}, {"c": -1.0}, {"momentum": True, "friction": 0.0}], ids=str)
def test_impossible_constants_are_refused(wrong):
    with pytest.raises(ValueError, match=r"need (c|friction) > 0"):
        lp.normalized(**wrong)
