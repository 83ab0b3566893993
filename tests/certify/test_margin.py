"""The margin is its definition, and its ratio to the bound of Lemma 3.1 never passes 1."""

import inspect

import numpy as np
import pytest

import layerpeel as lp


def loop_margins(problem, state):
    q = []
    for i, y in enumerate(problem.labels):
        z = state.W @ state.H[:, i] + (0 if state.b is None else state.b)
        q.append(z[y] - max(z[j] for j in range(problem.K) if j != y))
    return np.array(q)


@pytest.mark.parametrize("problem", [lp.ulpm(4, 3, 5), lp.ulpm(3, (1, 4, 2), 2, bias=True)], ids=["plain", "bias"])
def test_margins_are_the_definition(problem):
    state = problem.init(seed=0, scale=1.0)
    if problem.bias:
        state = lp.State(state.W, state.H, np.array([0.3, -0.2, 1.0]))
    found = lp.margin(problem, state)
    np.testing.assert_allclose(found.q, loop_margins(problem, state), rtol=1e-13)
    assert found.q_min == found.q.min()


def test_seeds_keep_their_axis():
    problem = lp.ulpm(4, 3, 5)
    found = lp.margin(problem, problem.init(seed=range(6)))
    assert found.q.shape == (6, 12)
    assert found.ratio[2] == pytest.approx(lp.margin(problem, problem.init(seed=2)).ratio, rel=1e-13)


def test_the_margin_is_the_one_that_measure_reports():
    problem = lp.ulpm(3, (1, 4, 2), 5)
    state = problem.init(seed=1, scale=1.0)
    report = lp.measure(state.H.T, problem.labels, classifier=state.W)
    found = lp.margin(problem, state)
    assert report.margin == pytest.approx(found.q_min, rel=1e-13)
    assert report.margin_ratio == pytest.approx(found.ratio, rel=1e-13)


@pytest.mark.parametrize(
    "problem", [lp.ulpm(4, 3, 5), lp.ulpm(3, (1, 4, 2), 2, bias=True), lp.deep_ufm(4, 3, 5, 3, 0.1)]
)
def test_a_norm_beyond_float64_is_refused_without_a_warning(problem):
    with pytest.raises(ValueError, match=r"^need a state whose squared norm is finite in float64, got one beyond$"):
        lp.margin(problem, problem.init(range(2)) * np.array([1.0, 1e200]))


def test_hidden_layers_that_lead_beyond_float64_are_refused_without_a_warning():
    problem = lp.deep_ufm(4, 3, 5, 4, 0.1)
    with pytest.raises(ValueError, match=r"^need a state whose margins are finite in float64, got one whose hidden"):
        lp.margin(problem, 1e120 * problem.init(0))


def test_only_a_problem_has_margins():
    with pytest.raises(ValueError, match=r"^need a layerpeel\.Problem, got NoneType$"):
        inspect.unwrap(lp.margin)(None, lp.ulpm(4, 3, 5).init(0))  # the type checker of the tests would speak first


def test_a_state_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"need W of shape \(4, 5\), got \(4, 6\)"):
        lp.margin(lp.ulpm(4, 3, 5), lp.State(np.ones((4, 6)), np.ones((6, 12))))
