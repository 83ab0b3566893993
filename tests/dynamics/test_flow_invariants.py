"""W'W - HH' and 1'W do not change along the flow: their rates are zero for any loss of Z, and their drift is told."""

import jax.numpy as jnp
import numpy as np
import pytest

import layerpeel as lp
from layerpeel.dynamics.invariants import Invariants, balance, column_sums


class Squared(lp.Loss):
    def value(self, Z, Y):
        return jnp.sum((Z - Y) ** 2, axis=0)


PROBLEMS = [lp.ulpm(4, 3, 5), lp.ulpm(3, (1, 4, 2), 2, bias=True)]


@pytest.mark.parametrize("problem", [*PROBLEMS, lp.Problem(3, 2, 4, loss=Squared())], ids=["plain", "bias", "squared"])
def test_the_rate_of_the_balance_is_zero_at_any_point(problem):
    state = problem.init(seed=3, scale=1.0)
    g = problem.gradient(state)
    rate = g.W.T @ state.W + state.W.T @ g.W - g.H @ state.H.T - state.H @ g.H.T
    np.testing.assert_allclose(rate, 0, atol=1e-14)


def test_the_sums_of_the_classifiers_move_only_where_a_shift_of_the_logits_counts():
    for problem, moves in ((PROBLEMS[0], False), (lp.Problem(3, 2, 4, loss=Squared()), True)):
        rate = column_sums(problem.gradient(problem.init(seed=3, scale=1.0)))
        assert (np.abs(rate).max() > 1e-3) == moves
        assert ("column_sum_drift" in Invariants(problem, problem.init(0)).drift(problem.init(0))) != moves


def test_a_drift_is_relative_to_the_size_of_what_is_subtracted():
    problem = PROBLEMS[0]
    start = problem.init(seed=0, scale=1.0)
    moved = lp.State(start.W * 1.01, start.H)
    W, H = moved.W, moved.H
    by_hand = np.linalg.norm(0.0201 * start.W.T @ start.W) / (np.linalg.norm(W.T @ W) + np.linalg.norm(H @ H.T))
    assert Invariants(problem, start).drift(moved)["balance_drift"] == pytest.approx(by_hand, rel=1e-12)
    assert Invariants(problem, start).broken(1.1 * start)
    assert not Invariants(problem, start).broken(start)


def test_balanced_states_have_balance_zero():
    best = lp.ulpm(4, 3, 5).optimum("separation").state
    np.testing.assert_allclose(balance(best), 0, atol=1e-14)


def test_nothing_is_conserved_under_a_regulariser():
    problem = lp.Problem(3, 2, 4, regulariser=lp.Ridge(0.1, 0.1))
    start = problem.init(0)
    assert Invariants(problem, start).drift(2 * start) == {}
    assert not Invariants(problem, start).broken(2 * start)


DEEP = lp.Problem(3, 2, 4, depth=4)


def test_every_two_neighbours_of_a_deep_chain_are_balanced_for_ever():
    state = DEEP.init(seed=3, scale=1.0)
    g, before = DEEP.gradient(state), balance(state)
    assert before.shape == (3, 4, 4)
    change = balance(state + g) - balance(state - g)  # twice the rate: even powers of the step cancel
    np.testing.assert_allclose(change, 0, atol=1e-11)
    M = state.hidden
    np.testing.assert_array_equal(before[1], M[0].T @ M[0] - M[1] @ M[1].T)


@pytest.mark.slow
def test_a_deep_flow_keeps_its_balances_to_1e_8_of_their_scale():
    run = lp.flow(DEEP, DEEP.init(0, scale=0.7), log_time=1e3, record=8)
    assert run.outcome is lp.Outcome.REACHED
    assert float(run.metrics.balance_drift.max()) < 1e-8
    assert float(run.metrics.column_sum_drift.max()) < 1e-12


def test_under_a_ridge_of_equal_weights_the_balances_of_a_deep_flow_decay_exponentially():
    lam, time = 0.01, 30.0
    problem = lp.deep_ufm(3, 2, 4, 4, lam)
    start = problem.init(0, scale=0.7)
    end = lp.flow(problem, start, time=time, record=2, rtol=1e-11, atol=1e-13).state
    np.testing.assert_allclose(balance(end), np.exp(-2 * lam * time) * balance(start), atol=1e-9)
