"""Theorem 3.1: below the summed loss log 2 the data are separated, and the smoothed margin never decreases."""

import jax
import numpy as np
import optax
import pytest

import layerpeel as lp

PROBLEMS = {
    "K=4 n=3 d=5": lp.ulpm(4, 3, 5, reduction="sum"),
    "K=3 unequal d=2": lp.ulpm(3, (1, 7, 2), 2, reduction="sum"),
    "K=6 n=2 d=2": lp.ulpm(6, 2, 2, reduction="sum"),
    "mean of K=5 n=4 d=7": lp.ulpm(5, 4, 7),
}
each_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)


def summed_loss(problem, state):
    return problem.objective(state) * (1 if problem.reduction == "sum" else problem.N)


@each_problem
def test_a_summed_loss_below_log_2_means_that_the_data_are_separated(problem):
    """q_min >= -log(e^L - 1) > 0, at descended and at random points."""
    start = problem.init(seed=range(8), scale=0.5)
    rate = 0.3 if problem.reduction == "sum" else 5.0
    descended = lp.descend(problem, start, optax.sgd(rate), steps=3000, record=12, keep_states=True).states
    states = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), descended)
    loss, found = summed_loss(problem, states), lp.kkt(problem, states)
    below = loss < np.log(2)
    assert 15 < below.sum() < len(below) - 15
    odds = -np.log(np.expm1(loss[below]))
    assert (odds > 0).all()
    assert (found.q_min[below] >= odds * (1 - 1e-12)).all()
    np.testing.assert_allclose(found.smoothed_gamma[below], odds / states.squared_norm[below], rtol=1e-9)
    assert (found.smoothed_gamma[below] <= found.gamma[below]).all()
    assert np.isnan(found.smoothed_gamma[~below]).all()


def test_log_2_is_the_largest_such_number_and_belongs_to_the_sum():
    """K = 2: a margin 0 beside one of 60 has the loss log 2 + e^-60; the mean can be far below it (E11)."""
    one, state = lp.ulpm(2, 1, 1, reduction="sum"), lp.State(np.array([[30.0], [-30.0]]), np.array([[0.0, -1.0]]))
    assert one.objective(state) == pytest.approx(np.log(2), rel=1e-15)
    assert not lp.kkt(one, state).feasible
    many = lp.ulpm(2, 50, 1)
    state = lp.State(np.array([[30.0], [-30.0]]), np.concatenate([[-0.001], np.ones(49), -np.ones(50)])[None])
    assert many.objective(state) < np.log(2) / 50 * 1.1
    assert not lp.kkt(many, state).feasible
    assert np.isnan(lp.kkt(many, state).smoothed_gamma)


@each_problem
def test_the_smoothed_margin_never_decreases_along_small_steps(problem):
    rate = 0.05 if problem.reduction == "sum" else 1.0
    run = lp.descend(problem, problem.init(seed=range(3), scale=0.5), optax.sgd(rate), steps=20_000, record=60)
    smoothed, gamma = run.metrics.smoothed_gamma.values, run.metrics.gamma.values
    below = run.metrics.log_loss.values + (0 if problem.reduction == "sum" else np.log(problem.N)) < np.log(np.log(2))
    assert (np.isfinite(smoothed) == below).all()
    assert (below.sum(axis=1) > 20).all()
    risen = np.diff(smoothed, axis=1)
    assert (risen[np.isfinite(risen)] > 0).all()
    assert (smoothed <= gamma)[below].all()


def test_the_smoothed_margin_tends_to_the_margin_and_the_direction_to_a_kkt_point():
    problem = lp.ulpm(4, 2, 5)
    run = lp.descend(problem, problem.init(seed=range(3)), lp.normalized(1.0), steps=3000, record=30)
    last, earlier = run.metrics.isel(record=-1), run.metrics.isel(record=-6)
    assert (1 - last.smoothed_gamma / last.gamma < 0.7 * (1 - earlier.smoothed_gamma / earlier.gamma)).all()
    assert (last.kkt_epsilon < 0.8 * earlier.kkt_epsilon).all()
    assert (last.kkt_delta < 0.8 * earlier.kkt_delta).all()
