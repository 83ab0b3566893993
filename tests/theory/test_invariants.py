"""Under descent W'W - HH' changes by exactly eta^2 (g_W'g_W - g_H g_H'), and 1'W not at all (cross-entropy)."""

import numpy as np
import optax
import pytest

import layerpeel as lp


@pytest.mark.parametrize("eta", [0.1, 2.0])
def test_the_balance_changes_by_the_squared_step(eta):
    problem = lp.ulpm(4, (2, 3, 1, 2), 5, reduction="sum")
    start = problem.init(seed=0, scale=0.7)
    g = problem.gradient(start)
    end = lp.descend(problem, start, optax.sgd(eta), steps=1).state
    change = (end.W.T @ end.W - end.H @ end.H.T) - (start.W.T @ start.W - start.H @ start.H.T)
    np.testing.assert_allclose(change, eta**2 * (g.W.T @ g.W - g.H @ g.H.T), atol=1e-12)


def test_column_sums_of_the_classifier_are_conserved():
    problem = lp.ulpm(4, 3, 5)
    start = problem.init(seed=0, scale=0.7)
    end = lp.descend(problem, start, optax.sgd(1.0), steps=5000).state
    np.testing.assert_allclose(end.W.sum(0), start.W.sum(0), atol=1e-12)
