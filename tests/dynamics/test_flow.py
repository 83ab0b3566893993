"""The gradient flow agrees with exact solutions, other integrators and small steps, in log t far past underflow."""

import sys

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import pytest
from scipy.integrate import solve_ivp

import layerpeel as lp
from layerpeel.dynamics import cvode

M = np.kron(np.eye(2), np.array([[1.0, -1.0], [-1.0, 1.0]]))


def etf(problem, q):
    unit = problem.optimum("separation").state
    return np.sqrt(q) * unit


def logit(problem, state):
    return lp.margin(problem, state).q_min


def exact_logit(K, n, start, log_time):
    """q of the ETF ray from Ei(q) + (K-1) ln q = 2 sqrt(n) K t + const, with t beyond the range of float64."""
    left = lambda q: mpmath.ei(q) + (K - 1) * mpmath.log(q)  # noqa: E731
    right = left(mpmath.mpf(start)) + 2 * mpmath.sqrt(n) * K * mpmath.exp(log_time)
    return float(mpmath.findroot(lambda q: mpmath.log(left(q)) - mpmath.log(right), log_time + np.log(log_time)))


@pytest.mark.parametrize(
    ("K", "n", "start", "time", "golden"),
    [
        (4, 1, 0.5, 1, 1.8715910693),
        (4, 1, 0.5, 10, 5.7912753023),
        (4, 1, 0.5, 1000, 11.3058762103),
        (5, 10, 1.0, 1, 4.4791588346),
    ],
)
def test_the_etf_ray_has_its_golden_logits(K, n, start, time, golden):
    problem = lp.ulpm(K, n, K, reduction="sum")
    run = lp.flow(problem, etf(problem, start), time=time, rtol=1e-13, atol=1e-15)
    assert run.outcome is lp.Outcome.REACHED
    assert logit(problem, run.state) == pytest.approx(golden, abs=3e-10)


@pytest.mark.parametrize("log_time", [30.0, 700.0, 10_000.0])
def test_the_etf_ray_is_exact_far_past_underflow(log_time):
    problem = lp.ulpm(5, 10, 6, reduction="sum")
    run = lp.flow(problem, etf(problem, 1.0), log_time=log_time)
    assert logit(problem, run.state) == pytest.approx(exact_logit(5, 10, 1.0, log_time), abs=1e-5, rel=1e-8)


def test_the_mean_runs_in_a_time_N_times_that_of_the_sum():
    mean, total = lp.ulpm(4, 3, 5), lp.ulpm(4, 3, 5, reduction="sum")
    start = mean.init(0, scale=0.3)
    a = lp.flow(mean, start, log_time=20.0 + np.log(12)).state
    b = lp.flow(total, start, log_time=20.0).state
    np.testing.assert_allclose(a.W, b.W, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("time", "golden"), [(1, 1.7887582687), (20, 5.8915981962)])
def test_the_ray_of_example_3_1_has_its_golden_logits(time, golden):
    problem = lp.ulpm(4, 1, 4, reduction="sum")
    run = lp.flow(problem, lp.State(0.6 * M, 0.6 * M), time=time, rtol=1e-13, atol=1e-15)
    C = run.state.W[0, 0]
    np.testing.assert_allclose(run.state.W, C * M, atol=1e-9)
    np.testing.assert_allclose(2 * C**2, golden, rtol=0, atol=3e-10)


def test_along_a_kkt_ray_the_loss_is_1_over_4_gamma_t_log_t():
    problem = lp.ulpm(4, 1, 4, reduction="sum")
    run = lp.flow(problem, lp.State(0.6 * M, 0.6 * M), log_time=5000.0, record=[50.0, 500.0])
    log_time = run.metrics.log_time.values
    gamma = 1 / 8
    error = run.metrics.log_loss.values[0] + np.log(4 * gamma) + log_time + np.log(log_time)
    assert np.abs(error).max() < 2 * np.log(50) / 50
    assert abs(error[-1]) < 0.01 * abs(error[0]) * 3


PROBLEM = lp.ulpm(3, (2, 1, 3), 3, reduction="sum")
START = PROBLEM.init(seed=2, scale=0.4)


def written_out_gradient(problem, W, H):
    """The gradient of the summed cross-entropy relative to the loss, and the log of the loss, by hand."""
    Z = W @ H
    y = problem.labels
    lead = Z - Z[y, np.arange(problem.N)]
    wrong = np.where(np.arange(problem.K)[:, None] == y, -np.inf, lead)
    top = wrong.max()
    odds = np.exp(wrong - top)
    p = odds / (1 + np.exp(wrong).sum(0))  # p e^top
    log_loss = top + np.log(np.sum(np.log1p(np.exp(wrong).sum(0)))) - top if top > -30 else top + np.log(odds.sum())
    G = (p - np.where(np.arange(problem.K)[:, None] == y, p.sum(0), 0.0)) * np.exp(top - log_loss)
    return G @ H.T, W.T @ G, log_loss


def oracle(problem, start, *, log_time):
    """scipy's BDF with a dense difference Jacobian, in ds = L dt, stopped where log t is wanted."""
    shape = start.W.shape

    def field(s, y):
        W, H = y[: start.W.size].reshape(shape), y[start.W.size : -1].reshape(start.H.shape)
        gW, gH, log_loss = written_out_gradient(problem, W, H)
        return np.concatenate([-gW.ravel(), -gH.ravel(), [np.exp(-log_loss - y[-1])]])

    def arrived(s, y):
        return y[-1] - np.logaddexp(0, log_time)

    arrived.terminal = True
    y0 = np.concatenate([start.W.ravel(), start.H.ravel(), [0.0]])
    y = solve_ivp(field, (0, 1e6), y0, method="BDF", rtol=1e-9, atol=1e-11, events=arrived).y[:, -1]
    return y[: start.W.size].reshape(shape), y[start.W.size : -1].reshape(start.H.shape)


@pytest.mark.parametrize("log_time", [1.0, 20.0, 300.0])
def test_it_is_the_flow_of_another_integrator_with_a_written_out_gradient(log_time):
    W, H = oracle(PROBLEM, START, log_time=log_time)
    run = lp.flow(PROBLEM, START, log_time=log_time)
    np.testing.assert_allclose(run.state.W, W, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(run.state.H, H, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("bias", [False, True])
def test_descent_with_small_steps_comes_to_it_at_first_order(bias):
    problem = lp.ulpm(4, 3, 5, bias=bias)
    start = problem.init(seed=0, scale=0.5)
    exact = lp.flow(problem, start, time=20.0).state
    errors = [
        np.sqrt((lp.descend(problem, start, optax.sgd(20 / k), steps=k, record=2).state - exact).squared_norm)
        for k in (200, 400, 800)
    ]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.1)


def test_its_error_falls_with_the_tolerance():
    problem = lp.ulpm(5, 2, 5, reduction="sum")
    exact = exact_logit(5, 2, 1.0, 50.0)
    errors = [
        abs(logit(problem, lp.flow(problem, etf(problem, 1.0), log_time=50.0, rtol=r, atol=r / 100).state) - exact)
        for r in (1e-4, 1e-6, 1e-8, 1e-10)
    ]
    order = -np.polyfit(range(4), np.log(errors) / np.log(100), 1)[0]
    assert 0.6 < order < 1.2
    assert errors[-1] < 1e-8


def test_conserved_quantities_are_kept_to_1e_8_of_their_scale():
    for problem in (lp.ulpm(5, 10, 20), lp.ulpm(4, (7, 2, 1, 3), 3), lp.ulpm(3, 4, 5, bias=True)):
        run = lp.flow(problem, problem.init(range(4), scale=0.3), log_time=1e4)
        assert run.outcome is lp.Outcome.REACHED
        assert float(run.metrics.balance_drift.max()) < 1e-8
        assert float(run.metrics.column_sum_drift.max()) < 1e-12


def test_a_loose_tolerance_is_found_out_by_what_is_conserved():
    problem = lp.ulpm(5, 10, 20)
    run = lp.flow(problem, problem.init(0), log_time=1e3, rtol=1e-2, atol=1e-2)
    assert run.outcome in (lp.Outcome.DRIFTED, lp.Outcome.STALLED)
    assert float(run.metrics.balance_drift.max()) > 1e-4


def test_seeds_are_their_single_flows_and_so_they_are_in_other_processes():
    problem = lp.ulpm(4, 3, 5)
    starts = problem.init(range(3), scale=0.2)
    together = lp.flow(problem, starts, log_time=100.0, record=6, keep_states=True)
    apart = lp.flow(problem, starts, log_time=100.0, record=6, keep_states=True, workers=2)
    alone = lp.flow(problem, problem.init(1, scale=0.2), log_time=100.0, record=6)
    assert together.metrics.sizes == {"seed": 3, "record": 6}
    assert together.states.H.shape == (6, 3, 5, 12)
    np.testing.assert_array_equal(together.state.W[1], alone.state.W)
    np.testing.assert_array_equal(together.state.W, apart.state.W)
    np.testing.assert_array_equal(together.states.H, apart.states.H)
    assert together.metrics.equals(apart.metrics)


def test_records_are_where_they_were_asked_for():
    run = lp.flow(PROBLEM, START, log_time=50.0, record=[-1.0, 3.0, 20.0], keep_states=True)
    assert run.metrics.log_time.values.tolist() == [-1.0, 3.0, 20.0, 50.0]
    for i, log_time in enumerate([-1.0, 3.0]):
        there = lp.flow(PROBLEM, START, log_time=log_time).state
        np.testing.assert_allclose(run.states.W[i], there.W, rtol=1e-6, atol=1e-7)


def test_log_log_time_and_time_are_other_names_of_the_same_end():
    ends = [{"loglog_time": 2.0}, {"log_time": np.exp(2.0)}, {"time": np.exp(np.exp(2.0))}]
    states = [lp.flow(PROBLEM, START, **end).state for end in ends]
    for state in states[1:]:
        np.testing.assert_allclose(state.H, states[0].H, rtol=1e-7, atol=1e-8)


def test_a_flow_goes_on_from_where_it_stands():
    halfway = lp.flow(PROBLEM, START, log_time=10.0)
    whole = lp.flow(PROBLEM, START, log_time=200.0)
    rest = lp.flow(PROBLEM, halfway.state, since=10.0, log_time=200.0)
    assert rest.metrics.log_time.values[0] == 10.0
    np.testing.assert_allclose(rest.state.W, whole.state.W, rtol=1e-6)


def test_a_regularised_flow_comes_to_rest_at_the_optimum():
    problem = lp.Problem(4, 5, 6, regulariser=lp.Ridge(5e-3, 5e-3))
    run = lp.flow(problem, problem.init(0), log_time=100.0)
    assert run.outcome is lp.Outcome.RESTED
    assert run.metrics.log_time.values[-1] == 100.0
    assert float(run.metrics.loss[0, -1]) == pytest.approx(0.183691995718, abs=1e-12)
    assert "balance_drift" not in run.metrics


@pytest.mark.parametrize("time", [50.0, 120.0])
def test_a_flow_to_zero_keeps_its_direction_however_small_it_is(time):
    """lam_W = lam_H = 1 is beyond what any collapse is worth. Near 0 the flow is linear, along its slowest mode
    e^{-(1 - s)t}, s the norm of the gradient in Z there: NC1 falls, and the margin ratio tends to a constant."""
    problem = lp.ufm(3, 2, 4, 1.0, 1.0)
    run = lp.flow(problem, problem.init(0), time=time, record=[0.0, np.log(time) - 0.1])
    W, H = run.state.W, run.state.H
    Y = problem.onehot
    G = (1 / 3 - Y) / problem.N  # dL/dZ at Z = 0
    slowest = np.linalg.svd(-G)[1][0]
    rate = -0.5 * np.log(run.state.squared_norm / lp.flow(problem, problem.init(0), time=time - 1).state.squared_norm)
    assert rate == pytest.approx(1 - slowest, abs=1e-6)
    np.testing.assert_allclose(-G @ H.T, slowest * W, atol=1e-5 * np.linalg.norm(W))


@pytest.mark.parametrize("nonneg", [False, True])
def test_a_flow_to_zero_rests_there(nonneg):
    problem = lp.ufm(3, 2, 4, 1.0, 1.0, nonneg=nonneg)
    run = lp.flow(problem, problem.init(0), time=1e3)
    assert run.outcome is lp.Outcome.RESTED
    assert float(run.metrics.loss[0, -1]) == pytest.approx(np.log(3))
    assert np.isfinite(run.metrics.within_class_variation).all()


@pytest.mark.parametrize("log_time", [-100.0, -600.0, -745.0])
def test_the_shortest_times_are_reached(log_time):
    """Where t is below the rounding of the start, the start is the answer."""
    run = lp.flow(PROBLEM, START, log_time=log_time)
    assert run.outcome is lp.Outcome.REACHED
    np.testing.assert_allclose(run.state.W, START.W, rtol=1e-15)


class Exponential(lp.Loss):
    def value(self, Z, Y):
        return jnp.sum(jnp.exp(Z - jnp.sum(Y * Z, axis=0)), axis=0) - 1


class Broken(lp.Loss):
    def value(self, Z, Y):
        return jnp.sqrt(0.05 - jnp.sum(Z**2, axis=0))


def test_any_loss_flows_in_log_time_until_it_underflows():
    problem = lp.ulpm(4, 5, 8, loss=Exponential())
    run = lp.flow(problem, problem.init(0), log_time=15.0)
    assert run.outcome is lp.Outcome.REACHED
    assert float(run.metrics.loss[0, -1]) < 1e-6
    with pytest.raises(ValueError, match=r"need log t <= 700 for Exponential, a loss without its logarithm"):
        lp.flow(problem, problem.init(0), log_time=1e4)


def test_a_loss_that_leaves_the_numbers_ends_the_flow_with_a_sentence():
    problem = lp.Problem(3, 2, 3, loss=Broken())
    run = lp.flow(problem, problem.init(0, scale=0.2), time=1e6)
    assert run.outcome in (lp.Outcome.NONFINITE, lp.Outcome.STALLED)
    assert run.metrics.sizes["record"] >= 1


def test_an_integrator_that_gets_nowhere_is_an_outcome(monkeypatch):
    monkeypatch.setattr(cvode, "MOST_STEPS", 30)
    run = lp.flow(PROBLEM, START, log_time=1e4, record=5)
    assert run.outcome is lp.Outcome.STALLED
    assert 1 <= run.metrics.sizes["record"] < 5


def test_a_first_record_that_is_not_reached_gets_a_sentence(monkeypatch):
    monkeypatch.setattr(cvode, "MOST_STEPS", 30)
    with pytest.raises(ValueError, match=r"^need a first record that the flow reaches, got log t = 10000: The in"):
        lp.flow(PROBLEM, START, log_time=1e4, record=[1e4])


def test_the_origin_is_a_critical_point_where_the_flow_stays():
    problem = lp.ulpm(4, 2, 5)
    run = lp.flow(problem, 0.0 * problem.init(0), log_time=100.0, record=5)
    assert run.outcome is lp.Outcome.RESTED
    assert run.metrics.sizes["record"] == 5
    assert run.state.squared_norm == 0.0
    assert float(run.metrics.loss[0, -1]) == pytest.approx(np.log(4))


def test_three_classes_on_a_line_cannot_be_separated_and_the_flow_says_how_far_it_came(monkeypatch):
    """The loss tends to a positive number, so that s grows like t itself and log t = 1000 is out of reach."""
    monkeypatch.setattr(cvode, "MOST_STEPS", 1500)
    problem = lp.ulpm(3, 2, 1)
    run = lp.flow(problem, problem.init(0), log_time=1e3)
    assert run.outcome is lp.Outcome.STALLED
    assert 5 < float(run.metrics.log_time[-1]) < 1e3
    assert float(run.metrics.loss[0, -1]) > 0.1


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({}, "need one of log_time, loglog_time, time, got none"),
        ({"log_time": 3.0, "time": 2.0}, "got log_time and time"),
        ({"log_time": float("nan")}, "need log_time to be a number, got log_time=nan"),
        ({"log_time": "soon"}, "need log_time to be a number, got log_time='soon'"),
        ({"log_time": 1e300}, "need log t <= 1e\\+07, beyond which float64 stalls the integrator, got 1e\\+300"),
        ({"loglog_time": 1e9}, "need log t <= 1e\\+07"),
        ({"log_time": float("-inf")}, "need an end after since"),
        ({"time": 0.0}, "need time > 0, got time=0.0"),
        ({"log_time": 3.0, "since": 4.0}, "need an end after since, got log t = 3 and since=4"),
        ({"log_time": 3.0, "rtol": 0.0}, "need rtol > 0 and finite, got rtol=0.0"),
        ({"log_time": 3.0, "rtol": 1e-20}, "need rtol >= 1e-15, the rounding of float64, got rtol=1e-20"),
        ({"log_time": 3.0, "atol": float("inf")}, "need atol > 0 and finite"),
        ({"log_time": 3.0, "record": 1}, "need record >= 2"),
        ({"log_time": 3.0, "record": [5.0]}, "need recorded log t between -inf and 3, got 5 to 5"),
        ({"log_time": 3.0, "workers": 0}, "need workers >= 1 and an integer, got workers=0"),
        ({"log_time": 3.0, "workers": 1.0}, "need workers >= 1 and an integer, got workers=1.0"),
        ({"log_time": 10**400}, "need log t <= 1e\\+07, beyond which float64 stalls the integrator, got inf"),
        ({"loglog_time": 10**400}, "need log t <= 1e\\+07, beyond which float64 stalls the integrator"),
        ({"log_time": 3.0, "since": 10**400}, "need an end after since, got log t = 3 and since=inf"),
        ({"log_time": 3.0, "since": "soon"}, "need since to be a number, got since='soon'"),
        ({"log_time": 3.0, "rtol": 10**400}, "need rtol > 0 and finite, got rtol=1000"),
        ({"log_time": 3.0, "record": [[1.0], [2.0, 3.0]]}, "need record to be a count or a sequence of log t"),
    ],
    ids=str,
)
def test_wrong_calls_get_a_sentence(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        lp.flow(PROBLEM, START, **wrong)


def test_a_time_beyond_float64_is_its_logarithm():
    until = float(lp.flow(PROBLEM, START, time=10**400, record=2).metrics.log_time[-1])
    assert until == pytest.approx(400 * np.log(10), rel=1e-15)


def test_numpy_counts_workers_too():
    assert lp.flow(PROBLEM, START, log_time=1.0, workers=np.int64(1)).outcome is lp.Outcome.REACHED


def test_no_seeds_are_refused():
    none = lp.State(np.zeros((0, *START.W.shape)), np.zeros((0, *START.H.shape)))
    with pytest.raises(ValueError, match=r"^need at least one seed, got none$"):
        lp.flow(PROBLEM, none, log_time=3.0)


def test_a_foreign_state_is_refused():
    with pytest.raises(ValueError, match=r"need W of shape \(3, 3\)"):
        lp.flow(PROBLEM, lp.ulpm(4, 2, 3).init(0), time=1.0)


def test_the_farthest_end_is_reached_and_one_beyond_it_stalls_without_a_word_of_sundials(monkeypatch, capfd):
    problem = lp.ulpm(5, 10, 20)
    run = lp.flow(problem, problem.init(0), log_time=1e7, record=4)
    assert run.outcome is lp.Outcome.REACHED
    assert float(run.metrics.margin_ratio[0, -1]) > 1 - 1e-7
    monkeypatch.setattr(sys.modules["layerpeel.dynamics.flow"], "FARTHEST", 1e12)
    assert lp.flow(problem, problem.init(0), log_time=3e7, record=4).outcome is lp.Outcome.STALLED
    assert capfd.readouterr() == ("", "")


def test_nothing_is_left_behind():
    assert not jax.config.jax_enable_x64
    assert "SUNLOGGER_ERROR_FILENAME" not in __import__("os").environ


def test_a_time_that_rounding_puts_before_the_last_step_is_found():
    """Asking for the number next to the end of a step."""
    problem = lp.ulpm(3, 2, 3)
    for seed in range(5):
        times = [5.0, 5.0 + 1e-15 * 5 * (1 + seed), 5.1]
        assert lp.flow(problem, problem.init(seed), log_time=6.0, record=sorted({*times})).outcome is lp.Outcome.REACHED
