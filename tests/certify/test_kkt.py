"""A KKT certificate is its definition, at every norm, for all multipliers; where there is none it says so."""

import inspect

import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import pytest
from jax import tree
from kkt_oracle import certificate, combination, feasible_point, margin_of, pairs, separating, softmax_multipliers

import layerpeel as lp

CASES = {
    "balanced": lp.ulpm(4, 3, 5),
    "unequal classes, d = K - 1": lp.ulpm(3, (1, 4, 2), 2, reduction="sum"),
    "more than d + 1 classes": lp.ulpm(5, 2, 2),
    "one margin a sample": lp.ulpm(2, 3, 1),
}
PROBLEM = CASES["balanced"]
each_case = pytest.mark.parametrize("problem", CASES.values(), ids=CASES)


class SumOfExponentials(lp.ExponentialTailed):
    """sum_j e^{-m_j}, whose slopes in the wrong classes are e^{-m_j}."""

    def value(self, Z, Y):
        return jnp.exp(self.log_value(Z, Y))

    def log_value(self, Z, Y):
        lead = Z - jnp.sum(jnp.where(Y > 0, Z, 0.0), axis=0)
        top = jnp.max(jnp.where(Y > 0, -jnp.inf, lead), axis=0)
        return top + jnp.log(jnp.sum(jnp.where(Y > 0, 0.0, jnp.exp(lead - top)), axis=0))


class OneAgainstRest(lp.ExponentialTailed):
    """A logistic loss a class: its slopes do not sum to 0 over the classes."""

    def value(self, Z, Y):
        return jnp.sum(jnp.logaddexp(0.0, jnp.where(Y > 0, -Z, Z)), axis=0)

    def log_value(self, Z, Y):
        return jnp.log(self.value(Z, Y))


class Squared(lp.Loss):
    def value(self, Z, Y):
        return jnp.sum((Z - Y) ** 2, axis=0)


@each_case
@pytest.mark.parametrize("scale", [0.7, 2.0, 10.0, 100.0], ids=lambda scale: f"scale {scale:g}")
def test_softmax_certificate_is_the_definition_by_loops(problem, scale):
    state = separating(problem, scale=scale)  # at scale 100 the loss is about e^-7000
    found = lp.kkt(problem, state)
    multipliers = softmax_multipliers(problem, state)
    np.testing.assert_allclose(found.multipliers, multipliers, rtol=1e-9, atol=1e-12 * multipliers.max())
    epsilon, delta = certificate(problem, state, multipliers)
    assert found.epsilon == pytest.approx(epsilon, rel=1e-11)
    assert found.delta == pytest.approx(delta, rel=1e-9)
    assert found.gap == pytest.approx(epsilon**2 / 2 + delta, rel=1e-10)
    assert found.feasible


@each_case
def test_any_multipliers_are_judged_by_the_definition(problem):
    state = separating(problem)
    multipliers = np.random.default_rng(0).exponential(size=(problem.K, problem.N)) * (problem.onehot == 0)
    found = lp.kkt(problem, state, multipliers=multipliers)
    assert (found.epsilon, found.delta) == pytest.approx(certificate(problem, state, multipliers), rel=1e-12)
    point = feasible_point(problem, state)
    residual = point - combination(problem, point, multipliers)
    np.testing.assert_allclose(found.residual.W, residual.W, atol=1e-13)
    np.testing.assert_allclose(found.residual.H, residual.H, atol=1e-13)
    np.testing.assert_allclose(found.point.H, point.H, rtol=1e-14)
    assert min(margin_of(problem, found.point, i, j) for i, j in pairs(problem)) == pytest.approx(1.0, rel=1e-14)


def test_with_a_seed_axis_every_number_is_that_of_its_seed():
    states = [separating(PROBLEM, 0), -1 * PROBLEM.init(3), separating(PROBLEM, 1, scale=3.0)]
    together = tree.map(lambda *x: np.stack(x), *states)
    for multipliers in ("softmax", "sharpest", np.full((4, 12), 0.1) * (PROBLEM.onehot == 0)):
        found = lp.kkt(PROBLEM, together, multipliers=multipliers)
        assert found.feasible.tolist() == [True, False, True]
        for seed, state in enumerate(states):
            alone = lp.kkt(PROBLEM, state, multipliers=multipliers)
            for name in ("epsilon", "delta", "gap", "beta_gap", "gamma", "smoothed_gamma", "q_min", "delta_bound"):
                np.testing.assert_allclose(getattr(found, name)[seed], getattr(alone, name), rtol=1e-9, err_msg=name)
            np.testing.assert_allclose(found.multipliers[seed], alone.multipliers, atol=1e-9)
            np.testing.assert_allclose(found.residual.H[seed], alone.residual.H, atol=1e-9)
    assert found.reason == "no KKT certificate for 1 of 3 seeds, q_min <= 0: 1"
    assert found.reason in str(found)


@pytest.mark.parametrize("multipliers", ["softmax", "sharpest"])
def test_the_reduction_of_the_loss_changes_nothing(multipliers):
    state = separating(PROBLEM, scale=2.0)
    mean, total = (
        lp.kkt(lp.ulpm(4, 3, 5, reduction=reduction), state, multipliers=multipliers) for reduction in ("mean", "sum")
    )
    for name in ("epsilon", "delta", "beta", "gamma", "smoothed_gamma"):
        assert getattr(mean, name) == pytest.approx(getattr(total, name), rel=1e-12), name


def test_a_rotation_changes_nothing():
    state = separating(PROBLEM, scale=2.0)
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    turned = lp.State(state.W @ Q, Q.T @ state.H)
    for multipliers in ("softmax", "sharpest"):
        here, there = (lp.kkt(PROBLEM, s, multipliers=multipliers) for s in (state, turned))
        np.testing.assert_allclose(here.multipliers, there.multipliers, atol=1e-11)
        assert here.gap == pytest.approx(there.gap, rel=1e-11)


def test_a_tiny_angle_does_not_cancel():
    best = PROBLEM.optimum("separation").state
    move = PROBLEM.init(seed=0, scale=1.0)
    slopes = [lp.kkt(PROBLEM, best + h * move).epsilon / h for h in (1e-5, 1e-6, 1e-8)]
    assert slopes[1] == pytest.approx(slopes[0], rel=1e-4)
    assert slopes[2] == pytest.approx(slopes[1], rel=1e-5)
    assert lp.kkt(PROBLEM, best + 1e-8 * move).beta_gap < 1e-14


@pytest.mark.parametrize("scale", [2.0, 10.0, 28.0, 100.0, 1000.0])
def test_the_smoothed_margin_is_exact_past_underflow(scale):
    state = separating(PROBLEM, scale=scale)
    with mpmath.workdps(50):
        loss = mpmath.fsum(
            mpmath.log1p(mpmath.fsum(mpmath.exp(-margin_of(PROBLEM, state, i, k)) for k in range(4) if k != y))
            for i, y in enumerate(PROBLEM.labels)
        )
        assert loss < mpmath.log(2)
        truth = float(-mpmath.log(mpmath.expm1(loss)) / state.squared_norm)
    assert lp.kkt(PROBLEM, state).smoothed_gamma == pytest.approx(truth, rel=1e-13)


def test_records_of_a_run_are_the_certificates_of_its_states():
    run = lp.descend(
        PROBLEM, PROBLEM.init(seed=range(2), scale=0.3), optax.sgd(2.0), steps=500, record=6, keep_states=True
    )
    for record in range(run.metrics.sizes["record"]):
        found = lp.kkt(PROBLEM, tree.map(lambda x, r=record: x[r], run.states))
        recorded = run.metrics.isel(record=record)
        for field, value in {
            "kkt_epsilon": found.epsilon,
            "kkt_delta": found.delta,
            "gamma": found.gamma,
            "smoothed_gamma": found.smoothed_gamma,
            "beta_gap": found.beta_gap,
        }.items():
            np.testing.assert_allclose(recorded[field], value, rtol=1e-10, err_msg=field)
    assert np.isnan(run.metrics.kkt_delta[:, 0]).all()
    assert np.isfinite(run.metrics[["kkt_epsilon", "kkt_delta", "gamma", "smoothed_gamma"]].isel(record=-1)).all()


@pytest.mark.parametrize(
    "other",
    [
        {"bias": True},
        {"loss": Squared()},
        {"regulariser": lp.Ridge(1e-3, 1e-3)},
        {"constraint": lp.NormBalls(100.0, 100.0)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_where_problem_5_is_not_the_limit_the_records_are_nan_and_the_certificate_is_refused(other):
    problem = lp.Problem(K=4, n=3, d=5, **other)
    state = separating(PROBLEM)
    state = lp.State(state.W, state.H, np.zeros(4)) if problem.bias else state
    metrics = lp.descend(problem, state, optax.sgd(0.01), steps=2, record=2).metrics
    assert (metrics.margin > 0).all()
    assert np.isnan(metrics[["kkt_epsilon", "kkt_delta", "gamma", "smoothed_gamma"]].to_array()).all()
    sentence = {
        "bias": "^need a problem without bias, whose margins are homogeneous, got one with$",
        "loss": r"^need a loss that falls to 0 exponentially, .* with log_value\), got Squared\(\)$",
        "regulariser": r"^need a problem without regulariser: .* the unconstrained model, got one with$",
        "constraint": r"^need a problem without constraint: .* the unconstrained model, got one with$",
    }
    with pytest.raises(ValueError, match=sentence[next(iter(other))]):
        lp.kkt(problem, state)


def test_another_loss_gives_its_own_multipliers_if_its_slopes_are_multipliers():
    problem = lp.ulpm(4, 3, 5, loss=SumOfExponentials())
    state = separating(PROBLEM, scale=3.0)
    found = lp.kkt(problem, state)
    p = np.zeros((4, 12))
    for i, j in pairs(problem):
        p[j, i] = np.exp(-margin_of(problem, state, i, j))
    p *= np.sqrt(state.squared_norm / combination(problem, state, p).squared_norm)
    np.testing.assert_allclose(found.multipliers, p, rtol=1e-11)
    assert found.epsilon == pytest.approx(np.sqrt(2 * found.beta_gap / found.gamma), rel=1e-11)
    assert np.isnan([found.smoothed_gamma, found.delta_bound, found.epsilon_bound]).all()
    assert lp.kkt(problem, state, multipliers="sharpest").gap == lp.kkt(PROBLEM, state, multipliers="sharpest").gap


def test_a_loss_whose_slopes_are_no_multipliers_is_refused_and_recorded_as_nan():
    problem = lp.ulpm(4, 3, 5, loss=OneAgainstRest())
    with pytest.raises(
        ValueError, match=r"^need a loss whose slopes are >= 0 .* and sum to 0 .*, got .*OneAgainstRest"
    ):
        lp.kkt(problem, separating(PROBLEM))
    metrics = lp.descend(problem, separating(PROBLEM), optax.sgd(0.01), steps=1, record=2).metrics
    assert np.isnan(metrics[["kkt_epsilon", "kkt_delta"]].to_array()).all()
    assert (metrics.gamma > 0).all()


ZERO_W = lp.State(np.zeros((4, 5)), np.ones((5, 12)))
ZERO_H = lp.State(np.ones((4, 5)), np.zeros((5, 12)))


@pytest.mark.parametrize(
    ("state", "q_min"),
    [
        (-1.0 * PROBLEM.init(seed=0, scale=1.0), r"-\d"),
        (ZERO_W, "0$"),
        (ZERO_H, "0$"),
        (PROBLEM.init(scale=0.0), "0$"),
    ],
    ids=["random", "W = 0", "H = 0", "theta = 0"],
)
@pytest.mark.parametrize(
    "multipliers", ["softmax", "sharpest", np.zeros((4, 12))], ids=["softmax", "sharpest", "given"]
)
def test_a_state_that_does_not_separate_has_no_certificate_and_says_so(state, q_min, multipliers):
    found = lp.kkt(PROBLEM, state, multipliers=multipliers)
    assert not found.feasible
    assert np.isnan([found.epsilon, found.delta, found.gap, found.delta_bound, found.printed_delta]).all()
    assert np.isnan(found.multipliers).all()
    assert str(found) == found.reason
    pattern = f"^no KKT certificate: need a state that separates the data, q_min > 0, got q_min={q_min}"
    with pytest.raises(ValueError, match=pattern):
        raise ValueError(found.reason)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("best", "need multipliers to be softmax, sharpest or an array, got 'best'"),
        (np.ones((4, 11)), r"need multipliers of shape \(4, 12\), got \(4, 11\)"),
        (object(), r"need multipliers of shape \(4, 12\), got object"),
        (-np.ones((4, 12)), "need multipliers >= 0 and finite, got some that are not"),
        (np.full((4, 12), np.nan), "need multipliers >= 0 and finite, got some that are not"),
        (np.ones((4, 12)), "need multipliers that are 0 at the labels, got others"),
    ],
)
def test_impossible_multipliers_are_refused(wanted, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        lp.kkt(PROBLEM, separating(PROBLEM), multipliers=wanted)


def test_only_a_problem_and_its_states_are_judged():
    unchecked = inspect.unwrap(lp.kkt)  # the type checker of the tests would speak first
    with pytest.raises(ValueError, match=r"^need a layerpeel\.Problem, got State$"):
        unchecked(separating(PROBLEM), PROBLEM)
    with pytest.raises(ValueError, match=r"^need W of shape \(4, 5\), got \(3, 2\)$"):
        lp.kkt(PROBLEM, separating(CASES["unequal classes, d = K - 1"]))
    with pytest.raises(ValueError, match=r"^need a state whose squared norm is finite in float64, got one beyond$"):
        lp.kkt(PROBLEM, separating(PROBLEM, scale=1e160))


def test_the_sharpest_certificate_is_the_same_from_the_smallest_to_the_largest_norms():
    gaps = [lp.kkt(PROBLEM, separating(PROBLEM, scale=scale), multipliers="sharpest").gap for scale in (1e-70, 1, 1e70)]
    np.testing.assert_allclose(gaps, gaps[1], rtol=1e-9)


def test_print_tells_each_number_and_what_it_means():
    found = lp.kkt(PROBLEM, separating(PROBLEM, scale=3.0))
    lines = {line.split("│")[1].strip(): line for line in str(found).splitlines() if line.startswith("│")}
    for name, value in {"epsilon": found.epsilon, "delta": found.delta, "gap": found.gap, "q_min": found.q_min}.items():
        assert f"{value:.6g}" in lines[name]
    assert "softmax multipliers" in str(found)
    assert "no bound in general" in lines["as printed"]
    early = str(lp.kkt(PROBLEM, separating(PROBLEM, scale=0.7)))
    assert "undefined: needs the summed cross-entropy L < log 2" in early
    assert "as printed" not in str(lp.kkt(PROBLEM, separating(PROBLEM), multipliers="sharpest"))
