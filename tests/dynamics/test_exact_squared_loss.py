"""The closed forms of the squared loss are the flow: aligned modes, the central path, and strong collapse from small
starts."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import layerpeel as lp

PROBLEMS = {
    "balanced": lp.mse_ufm(4, 5, 4, 5e-3, 5e-3),
    "no weights": lp.mse_ufm(4, 5, 4, 0, 0),
    "unequal, one class lost": lp.mse_ufm(3, (6, 3, 1), 4, 0.12, 0.12),
    "sum": lp.mse_ufm(3, (2, 1, 2), 3, 0.1, 0.1, reduction="sum"),
    "free bias": lp.mse_ufm(4, 2, 3, 5e-3, 5e-3, bias="free"),
    "weighted bias": lp.mse_ufm(3, 2, 3, 5e-3, 5e-3, bias=0.5, reduction="sum"),
}


def squared(state):
    return np.sqrt(state.squared_norm)


def test_the_golden_mode():
    assert lp.aligned_modes(PROBLEMS["no weights"], 0.5, 5.0) == pytest.approx(4 * [1.04728111], abs=5e-9)


@pytest.mark.parametrize("name", PROBLEMS)
def test_an_aligned_state_moves_by_minus_its_gradient_and_stays_aligned(name):
    problem = PROBLEMS[name]
    count = problem.K - problem.bias
    s, t, step = np.linspace(0.3, 0.9, count), 1.5, 1e-4
    state = lp.aligned_state(problem, s, t)
    velocity = (1 / (2 * step)) * (lp.aligned_state(problem, s, t + step) - lp.aligned_state(problem, s, t - step))
    assert squared(velocity + problem.gradient(state)) < 1e-7 * squared(velocity)
    np.testing.assert_allclose(state.W.T @ state.W, state.H @ state.H.T, atol=1e-14)
    Z = state.W @ state.H
    modes = np.linalg.svd(Z, compute_uv=False)[:count]
    np.testing.assert_allclose(np.sort(modes), np.sort(lp.aligned_modes(problem, s, t)), atol=1e-13)


def test_the_flow_from_an_aligned_start_is_the_closed_form():
    problem = PROBLEMS["unequal, one class lost"]
    run = lp.flow(problem, lp.aligned_state(problem, 0.4), time=7.0, record=2, rtol=1e-12, atol=1e-14)
    assert squared(run.state - lp.aligned_state(problem, 0.4, 7.0)) < 1e-10


def test_late_modes_are_those_of_the_optimum():
    for name in ("balanced", "no weights", "free bias", "sum"):
        problem = PROBLEMS[name]
        assert problem.objective(lp.aligned_state(problem, 0.4, 1e6)) == pytest.approx(
            problem.optimum().value, rel=1e-12, abs=1e-28
        )


def test_a_mode_at_its_threshold_falls_like_1_over_t_and_nothing_overflows():
    at = lp.mse_ufm(2, 4, 2, 0.25, 0.25)  # sqrt(n) = N lam
    np.testing.assert_allclose(lp.aligned_modes(at, 0.5, 1e3), 0.5 / (1 + 2 * 0.5 * 1e3 / 8), rtol=1e-14)
    above = lp.mse_ufm(2, 4, 2, 0.3, 0.3)
    np.testing.assert_array_equal(lp.aligned_modes(above, 0.5, 1e9), 0.0)
    np.testing.assert_allclose(lp.aligned_modes(PROBLEMS["no weights"], [0.5, 0, 1, 2], [0.0, 1e9])[1, 1], 0.0)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: lp.aligned_modes(lp.ulpm(3, 2, 3), 1.0, 1.0), "need a problem with SquaredError, got CrossEntropy"),
        (lambda: lp.aligned_modes(lp.mse_ufm(3, 2, 3, 0.1, 0.2), 1.0, 1.0), "need a Ridge with lam_W = lam_H"),
        (
            lambda: lp.aligned_modes(lp.mse_ufm(2, (2, 1), 3, 0.1, 0.1, bias="free"), 1.0, 1.0),
            r"need equal class sizes with a bias, got n=\(2, 1\)",
        ),
        (lambda: lp.aligned_modes(PROBLEMS["balanced"], [1.0, 2.0], 1.0), "need one mode or 4"),
        (lambda: lp.aligned_modes(PROBLEMS["balanced"], -1.0, 1.0), "need modes >= 0 and finite"),
        (lambda: lp.aligned_state(PROBLEMS["balanced"], 1.0, np.array([1.0])), "need one time"),
        (lambda: lp.aligned_state(lp.mse_ufm(4, 2, 3, 0.1, 0.1), 1.0), "need d >= 4, the number of modes, got d=3"),
        (lambda: lp.central_path(3, 12, 0.0, 1.0), "need 0 < snr <= "),
        (lambda: lp.central_path(3, 2, 1.0, 1.0), "need N samples in K classes of equal size"),
    ],
)
def test_wrong_calls_get_a_sentence(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        wrong()


K, N_CLASS, D = 3, 6, 4
N = K * N_CLASS
Y = np.repeat(np.eye(K), N_CLASS, axis=1)


def spread(H):
    """Class means [d, K], centred, and deviations of the samples from the means of their classes."""
    means = H @ Y.T / N_CLASS
    return means - means.mean(1, keepdims=True), H - means @ Y


def feature_gradient(H):
    """grad_H of |WH + b1' - Y|^2/(2N) at the least squares classifier W, b of H."""
    wide = np.vstack([H, np.ones(N)])
    A = Y @ np.linalg.pinv(wide)
    return A[:, :D].T @ (A @ wide - Y) / N


def whitened(H):
    """H with the covariance within classes I."""
    _, deviations = spread(H)
    values, vectors = np.linalg.eigh(deviations @ deviations.T / N)
    return (vectors / np.sqrt(values)) @ vectors.T @ H


def projected_velocity(H):
    """-grad, its part tangent to the set of features whose covariance within classes is I."""
    velocity = -feature_gradient(H)
    _, deviations = spread(H)
    change = velocity @ deviations.T / N
    return velocity - (change + change.T) / 2 @ deviations


def snr(H):
    return np.linalg.svd(spread(H)[0], compute_uv=False)[: K - 1]


START = whitened(np.random.default_rng(0).normal(size=(D, N)) + 1.5 * np.eye(D, K) @ Y)


def test_the_central_path_is_the_projected_flow_of_the_features_at_the_best_classifier():
    time = 60.0
    end = solve_ivp(
        lambda t, h: projected_velocity(h.reshape(D, N)).ravel(), (0, time), START.ravel(), rtol=1e-11, atol=1e-13
    ).y[:, -1]
    H = end.reshape(D, N)
    np.testing.assert_allclose(snr(whitened(H)), snr(H), rtol=1e-9)  # it stays on the path
    assert np.all(snr(H) > 1.02 * snr(START))
    np.testing.assert_allclose(lp.central_path(K, N, snr(START), time), snr(H), rtol=1e-8)


@pytest.mark.parametrize("whiten", [False, True])
def test_ratios_move_at_their_rates_projected_or_whitened(whiten):
    w, step = snr(START), 1e-5
    velocity = -feature_gradient(START) if whiten else projected_velocity(START)
    ahead, behind = START + step * velocity, START - step * velocity
    rate = (snr(whitened(ahead)) - snr(whitened(behind))) / (2 * step)
    exact = w / (N * (K + w**2)) if whiten else K * w / (N * (K + w**2) ** 2)
    np.testing.assert_allclose(rate, exact, rtol=1e-7)


def test_the_central_path_solves_its_equation_from_any_start_for_any_time():
    w0, t = np.array([1e-6, 0.1, 3.0, 1e3]), np.array([[0.0], [1e-3], [10.0], [1e8]])
    w = lp.central_path(K, N, w0, t)
    left = lambda w: N * (K * np.log(w) + w**2 + w**4 / (4 * K))  # noqa: E731
    np.testing.assert_allclose(left(w), left(w0) + t, rtol=1e-12)
    np.testing.assert_allclose(w[0], w0, rtol=1e-14)
    late = lp.central_path(K, N, w0[:3], 1e20)
    np.testing.assert_allclose(late, (4 * K * 1e20 / N) ** 0.25, rtol=1e-4)


def test_strong_collapse_from_small_starts_to_second_order_in_W_and_first_in_H():
    """Without weights and with a free bias: WW' -> sqrt(n) (I - J/K), n the samples of a class (Mixon et al. 2020)."""
    problem = lp.mse_ufm(3, 4, 5, 0, 0, bias="free")
    root, sizes = 2.0, np.array([1e-1, 1e-2, 1e-3])
    errors = []
    for size in sizes:
        state = lp.flow(problem, problem.init(0, scale=size), log_time=10.0, record=2).state
        of_W = np.linalg.norm(state.W @ state.W.T - root * (np.eye(3) - 1 / 3))
        of_H = np.linalg.norm(state.H - state.W.T @ problem.onehot / root)
        errors.append((of_W, of_H, np.abs(state.b - 1 / 3).max()))
    slopes = np.diff(np.log(errors), axis=0) / np.diff(np.log(sizes))[:, None]
    np.testing.assert_allclose(slopes, [[2, 1, 1]] * 2, atol=0.1)
    assert errors[-1][0] < 1e-5


def test_extreme_modes_and_times_do_not_overflow():
    problem = lp.mse_ufm(3, (1, 4, 9), 3, 0, 0)
    np.testing.assert_allclose(lp.aligned_modes(problem, [1e-300, 1e300, 0.0], 1e300), [1.0, 2.0, 0.0])
    np.testing.assert_allclose(lp.aligned_modes(problem, 1.0, 1e308), [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((4, 4, 1e80, 1.0), "need 0 < snr <= 1e"),
        ((4, 4, 1.0, 1e300), "need time <= 1e"),
        ((4.5, 9, 1.0, 1.0), "need K >= 2 and an integer"),
        ((4, 7, 1.0, 1.0), "need N samples in K classes of equal size"),
    ],
)
def test_what_the_central_path_does_not_reach_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match="^" + sentence):
        lp.central_path(*arguments)
