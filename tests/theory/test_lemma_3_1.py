"""Lemma 3.1: q_min <= rho^2 / (2 (K-1) sqrt n) for all (W, H); equality iff NC1-NC3, |W| = |H|; needs d >= K - 1."""

import jax
import numpy as np
import pytest

import layerpeel as lp

SIZES = [(2, 1, 1), (3, 2, 2), (5, 10, 20), (4, 3, 3)]


@pytest.mark.parametrize(("K", "n", "d"), SIZES)
def test_random_points_stay_under_the_bound(K, n, d):
    problem = lp.ulpm(K, n, d)
    for scale in (0.1, 1.0, 10.0):
        assert (lp.margin(problem, problem.init(seed=range(100), scale=scale)).ratio < 1).all()


@pytest.mark.parametrize(("K", "n", "d"), SIZES)
def test_the_simplex_etf_reaches_it(K, n, d):
    problem = lp.ulpm(K, n, d)
    assert lp.margin(problem, problem.optimum("margin", rho2=3.0).state).ratio == pytest.approx(1.0, rel=1e-13)


@pytest.mark.parametrize(("K", "n", "d"), SIZES)
def test_a_rotated_etf_built_from_frames_reaches_it_too(K, n, d):
    M = lp.frames.simplex_etf(K, d, seed=1)
    state = lp.State(n**0.25 * M.T, np.repeat(M, n, axis=1) / n**0.25)
    assert lp.margin(lp.ulpm(K, n, d), state).ratio == pytest.approx(1.0, rel=1e-13)


@pytest.mark.parametrize(("K", "n", "d"), SIZES[1:])
def test_a_perturbed_etf_and_an_unequal_norm_ratio_do_not(K, n, d):
    problem = lp.ulpm(K, n, d)
    best = problem.optimum("margin", rho2=3.0).state
    moved = jax.tree.map(np.add, best, problem.init(seed=0, scale=1e-3))
    assert lp.margin(problem, moved).ratio < 1 - 1e-4
    assert lp.margin(problem, lp.State(2 * best.W, best.H)).ratio == pytest.approx(2 * 2 / (1 + 4), rel=1e-12)


@pytest.mark.slow
def test_below_d_equal_to_K_minus_1_descent_stays_under_it():
    problem = lp.ulpm(4, 2, 2)
    run = lp.descend(problem, problem.init(seed=range(4), scale=0.5), lp.normalized(1.0), steps=3000)
    assert run.outcome is lp.Outcome.COMPLETED
    assert (run.metrics.margin_ratio < 0.95).all()
