"""Loss-normalised descent: the trial's golden values with momentum, and powers of the steps that momentum doubles."""

import jax
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import layerpeel as lp
from layerpeel.problem import objective as pure
from layerpeel.separation import separation_cost

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


def test_with_the_separation_cost_as_its_constant_it_has_the_golden_values_of_10000_steps():
    run = lp.descend(PROBLEM, START, lp.normalized(separation_cost(PROBLEM.n)), 10_000, record=2)
    last = run.metrics.isel(seed=0, record=-1)
    assert 1 - float(last.margin_ratio) == pytest.approx(3.6267e-4, rel=1e-3)
    for angles in (last.mean_angle_gap, last.classifier_angle_gap):
        assert float(angles) == pytest.approx(7.493e-6, rel=1e-3)
    assert float(last.within_class_variation) == pytest.approx(2.5940e-2, rel=1e-3)


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


def test_two_steps_with_momentum_are_its_two_lines():
    run = lp.descend(PROBLEM, START, lp.normalized(2.0, momentum=True, friction=3.0), 2)
    one = START - (2.0 / START.squared_norm) * PROBLEM.log_gradient(START)  # the weight is 0 at t = 0
    m = (1 / 4) * PROBLEM.log_gradient(one)
    two = one - (2.0 / one.squared_norm) * (m + PROBLEM.log_gradient(one))
    np.testing.assert_allclose(run.state.W, two.W, rtol=1e-12)
    np.testing.assert_allclose(run.state.H, two.H, rtol=1e-12)


def test_the_default_constant_is_a_tenth_of_the_separation_cost_squared_whatever_the_size():
    for K, n, d in ((5, 10, 20), (3, 2, 3)):
        problem = lp.ulpm(K, n, d)
        start, c = problem.init(seed=1), 0.1 * separation_cost(problem.n) ** 2
        stated, default = (lp.descend(problem, start, lp.normalized(c), 5).state.W for c in (c, None))
        np.testing.assert_allclose(default, stated, rtol=1e-12)


@pytest.mark.parametrize("friction", [1.0, 4.0])
def test_the_loss_falls_as_the_continuous_equation_says(friction):
    """-log L = 2 c gamma^2 T^2 / (r + 2), with c = 0.1 |PY|_*^2 = 0.1 / (4 gamma^2)."""
    run = lp.descend(PROBLEM, START, lp.normalized(momentum=True, friction=friction), 5000, record=2)
    assert -float(run.metrics.log_loss[0, -1]) == pytest.approx(0.05 / (friction + 2) * 5000**2, rel=5e-3)
    plain = lp.descend(PROBLEM, START, lp.normalized(), 5000, record=2)
    assert -float(plain.metrics.log_loss[0, -1]) == pytest.approx(0.1 * 5000, rel=0.05)


@pytest.mark.parametrize(("friction", "power"), [(4.0, -1.0), (6.0, (-5 + 17**0.5) / 2)])
def test_norms_and_self_duality_fall_with_the_balance_over_the_squared_norm(friction, power):
    """B ~ T^p with p^2 + (r - 1) p + 2 = 0, so B / rho^2 ~ T^(p - 2)."""
    record = np.unique(np.geomspace(1, 10_000, 40).astype(int))
    run = lp.descend(PROBLEM, START, lp.normalized(momentum=True, friction=friction), 10_000, record=record)
    found = lp.rates(run, variable="step", window=(2e3, 1e4))
    for field in ("duality_gap", "mean_norm_variation", "classifier_angle_gap"):
        assert found[field].value == pytest.approx(power - 2, abs=0.05)


@pytest.mark.parametrize(("K", "n", "d"), [(2, 3, 2), (3, 2, 3), (4, 1, 5)])
def test_the_curvature_at_collapse_is_between_its_bounds(K, n, d):
    """(2K-3)/(2K-2) <= |PY|_*^2 lambda_max / rho^2 <= 1, which bounds the constant of a stable step."""
    problem = lp.ulpm(K, n, d)
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(jax.tree.map(jax.numpy.asarray, problem.optimum(rho2=4e3).state))
        hessian = jax.jit(jax.hessian(lambda x: pure.log_objective(problem, unravel(x))))(flat)
        largest = float(np.linalg.eigvalsh(np.asarray(hessian))[-1])
    h = largest * separation_cost(problem.n) ** 2 / 4e3
    assert (2 * K - 3) / (2 * K - 2) - 1e-9 <= h <= 1
    assert K > 2 or h == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize(("strength", "stable"), [(1.2, True), (2.0, False)])
def test_momentum_is_stable_up_to_four_thirds_over_the_curvature(strength, stable):
    c = strength * separation_cost(PROBLEM.n) ** 2
    run = lp.descend(PROBLEM, START, lp.normalized(c, momentum=True), 2000, record=2)
    gap = 1 - float(run.metrics.margin_ratio[0, -1])
    assert (gap < 1e-5) == stable


def test_the_gradient_of_log_loss_is_exact_where_the_loss_underflows():
    far = PROBLEM.optimum(rho2=1e5).state
    assert PROBLEM.objective(far) == 0.0
    moved = lp.descend(PROBLEM, far, optax.chain(lp.on_log_loss(), optax.sgd(1e-3)), 1).state
    np.testing.assert_allclose(far.W - moved.W, 1e-3 * PROBLEM.log_gradient(far).W, rtol=1e-9, atol=1e-12)
    still = lp.descend(PROBLEM, far, optax.sgd(1e-3), 1).state
    np.testing.assert_array_equal(still.W, far.W)


def test_without_the_gradient_of_log_loss_there_is_a_sentence():
    for optimizer in (lp.on_log_loss(), lp.normalized(momentum=True)):
        with pytest.raises(ValueError, match=r"^need log_gradient, which layerpeel\.descend supplies, got none$"):
            optimizer.update(START, optimizer.init(START), START)


def test_any_optimiser_runs_on_log_loss():
    run = lp.descend(PROBLEM, START, optax.chain(lp.on_log_loss(), optax.adam(1e-2)), 2000, record=2)
    assert float(run.metrics.margin_ratio[0, -1]) > 0
    assert float(run.metrics.log_loss[0, -1]) < -10


@pytest.mark.parametrize("wrong", [{"c": 0.0}, {"c": -1.0}, {"momentum": True, "friction": 0.0}], ids=str)
def test_impossible_constants_are_refused(wrong):
    with pytest.raises(ValueError, match=r"need (c|friction) > 0"):
        lp.normalized(**wrong)
