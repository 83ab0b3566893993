"""Descent does what its one line says, for any optimiser, seed by seed, and ends with a sentence."""

import jax
import numpy as np
import optax
import pytest

import layerpeel as lp

PROBLEM = lp.ulpm(K=4, n=3, d=5)
START = PROBLEM.init(seed=0, scale=0.3)

OPTIMIZERS = {
    "sgd": optax.sgd(0.5),
    "momentum": optax.sgd(0.5, momentum=0.9),
    "nesterov": optax.sgd(0.5, momentum=0.9, nesterov=True),
    "schedule": optax.sgd(optax.cosine_decay_schedule(0.5, 200)),
    "adam": optax.adam(1e-2),
    "adamw": optax.adamw(1e-2, weight_decay=1e-3),
    "lion": optax.lion(1e-3),
    "clipped": optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.5)),
    "accumulated": optax.MultiSteps(optax.sgd(0.5), every_k_schedule=2).gradient_transformation(),
    "polyak": optax.polyak_sgd(max_learning_rate=1.0),
    "lbfgs": optax.lbfgs(),
    "noisy": optax.chain(optax.add_noise(1e-3, 0.5, 0), optax.sgd(0.5)),
    "normalized": lp.normalized(1.0),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_any_optax_transformation_lowers_the_loss(optimizer):
    run = lp.descend(PROBLEM, START, optimizer, steps=60, record=5)
    assert run.outcome is lp.Outcome.COMPLETED
    assert float(run.metrics.loss[0, -1]) < 0.95 * float(run.metrics.loss[0, 0])
    assert float(run.metrics.loss[0, -1]) == pytest.approx(PROBLEM.objective(run.state), rel=1e-13)


def numpy_step(W, H, lr):
    """Gradient descent on the mean cross-entropy, written out."""
    Z = W @ H
    p = np.exp(Z - Z.max(0))
    p /= p.sum(0)
    G = (p - (np.arange(4)[:, None] == PROBLEM.labels)) / PROBLEM.N
    return W - lr * G @ H.T, H - lr * W.T @ G


def test_plain_descent_is_the_written_out_iteration():
    run = lp.descend(PROBLEM, START, optax.sgd(0.5), steps=50)
    W, H = START.W, START.H
    for _ in range(50):
        W, H = numpy_step(W, H, 0.5)
    np.testing.assert_allclose(run.state.W, W, rtol=1e-10)
    np.testing.assert_allclose(run.state.H, H, rtol=1e-10)


def test_seeds_side_by_side_are_the_single_runs():
    together = lp.descend(PROBLEM, PROBLEM.init(seed=range(3)), optax.sgd(0.5), steps=200, record=4)
    assert together.metrics.sizes == {"seed": 3, "record": 4}
    for seed in range(3):
        alone = lp.descend(PROBLEM, PROBLEM.init(seed=seed), optax.sgd(0.5), steps=200, record=4)
        np.testing.assert_allclose(together.state.H[seed], alone.state.H, rtol=1e-10, atol=1e-14)
        for field in ("loss", "duality_gap", "margin_ratio", "beta", "kkt_epsilon"):
            np.testing.assert_allclose(
                together.metrics[field][seed], alone.metrics[field][0], rtol=1e-8, equal_nan=True
            )


def test_named_steps_are_recorded_and_states_kept_when_asked():
    run = lp.descend(PROBLEM, START, optax.sgd(0.5), steps=20, record=[0, 7], keep_states=True)
    assert run.metrics.step.values.tolist() == [0, 7, 20]
    assert run.states.W.shape == (3, 4, 5)
    np.testing.assert_array_equal(run.states.W[0], START.W)
    np.testing.assert_array_equal(run.states.H[-1], run.state.H)
    assert PROBLEM.objective(jax.tree.map(lambda x: x[1], run.states)) == pytest.approx(float(run.metrics.loss[0, 1]))


def test_time_counts_steps_unless_a_step_has_its_own_time():
    counted = lp.descend(PROBLEM, START, optax.sgd(0.5), steps=100, record=3).metrics
    flowed = lp.descend(PROBLEM, START, optax.sgd(0.5), steps=100, record=3, time_step=0.5).metrics
    assert float(counted.log_time[-1]) == pytest.approx(np.log(100))
    assert float(flowed.log_time[-1]) == pytest.approx(np.log(50))
    assert float(flowed.loglog_time[-1]) == pytest.approx(np.log(np.log(50)))


def test_zero_steps_record_the_start():
    run = lp.descend(PROBLEM, START, optax.sgd(0.5), steps=0)
    assert run.metrics.step.values.tolist() == [0]
    np.testing.assert_array_equal(run.state.W, START.W)


def test_divergence_is_an_outcome_that_keeps_what_came_before():
    run = lp.descend(lp.ulpm(4, 3, 5, reduction="sum"), START, optax.sgd(1e200), steps=50, record=50)
    assert run.outcome is lp.Outcome.NONFINITE
    assert run.metrics.sizes["record"] >= 1
    assert np.isfinite(run.metrics.loss).all()
    assert np.isfinite(run.state.W).all()


def test_one_diverging_seed_does_not_take_the_others_along():
    huge = jax.tree.map(lambda x: x * 1e160, START)
    starts = jax.tree.map(lambda *x: np.stack(x), START, huge, PROBLEM.init(seed=1))
    run = lp.descend(PROBLEM, starts, optax.sgd(0.5), steps=100, record=[1, 50])
    assert run.outcome is lp.Outcome.NONFINITE
    finite = np.isfinite(run.metrics.loss.values[:, -1])
    assert finite.tolist() == [True, False, True]
    assert np.isfinite(run.state.H).all()


def test_states_too_large_to_measure_end_the_run_with_what_came_before():
    """Noise twice the gradient at a rate of 2 throws seeds to 1e88: finite, but beyond what can be measured."""
    problem = lp.ulpm(4, 1, 4, reduction="sum")
    start = 0.6 * np.kron(np.eye(2), [[1.0, -1.0], [-1.0, 1.0]])
    starts = lp.State(np.stack([start] * 6), np.stack([start] * 6))
    run = lp.descend(problem, starts, optax.sgd(2.0), 5000, record=2, noise=lp.GradientNoise(2.0))
    assert run.outcome is lp.Outcome.NONFINITE
    assert np.isfinite(run.metrics.loss[:, 0]).all()
    lost = np.isnan(run.metrics.loss[:, -1].values)
    assert 0 < lost.sum() < 6
    np.testing.assert_array_equal(run.state.W[lost], starts.W[lost])
    assert np.isfinite(run.metrics.margin_ratio.values[~lost]).all()


def test_a_single_state_too_large_to_measure_ends_the_run_too():
    run = lp.descend(PROBLEM, START, optax.sgd(1e80), steps=50, record=[0, 1, 50])
    assert run.outcome is lp.Outcome.NONFINITE
    assert run.metrics.step.values.tolist() == [0]


def test_a_run_that_shrinks_below_what_can_be_measured_is_not_said_to_have_grown_alone():
    problem = lp.ufm(4, 1, 4, 10.0, 10.0)
    run = lp.descend(problem, problem.init(0, scale=1e-3), optax.sgd(0.05), steps=3000)
    assert run.outcome is lp.Outcome.NONFINITE
    assert np.abs(run.state.H).max() < 1e-3
    assert "or shrank below them" in str(run)


def test_a_divergence_before_the_first_record_leaves_the_start():
    run = lp.descend(PROBLEM, START, optax.sgd(1e200), steps=50, record=[20], keep_states=True)
    assert run.outcome is lp.Outcome.NONFINITE
    assert run.metrics.step.values.tolist() == [0]
    np.testing.assert_array_equal(run.states.W, [START.W])


def test_a_start_too_large_to_measure_is_refused():
    with pytest.raises(ValueError, match="need features between"):
        lp.descend(PROBLEM, 1e80 * START, optax.sgd(0.1), steps=5)


def test_noise_is_reproducible_and_every_member_draws_its_own():
    twins = jax.tree.map(lambda x: np.stack([x, x]), START)
    noisy = [
        lp.descend(PROBLEM, twins, optax.sgd(0.5), steps=20, noise=lp.GradientNoise(0.1, seed=seed)).state.W
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert np.abs(noisy[0] - noisy[2]).max() > 1e-4
    assert np.abs(noisy[0][0] - noisy[0][1]).max() > 1e-4


def test_noise_has_the_relative_size_it_says():
    gradient = PROBLEM.gradient(START)
    norm = np.sqrt(np.sum(gradient.W**2) + np.sum(gradient.H**2))
    starts = jax.tree.map(lambda x: np.stack([x] * 400), START)
    moved = lp.descend(PROBLEM, starts, optax.sgd(1.0), steps=1, noise=lp.GradientNoise(0.3)).state
    noise2 = np.sum((START.W - moved.W - gradient.W) ** 2, (1, 2)) + np.sum(
        (START.H - moved.H - gradient.H) ** 2, (1, 2)
    )
    assert np.sqrt(noise2.mean()) == pytest.approx(0.3 * norm, rel=0.03)


def test_normalized_descent_is_its_formula_and_goes_past_underflow():
    rho2 = np.sum(START.W**2) + np.sum(START.H**2)
    slope = PROBLEM.log_gradient(START)
    one = lp.descend(PROBLEM, START, lp.normalized(0.7), steps=1).state
    np.testing.assert_allclose(one.W, START.W - 0.7 / rho2 * slope.W, rtol=1e-12)
    far = lp.descend(
        PROBLEM,
        jax.tree.map(lambda x: 100 * x, PROBLEM.optimum(rho2=1.0).state),
        lp.normalized(1.0),
        steps=10,
    )
    assert float(far.metrics.loss[0, -1]) == 0.0
    assert float(far.metrics.log_loss[0, -1]) < -900
    assert float(far.metrics.margin_ratio[0, -1]) == pytest.approx(1.0, abs=1e-12)


def test_normalized_descent_reaches_the_gap_of_the_reference_sheet():
    problem = lp.ulpm(K=5, n=10, d=20)
    last = lp.descend(problem, problem.init(seed=0), lp.normalized(4.0), steps=20_000).metrics.isel(seed=0, record=-1)
    assert 1 - float(last.margin_ratio) == pytest.approx(5.76e-4, rel=0.01)
    assert float(last.within_class_variation) == pytest.approx(3.27e-2, rel=0.01)


def test_beta_gap_and_kkt_epsilon_are_their_definitions():
    problem = lp.ulpm(K=4, n=3, d=5)
    run = lp.descend(problem, START, optax.sgd(2.0), steps=2000, record=2)
    g, s = problem.gradient(run.state), run.state
    inner = -np.vdot(g.W, s.W) - np.vdot(g.H, s.H)
    rho2, g2 = np.sum(s.W**2) + np.sum(s.H**2), np.sum(g.W**2) + np.sum(g.H**2)
    beta = inner / np.sqrt(rho2 * g2)
    last = run.metrics.isel(seed=0, record=-1)
    assert float(last.beta) == pytest.approx(beta, rel=1e-12)
    assert float(last.beta_gap) == pytest.approx(1 - beta, rel=1e-9)
    gamma = lp.margin(problem, s).q_min / rho2
    assert float(last.kkt_epsilon) == pytest.approx(np.sqrt(2 * (1 - beta) / gamma), rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"steps": -1}, "need an integer 0 <= steps <= 1,000,000,000,000,000, got steps=-1"),
        ({"steps": 1.5}, "need an integer 0 <= steps <= 1,000,000,000,000,000, got steps=1.5"),
        ({"steps": 10**20}, "need an integer 0 <= steps <= 1,000,000,000,000,000, got steps=1000"),
        ({"noise": 0.1}, "need noise to be a layerpeel.GradientNoise or None, got 0.1"),
        ({"record": 1}, "need record >= 2"),
        ({"record": [3, 50]}, "need recorded steps between 0 and 10, got 3 to 50"),
        ({"record": []}, "need record to be a count or a sequence of whole steps"),
        ({"record": [[1], [2, 3]]}, "need record to be a count or a sequence of whole steps"),
        ({"state": lp.State(np.zeros((0, 4, 5)), np.zeros((0, 5, 12)))}, "need at least one seed, got none"),
        ({"time_step": "a"}, "need time_step > 0 and finite, got time_step='a'"),
        ({"time_step": 0.0}, "need time_step > 0 and finite, got time_step=0.0"),
        ({"state": lp.State(START.W, START.H[:, :-1])}, r"need H of shape \(5, 12\), got \(5, 11\)"),
        ({"optimizer": 5.0}, "need an optax transformation, got 5.0"),
    ],
)
def test_impossible_runs_are_refused_in_one_sentence(arguments, sentence):
    arguments = {"state": START, "optimizer": optax.sgd(0.1), "steps": 10} | arguments
    with pytest.raises(ValueError, match=f"^{sentence}"):
        lp.descend(PROBLEM, **arguments)


@pytest.mark.parametrize("momentum", [0.9, 1, "no", None])
def test_momentum_is_a_switch_and_no_size(momentum):
    with pytest.raises(ValueError, match=r"^need momentum to be True or False, got momentum="):
        lp.normalized(momentum=momentum)


def test_noise_and_normalisation_refuse_impossible_sizes():
    with pytest.raises(ValueError, match="need c > 0 and finite, got c=0"):
        lp.normalized(0)
    with pytest.raises(ValueError, match=r"need relative >= 0, got relative=-0.1"):
        lp.GradientNoise(-0.1)
    with pytest.raises(ValueError, match=r"layerpeel\.descend supplies"):
        lp.normalized().update(START, lp.normalized().init(START), START)


def test_a_start_at_zero_has_no_direction_and_no_warning():
    run = lp.descend(PROBLEM, PROBLEM.init(scale=0.0), optax.sgd(0.5), steps=5)
    assert np.isnan(run.metrics.beta).all()
    np.testing.assert_allclose(run.metrics.loss, np.log(4), rtol=1e-15)


def test_with_a_bias_there_is_no_kkt_epsilon():
    problem = lp.ulpm(4, 3, 5, bias=True)
    run = lp.descend(problem, problem.init(seed=0), optax.sgd(2.0), steps=500, record=3)
    assert float(run.metrics.margin[0, -1]) > 0
    assert np.isnan(run.metrics.kkt_epsilon).all()
    assert (run.metrics.margin_ratio <= 1).all()


def test_only_a_problem_is_descended_on():
    with pytest.raises(ValueError, match=r"need a layerpeel\.Problem, got int"):
        lp.descend(3, START, optax.sgd(0.5), 10)
