"""In a ridge problem every point has a strictly lower one or a certificate: saddles are left, optima are proved."""

import inspect

import jax
import numpy as np
import pytest
from scipy.optimize import brentq

import layerpeel as lp
from layerpeel.certify.ridge_escape import RidgeCase
from layerpeel.certify.ridge_polish import RidgeEnd

UFM = lp.ufm(4, 5, 6, 5e-3, 1e-3)
PROBLEMS = {
    "ufm": UFM,
    "d = K-1": lp.ufm(4, 5, 3, 5e-3, 1e-3),
    "bias": lp.ufm(4, 5, 6, 5e-3, 1e-3, 0.1),
    "free bias": lp.ufm(4, 5, 3, 5e-3, 1e-3, 0.0),
    "any sizes": lp.ufm(4, [8, 6, 4, 2], 6, 5e-3, 1e-3),
    "smoothed": lp.ufm(4, 5, 6, 5e-3, 1e-3, loss=lp.CrossEntropy(label_smoothing=0.1)),
    "mse": lp.mse_ufm(4, 5, 4, 5e-3, 1e-3),
    "mse of any sizes": lp.mse_ufm(4, [8, 6, 4, 2], 6, 5e-3, 1e-3),
    "mse with free bias": lp.mse_ufm(4, 5, 6, 5e-3, 1e-3, bias="free"),
    "sum": lp.ufm(4, 5, 6, 0.1, 0.02, reduction="sum"),
}
CASES = [pytest.param(problem, id=name) for name, problem in PROBLEMS.items()]
BLOCKS = [(2, 2), (3, 1), (2, 1, 1)]


def zero(problem, b=0.0):
    return lp.State(
        np.zeros((problem.K, problem.d)),
        np.zeros((problem.d, problem.N)),
        np.full(problem.K, b) if problem.bias else None,
    )


def block_point(problem, sizes):
    """Blocks that are critical: in each, G has the singular value lam where the logits are; a root-find on c."""
    K, n, ridge = problem.K, problem.n[0], problem.regulariser
    lam = np.sqrt(ridge.lam_W * ridge.lam_H) * (1 if problem.reduction == "sum" else problem.N)
    W, rows, columns = np.zeros((K, problem.d)), 0, 0
    for m in sizes:
        if m > 1:

            def excess(c, m=m):
                wrong = m * np.exp(-c / (m - 1)) + K - m
                return np.sqrt(n) * wrong / (wrong + np.exp(c) - np.exp(-c / (m - 1))) - lam

            c = brentq(excess, 0, 50, xtol=1e-15, rtol=1e-15)
            W[rows : rows + m, columns : columns + m - 1] = np.sqrt(c) * lp.frames.simplex_etf(m, m - 1).T
        rows, columns = rows + m, columns + m - 1
    alpha = (ridge.lam_H / ridge.lam_W) ** 0.25
    root = n**0.25
    return lp.State(alpha * root * W, np.repeat(W.T / root, n, axis=1) / alpha, zero(problem).b)


SADDLES = [(name, sizes) for name in ("ufm", "d = K-1", "sum") for sizes in BLOCKS]
SADDLES += [(name, (2, 2)) for name in ("bias", "free bias")]  # unequal blocks would move the bias


@pytest.mark.parametrize(("name", "sizes"), SADDLES, ids=str)
def test_blocks_are_strict_saddles_left_by_the_construction(name, sizes):
    problem = PROBLEMS[name]
    state = block_point(problem, sizes)
    assert problem.gradient(state).squared_norm < 1e-26 * problem.N
    found = lp.escape(problem, state)
    sigma, lam = found.certificate.sigma, found.certificate.lam
    alpha2 = np.sqrt(problem.regulariser.lam_H / problem.regulariser.lam_W)
    assert not found.optimal
    assert found.case is RidgeCase.NULL_VECTOR
    assert found.line.curvature == pytest.approx(-2 * (sigma - lam) / (alpha2 + 1 / alpha2), rel=1e-8)
    assert problem.objective(found.state) == pytest.approx(problem.objective(state) - found.decrease, rel=1e-12)
    assert found.decrease > 0.01 * problem.objective(state)


def test_one_block_of_all_classes_is_the_optimum():
    found = lp.escape(UFM, block_point(UFM, (4,)))
    assert found.optimal
    assert found.reason == "it is optimal"
    assert found.certificate.value == pytest.approx(UFM.optimum().value, rel=1e-13)


@pytest.mark.parametrize("sizes", BLOCKS, ids=str)
def test_along_the_construction_the_objective_falls_as_predicted_to_fourth_order(sizes):
    """The logits move by exactly -s^2 u v', the ridge by lam s^2: F(s) - F - curvature s^2/2 = O(s^4)."""
    state = block_point(UFM, sizes)
    line = lp.escape(UFM, state).line
    A = line.direction.W @ state.H + state.W @ line.direction.H
    assert np.abs(A).max() < 1e-14
    steps = np.array([0.4, 0.2, 0.1])
    excess = [UFM.objective(line.state(s)) - UFM.objective(state) + line.predicted(s) for s in steps]
    assert min(excess) > 0  # L is convex in s^2
    orders = -np.diff(np.log(excess)) / np.log(2)
    np.testing.assert_allclose(orders, 4, atol=0.02)


@pytest.mark.parametrize("problem", CASES)
@pytest.mark.parametrize("scale", [0.0, 0.01, 1.0])
def test_every_start_is_left_for_a_strictly_lower_state_and_polished_to_the_certified_optimum(problem, scale):
    state = zero(problem) if scale == 0 else problem.init(0, scale=scale)
    found = lp.escape(problem, state)
    fall = problem.objective(state) - problem.objective(found.state)
    assert fall == pytest.approx(found.decrease, rel=1e-9)
    assert found.decrease > 100 * found.certificate.resolution
    done = lp.polish(problem, state)
    assert done.outcome is RidgeEnd.CERTIFIED, str(done)
    assert done.gap <= 1e-10 * done.value
    if problem.balanced or isinstance(problem.loss, lp.SquaredError):
        assert done.value == pytest.approx(problem.optimum().value, rel=1e-10)


@pytest.mark.parametrize("sizes", BLOCKS, ids=str)
def test_polishing_a_saddle_leads_to_the_optimum_by_escapes(sizes):
    done = lp.polish(UFM, block_point(UFM, sizes))
    assert done.optimal
    assert [found.case for found in done.escapes] == [RidgeCase.NULL_VECTOR] * len(done.escapes)
    assert done.escapes
    assert done.value == pytest.approx(UFM.optimum().value, rel=1e-12)
    assert str(done).startswith("Certified: the state is globally optimal. The objective fell from ")


def test_nearly_critical_points_are_left_by_the_construction_and_not_by_their_gradient():
    exact = block_point(UFM, (2, 2))
    depth = lp.escape(UFM, exact).decrease
    for size in (1e-13, 1e-9, 1e-6, 1e-3):
        found = lp.escape(UFM, exact + UFM.init(seed=0, scale=size))
        assert found.case is RidgeCase.NULL_VECTOR
        assert found.decrease == pytest.approx(depth, rel=max(1e-6, 300 * size))


@pytest.mark.parametrize("seed", range(5))
def test_beyond_the_threshold_0_is_the_optimum_and_everything_leads_there(seed):
    problem = lp.ufm(5, 4, 6, 0.1, 0.1001)
    assert lp.escape(problem, zero(problem)).optimal
    done = lp.polish(problem, problem.init(seed, scale=1.0))
    assert done.optimal
    assert done.state.squared_norm < 1e-9


def test_rotations_turn_the_escape():
    state = UFM.init(3, scale=0.3)
    Q = lp.frames.random_orthonormal(6, 6, seed=0)
    found, turned = lp.escape(UFM, state), lp.escape(UFM, lp.State(state.W @ Q, Q.T @ state.H))
    assert turned.decrease == pytest.approx(found.decrease, rel=1e-6)
    assert turned.line.curvature == pytest.approx(found.line.curvature, rel=1e-9)
    np.testing.assert_allclose(turned.state.W @ turned.state.H, found.state.W @ found.state.H, atol=1e-5)


def test_next_to_the_optimum_it_says_that_nothing_lower_can_be_resolved():
    state = UFM.optimum().state + UFM.init(0, scale=1e-9)
    found = lp.escape(UFM, state)
    assert not found.optimal
    assert found.state is None
    assert "than the rounding of float64" in str(found)
    assert lp.escape(UFM, state, tol=1e-5).optimal


def test_below_K_minus_1_a_local_minimum_is_called_by_its_name():
    problem = lp.ufm(4, 2, 2, 5e-3, 5e-3)
    done = lp.polish(problem, problem.init(0, scale=0.5))
    assert done.outcome is RidgeEnd.STUCK
    assert "for d = 2 < K-1 = 3 a critical point may be a local minimum" in done.last.reason
    assert lp.lowest_curvature(problem, done.state).eigenvalue > -1e-10
    assert done.value - done.gap <= lp.ufm(4, 2, 3, 5e-3, 5e-3).optimum().value < done.value


def test_below_K_minus_1_saddles_are_left_along_their_lowest_curvature():
    """Three classes at each end of a line, at rest, so without a null vector."""
    problem = lp.ufm(6, 1, 1, 1e-3, 1e-3)
    frame = np.repeat([[1.0, -1.0]], 3, axis=1)

    def slope(c):
        return problem.gradient(lp.State(c * frame.T, c * frame)).inner(lp.State(frame.T, frame))

    c = brentq(slope, 0.1, 30, xtol=1e-14)
    state = lp.State(c * frame.T, c * frame)
    assert problem.gradient(state).squared_norm < 1e-24
    found = lp.escape(problem, state)
    assert found.case is RidgeCase.CURVATURE
    assert found.decrease > 1e-4
    assert found.line.curvature == pytest.approx(lp.lowest_curvature(problem, state).eigenvalue, rel=1e-8)


def flat(state):
    return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(state)])


def dense_hessian(problem, state, h=1e-5):
    """Column by column, from differences of gradients."""
    leaves, tree = jax.tree.flatten(state)

    def gradient(x):
        parts = np.split(x, np.cumsum([leaf.size for leaf in leaves])[:-1])
        theta = tree.unflatten([part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)])
        return flat(problem.gradient(theta))

    x = flat(state)
    return np.stack([(gradient(x + h * e) - gradient(x - h * e)) / (2 * h) for e in np.eye(x.size)])


@pytest.mark.parametrize(
    "problem",
    [lp.ufm(3, 2, 3, 5e-3, 1e-3), lp.ufm(3, 2, 3, 5e-3, 1e-3, 0.1), lp.deep_ufm(3, 2, 3, 3, 1e-2)],
    ids=["ufm", "bias", "deep"],
)
def test_the_lowest_curvature_is_that_of_the_dense_hessian(problem):
    state = problem.init(1, scale=0.7)
    hessian = dense_hessian(problem, state)
    found = lp.lowest_curvature(problem, state)
    assert found.eigenvalue == pytest.approx(np.linalg.eigvalsh(hessian)[0], abs=1e-9)
    v = flat(found.direction)
    np.testing.assert_allclose(hessian @ v, found.eigenvalue * v, atol=1e-9)
    assert problem.gradient(state).inner(found.direction) <= 0
    assert found.converged


def test_lanczos_finds_the_lowest_curvature_where_no_matrix_is_formed():
    problem = lp.ufm(10, 8, 20, 5e-4, 2e-3)
    found = lp.lowest_curvature(problem, zero(problem))
    lam = 1e-3  # at 0 the Hessian is [[lam_W, G], [G', lam_H]], sigma_1(G) = 1/sqrt(K N)
    sigma = 1 / np.sqrt(10 * 80)
    mean, half = (5e-4 + 2e-3) / 2, (2e-3 - 5e-4) / 2
    assert found.eigenvalue == pytest.approx(mean - np.hypot(half, sigma), rel=1e-8)
    assert found.eigenvalue <= -2 * (sigma - lam) / (2 + 1 / 2)
    assert found.converged


@pytest.mark.parametrize("sizes", [*BLOCKS, (1, 1, 1, 1)], ids=str)
def test_the_lowest_curvature_of_a_saddle_is_at_most_that_of_the_construction(sizes):
    state = block_point(UFM, sizes)
    found = lp.lowest_curvature(UFM, state)
    assert found.eigenvalue <= lp.escape(UFM, state).line.curvature * (1 - 1e-9) < 0


def test_at_the_optimum_no_curvature_is_negative():
    assert abs(lp.lowest_curvature(UFM, UFM.optimum().state).eigenvalue) < 1e-12  # rotations


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (lp.ufm(4, 2, 3, 0.01, 0.01, loss=lp.Focal()), "need a loss that is convex in the logits"),
        (lp.deep_ufm(4, 2, 3, 3, 0.01), "need two factors, W and H"),
        (lp.Problem(4, 2, 3, regulariser=lp.Ridge(0.1, 0.0)), "need a layerpeel.Ridge with lam_W > 0 and lam_H > 0"),
        (lp.lpm(4, 2, 3, 1, 1), "need a problem without bias, regulariser and constraint"),
        (lp.ufm(4, 2, 3, 0.1, 0.1, nonneg=True), "need a ridge problem without a constraint to escape in"),
    ],
)
@pytest.mark.parametrize("question", [lp.escape, lp.polish])
def test_what_has_no_escape_is_refused_in_one_sentence(question, problem, sentence):
    with pytest.raises(ValueError, match="^" + sentence):
        question(problem, problem.init(0, scale=1.0))


def test_impossible_options_are_refused():
    for tol in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="need tol >= 0 and finite, got tol="):
            lp.escape(UFM, UFM.init(), tol=tol)
    with pytest.raises(ValueError, match="need rounds >= 1 and an integer, got rounds=0"):
        lp.polish(UFM, UFM.init(), rounds=0)
    with pytest.raises(ValueError, match="need a problem without a constraint for its plain Hessian"):
        lp.lowest_curvature(lp.lpm(4, 2, 3, 1, 1), lp.lpm(4, 2, 3, 1, 1).init())
    with pytest.raises(ValueError, match="need one state at a time, without a seed axis, got 2 seeds"):
        lp.lowest_curvature(UFM, UFM.init(range(2)))


@pytest.mark.parametrize("tolerance", [-1.0, 0.0, float("inf"), float("nan"), True, "a"])
def test_an_impossible_tolerance_of_the_lowest_curvature_is_refused(tolerance):
    unchecked = inspect.unwrap(lp.lowest_curvature)  # the type checker of the tests would speak first
    with pytest.raises(ValueError, match=r"^need 1e-14 <= tolerance < 1, got tolerance="):
        unchecked(UFM, UFM.init(), tolerance=tolerance)


@pytest.mark.parametrize("size", [1e60, 1e150, 1e200])
@pytest.mark.parametrize("bias", [None, 0.0, 0.1])
@pytest.mark.parametrize("question", [lp.escape, lp.polish])
def test_states_whose_powers_float64_does_not_hold_are_refused_without_a_warning(question, size, bias):
    problem = lp.ufm(4, 2, 3, 0.01, 0.01, bias)
    with pytest.raises(
        ValueError, match=r"^need a state with \|theta\|\^2 <= 1e\+100, whose powers float64 holds, got"
    ):
        question(problem, size * problem.init(0, scale=1.0))


@pytest.mark.parametrize("bias", [None, 0.0, 0.1])
def test_the_largest_states_are_left_without_a_warning(bias):
    problem = lp.ufm(4, 2, 3, 0.01, 0.01, bias)
    state = 1e49 * problem.init(0, scale=1.0)
    found = lp.escape(problem, state)
    assert problem.objective(found.state) < 0.5 * problem.objective(state)
    with pytest.raises(ValueError, match="need a state whose squared norm is finite in float64, got one beyond"):
        lp.lowest_curvature(problem, 1e200 * state)


def test_polish_takes_what_every_function_takes():
    start = UFM.init(0)
    lists = lp.State(start.W.tolist(), start.H.tolist())
    assert lp.polish(UFM, lists).value == lp.polish(UFM, start).value


def test_rounds_are_counted_and_the_last_state_says_what_is_left():
    done = lp.polish(UFM, zero(UFM), rounds=2)
    assert done.outcome is RidgeEnd.ROUNDS
    assert done.rounds == 2
    assert not done.optimal
    assert done.last.state is not None


def test_a_loss_with_kinks_is_not_polished():
    problem = lp.ufm(4, 2, 3, 0.01, 0.01, loss=lp.Hinge())
    with pytest.raises(ValueError, match="need a loss with a continuous gradient to polish, got Hinge"):
        lp.polish(problem, problem.init(0))
