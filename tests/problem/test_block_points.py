"""Block points are critical on their sphere, whatever the sizes of the blocks, and Example 3.1 is one of them."""

import numpy as np
import pytest

import layerpeel as lp


@pytest.mark.parametrize("rho2", [1e-6, 1.0, 40.0, 1e4])
@pytest.mark.parametrize("blocks", [(3, 3), (2, 2, 2), (4, 2), (3, 2, 1), (2, 1, 3), (2, 1, 1, 1, 1), (6,)])
def test_they_are_balanced_and_critical_on_the_sphere_that_was_asked_for(blocks, rho2):
    problem = lp.ulpm(6, 2, 5, reduction="sum")
    state = lp.block_point(problem, blocks, rho2=rho2)
    assert state.squared_norm == pytest.approx(rho2, rel=1e-13)
    np.testing.assert_allclose(state.W.T @ state.W, state.H @ state.H.T, atol=1e-14 * rho2)
    gradient = problem.log_gradient(state)
    lam = -state.inner(gradient) / rho2
    rest = gradient + state * lam
    assert np.sqrt(rest.squared_norm * rho2) < 1e-13 * (1 + rho2)
    assert lam > 0 or (1 in blocks and rho2 > 1000)  # a class without logits keeps L up, lam/L underflows


@pytest.mark.parametrize("rho2", [1e-290, 1e-160, 1e-60, 1e100, 1e300])
@pytest.mark.parametrize("blocks", [(3, 3), (4, 2), (3, 2, 1)])
def test_they_are_balanced_on_the_sphere_at_any_size(blocks, rho2):
    state = lp.block_point(lp.ulpm(6, 2, 5), blocks, rho2=rho2)
    assert state.squared_norm == pytest.approx(rho2, rel=1e-13, abs=0.0)
    np.testing.assert_allclose(state.W.T @ state.W, state.H @ state.H.T, rtol=0, atol=1e-14 * rho2)


def test_two_pairs_are_example_3_1():
    problem = lp.ulpm(4, 1, 4)
    M = np.kron(np.eye(2), np.array([[1.0, -1.0], [-1.0, 1.0]]))
    state = lp.block_point(problem, (2, 2), rho2=16.0)
    np.testing.assert_allclose(state.W @ state.H, M @ M, atol=1e-14)


def test_one_block_is_the_optimum():
    problem = lp.ulpm(5, 3, 4, reduction="sum")
    state = lp.block_point(problem, (5,), rho2=30.0)
    assert problem.objective(state) == pytest.approx(problem.optimum(rho2=30.0).value, rel=1e-14)


def test_fewer_classes_in_a_block_lose_more_at_the_same_norm():
    problem = lp.ulpm(6, 1, 5)
    losses = [problem.objective(lp.block_point(problem, b, rho2=30.0)) for b in ((6,), (3, 3), (2, 2, 2))]
    assert losses == sorted(losses)


@pytest.mark.parametrize(
    ("problem", "blocks", "rho2", "sentence"),
    [
        (lp.ulpm(4, 1, 4), (2, 3), 1.0, r"need block sizes >= 1, not all 1, that sum to K = 4, got \(2, 3\)"),
        (lp.ulpm(4, 1, 4), (1, 1, 1, 1), 1.0, "need block sizes >= 1, not all 1"),
        (lp.ulpm(4, 1, 4), (), 1.0, "need block sizes >= 1, not all 1"),
        (lp.ulpm(4, 1, 4), (5, -1), 1.0, "need block sizes >= 1, not all 1"),
        (lp.ulpm(4, 1, 1), (2, 2), 1.0, r"need d >= 2 for blocks \(2, 2\), whose simplices span .* got d=1"),
        (lp.ulpm(4, 1, 4), (2, 2), 0.0, "need rho2 > 0 and finite, got rho2=0.0"),
        (lp.ulpm(4, 1, 4), (2, 2), True, "need rho2 > 0 and finite, got rho2=True"),
        (lp.ulpm(4, 1, 4), (2, 2), 1e-300, "need rho2 >= 1e-290, below which the squares .*, got rho2=1e-300"),
        (None, (2, 2), 1.0, "need a layerpeel.Problem, got NoneType"),
        (lp.ulpm(4, (1, 2, 1, 1), 4), (2, 2), 1.0, "need cross-entropy, equal class sizes and no bias"),
        (lp.ulpm(4, 1, 4, bias=True), (2, 2), 1.0, "need cross-entropy, equal class sizes and no bias"),
        (lp.Problem(4, 1, 4, regulariser=lp.Ridge(1, 1)), (2, 2), 1.0, "need a problem without regulariser"),
    ],
)
def test_other_problems_and_impossible_blocks_are_refused(problem, blocks, rho2, sentence):
    with pytest.raises(ValueError, match="^" + sentence):
        lp.block_point(problem, blocks, rho2=rho2)
