"""The flow in a set stays in it, falls, rests at the optimum, and is what projected descent tends to."""

import jax
import numpy as np
import optax
import pytest
from scipy.integrate import solve_ivp

import layerpeel as lp
from layerpeel.dynamics import pieces

BALLS = lp.lpm(4, 2, 4, 1.0, 1.0)
UNEQUAL = lp.lpm(3, (3, 2, 1), 3, 1.0, 0.5)
SPHERES = lp.sphere(4, 2, 4, 2.0)
TIED = lp.sphere(4, 1, 4, 1.0, tied=True)
LOGITS = lp.output_ball(2, 2.0, reduction="sum")
RELU = lp.ufm(3, 2, 4, 5e-3, 5e-3, nonneg=True)
SETS = {"weighted balls": UNEQUAL, "spheres": SPHERES, "output ball": LOGITS, "non-negative": RELU}


def distance(problem, state):
    with jax.enable_x64(True):
        return float(np.sqrt((problem.constraint.project(state) - state).squared_norm))


@pytest.mark.parametrize("name", SETS)
def test_it_stays_in_the_set_falls_and_rests_where_nothing_moves_it(name):
    problem = SETS[name]
    run = lp.flow(problem, problem.init(1), log_time=20.0, record=12, keep_states=True)
    assert run.outcome is lp.Outcome.RESTED
    assert np.diff(run.metrics.loss.values[0]).max() < 1e-13
    for i in range(12):
        state = jax.tree.map(lambda x, i=i: x[i], run.states)
        assert distance(problem, state) < 1e-14 * np.sqrt(state.squared_norm)
    velocity = -problem.gradient(run.state)
    with jax.enable_x64(True):
        left = problem.constraint.confine(run.state, velocity).squared_norm
        assert float(left) < 1e-18 * velocity.squared_norm


@pytest.mark.parametrize(
    "problem",
    [
        pytest.param(BALLS, id="balls"),
        pytest.param(SPHERES, id="spheres"),
        pytest.param(TIED, id="tied", marks=pytest.mark.slow),
        pytest.param(LOGITS, id="output ball"),
    ],
)
def test_five_small_starts_reach_the_optimum(problem):
    run = lp.flow(problem, problem.init(range(5)), log_time=20.0, record=2)
    np.testing.assert_allclose(run.metrics.loss.values[:, -1], problem.optimum().value, rtol=1e-12)


def test_features_behind_a_relu_reach_the_optimum_or_lose_a_class_for_good():
    run = lp.flow(RELU, RELU.init(range(5), scale=0.3), log_time=20.0, record=2)
    gaps = run.metrics.loss.values[:, -1] - RELU.optimum().value
    assert np.sum(np.abs(gaps) < 1e-12) >= 2
    assert np.all((np.abs(gaps) < 1e-12) | (gaps > 1e-2))


def test_a_class_whose_features_are_all_zero_stays_so_at_a_spurious_critical_point():
    """With no classifier along its own axis, every step of its features would make them negative."""
    best = RELU.optimum().state
    dead = lp.State(np.where(np.arange(4) == 0, 0.0, best.W), np.where(RELU.labels == 0, 0.0, best.H))
    run = lp.flow(RELU, dead, log_time=20.0, record=2)
    assert run.outcome is lp.Outcome.RESTED
    assert np.all(run.state.H[:, RELU.labels == 0] == 0)
    assert float(run.metrics.loss[0, -1]) > RELU.optimum().value + 1e-2


@pytest.mark.parametrize("name", SETS)
def test_projected_descent_comes_to_it_at_first_order(name):
    problem, time = SETS[name], 4.0 if SETS[name] is LOGITS else 40.0
    start = problem.init(2, scale=0.3)
    exact = lp.flow(problem, start, time=time, record=2).state
    errors = [
        np.sqrt((lp.descend(problem, start, optax.sgd(time / k), steps=k, record=2).state - exact).squared_norm)
        for k in (1600, 3200, 6400)
    ]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.2)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.2)


def test_squared_lengths_keep_to_ten_times_the_tolerance_between_records():
    integrator = pieces.Pieces(SPHERES, _flat(SPHERES.init(0)), rtol=3e-9, atol=3e-11)
    worst = [0.0]

    def note(y):
        with jax.enable_x64(True):
            worst[0] = max(worst[0], float(np.abs(SPHERES.constraint.gaps(_state(SPHERES, y))).max()))

    with jax.enable_x64(True):
        integrator.advance_to(8.0, note)
    assert 0 < worst[0] < 3e-8


def test_a_logit_leaves_the_boundary_of_its_ball_crosses_it_and_slides_on_the_other_side():
    """Two classes, W = I: with m = z_1 - z_2 and p = 1/(1 + e^m), z' = p (1, -1) inside, so that m + e^m grows at rate
    2, from m = -2 to 2; then z = 2 (cos a, sin a) with a' = -p (cos a + sin a)/2 along the circle."""
    start = lp.State(np.eye(2), 2.0 * np.array([[0.0, 1.0], [1.0, 0.0]]))
    arrival = (4 + np.exp(2) - np.exp(-2)) / 2

    def turn(t, a):
        p = 1 / (1 + np.exp(2 * (np.cos(a) - np.sin(a))))
        return -p * (np.cos(a) + np.sin(a)) / 2

    a = solve_ivp(turn, (0, 5.0), [0.0], rtol=1e-12, atol=1e-14).y[0, -1]
    run = lp.flow(LOGITS, start, time=arrival + 5.0, record=[np.log(arrival)], keep_states=True, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(run.states.H[0], [[2, 0], [0, 2]], atol=1e-9)
    np.testing.assert_allclose(run.state.H[:, 0], 2 * np.array([np.cos(a), np.sin(a)]), atol=1e-9)
    np.testing.assert_allclose(run.state.H[:, 1], run.state.H[::-1, 0], atol=1e-9)


def test_a_start_outside_the_set_is_told_its_distance():
    outside = 2.0 * BALLS.optimum().state
    with pytest.raises(ValueError, match=r"need a state in the set .* is the nearest\), got one at a distance of 3.46"):
        lp.flow(BALLS, outside, time=1.0)
    seeds = jax.tree.map(lambda x: np.stack([x, 2 * x]), BALLS.optimum().state)
    with pytest.raises(ValueError, match=r"got one at a distance of 3\.46"):
        lp.flow(BALLS, seeds, time=1.0)
    with pytest.raises(ValueError, match="need log t <= 700 with a constraint"):
        lp.flow(BALLS, BALLS.optimum().state, log_time=1000.0)


def test_a_start_of_length_0_is_on_no_sphere_and_has_no_distance_from_it():
    problem = lp.sphere(4, 1, 3, 2.0)
    with pytest.raises(ValueError, match=r"^need a state with a nearest one in the set .* length 0 on a sphere\?\)$"):
        lp.flow(problem, 0.0 * problem.init(0), time=1.0)


def test_a_loss_with_kinks_has_descent_and_no_flow():
    problem = lp.ulpm(3, 2, 3, loss=lp.Hinge())
    with pytest.raises(ValueError, match=r"need a loss with a continuous gradient for its flow .*, got Hinge\(\)"):
        lp.flow(problem, problem.init(0), time=1.0)


def _flat(state):
    return np.concatenate([*(np.ravel(leaf) for leaf in jax.tree.leaves(state)), [0.0]])


def _state(problem, y):
    K, d = problem.K, problem.d
    return lp.State(y[: K * d].reshape(K, d), y[K * d : -1].reshape(d, problem.N))


@pytest.mark.parametrize("bias", [None, 0.1])
def test_a_flow_to_the_zero_optimum_rests_at_it(bias):
    problem = lp.ufm(5, 4, 6, 0.2, 0.2, bias)
    run = lp.flow(problem, problem.init(0, scale=0.3), log_time=30.0, record=6)
    assert run.outcome is lp.Outcome.RESTED
    assert run.state.squared_norm < (1e-18 if bias else 1e-90)
    assert float(run.metrics["loss"][0, -1]) == pytest.approx(np.log(5), rel=1e-14)
