"""Exponents of log t: exact on exact powers, honest error bars, and a note for what has no exponent."""

import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import xarray

from layerpeel.collapse.rates import rates


def run(fields, log_time=None, seeds=1):
    """A dataset in the record schema; a field is a function of log t or an array (seed, record)."""
    log_time = np.log(np.unique(np.geomspace(2, 1e5, 60).round())) if log_time is None else np.asarray(log_time)
    values = {
        name: np.broadcast_to(f(log_time) if callable(f) else f, (seeds, len(log_time))) for name, f in fields.items()
    }
    return xarray.Dataset(
        {name: (("seed", "record"), array) for name, array in values.items()},
        coords={"seed": np.arange(seeds), "log_time": ("record", log_time)},
    )


def slope_by_polyfit(x, y):
    return np.polyfit(x, y, 1)[0]


@pytest.mark.parametrize("exponent", [-1.0, -0.5, -2.0, -1 / 3, 1.0])
@pytest.mark.parametrize("scale", [1e-250, 1.0, 3e7])
@pytest.mark.parametrize("window", [None, (2.0, 9.0)])
def test_an_exact_power_of_log_t_is_recovered_to_1e_12(exponent, scale, window):
    found = rates(run({"gap": lambda u: scale * u**exponent}, seeds=3), window=window)
    assert found["gap"].value == pytest.approx(exponent, abs=1e-12)
    assert found["gap"].stderr == pytest.approx(0, abs=1e-12)
    assert found["gap"].r2 == pytest.approx(1, abs=1e-12)
    assert found["gap"].seeds == 3
    np.testing.assert_allclose(found.local_slopes["gap"], exponent, atol=1e-10)


def test_a_flow_to_log_t_of_e_to_the_10_is_fitted_like_a_descent():
    log_time = np.exp(np.linspace(0, 10, 50))
    found = rates(run({"gap": lambda u: 1 / (u + 5)}, log_time))
    assert found.window == pytest.approx((np.exp(10 * 25 / 49), np.exp(10)))
    assert found["gap"].value == pytest.approx(slope_by_polyfit(np.log(log_time[25:]), -np.log(log_time[25:] + 5)))
    # -1 is approached from above along the run, as the local slopes -u / (u + 5) tell.
    np.testing.assert_allclose(found.local_slopes["gap"][0, 1:-1], (-log_time / (log_time + 5))[1:-1], atol=5e-3)


def test_the_default_window_is_the_last_half_of_log_log_t_from_e_on():
    log_time = np.concatenate([[-np.inf, 0.0, 0.5], np.exp(np.linspace(0, 4, 21))])
    found = rates(run({"gap": lambda u: np.where(u > np.exp(1.99), np.exp(-u), 7.0)}, log_time))
    assert found.window == pytest.approx((np.exp(2), np.exp(4)))
    assert found.records == 11
    u = np.exp(np.linspace(2, 4, 11))
    assert found["gap"].value == pytest.approx(slope_by_polyfit(np.log(u), -u))


def test_a_stated_window_is_respected_at_both_ends():
    kinked = run({"gap": lambda u: np.select([u < 3, u > 8], [u**-5.0, u**9.0], u**-0.5)})
    found = rates(kinked, window=(3, 8))
    assert found["gap"].value == pytest.approx(-0.5, abs=1e-12)
    assert 3 <= found.window[0] < found.window[1] <= 8
    assert rates(kinked, window=(3, 12))["gap"].value > 0


def test_a_window_that_ends_on_records_keeps_them():
    log_time = np.log([10.0, 100.0, 1000.0])
    assert rates(run({"gap": lambda u: 1 / u}, log_time), window=(np.log(10), 3 * np.log(10))).records == 3


def test_records_before_e_are_left_out_even_of_a_stated_window():
    log_time = np.concatenate([[0.0, 0.25, 0.5, 0.999], np.linspace(1, 9, 9)])
    found = rates(run({"gap": lambda u: np.where(u < 1, np.nan, 1 / np.maximum(u, 1))}, log_time), window=(-1, 9))
    assert found.records == len(found.log_time) == 9
    assert found["gap"].value == pytest.approx(-1, abs=1e-12)


def test_the_standard_error_covers_the_true_exponent_in_95_of_100_experiments():
    rng, trials, seeds = np.random.default_rng(0), 400, 64
    u = np.exp(np.linspace(0, 2.4, 12))
    slopes = -1 + 0.1 * rng.standard_normal((trials, seeds, 1))
    noise = 0.05 * rng.standard_normal((trials, seeds, len(u)))
    found = [rates(run({"gap": u**s * np.exp(e)}, u, seeds))["gap"] for s, e in zip(slopes, noise, strict=True)]
    covered = np.mean([abs(exponent.value + 1) < 1.998 * exponent.stderr for exponent in found])
    assert covered == pytest.approx(0.95, abs=0.033)  # three binomial standard deviations
    spread = np.std([exponent.value for exponent in found])
    assert np.mean([exponent.stderr for exponent in found]) == pytest.approx(spread, rel=0.1)


def test_one_seed_carries_the_standard_error_of_its_regression_and_says_so():
    rng, trials = np.random.default_rng(1), 400
    u = np.exp(np.linspace(0, 2.4, 40))
    found = [rates(run({"gap": u**-1.0 * np.exp(0.1 * rng.standard_normal((1, 40)))}, u))["gap"] for _ in range(trials)]
    covered = np.mean([abs(exponent.value + 1) < 2.10 * exponent.stderr for exponent in found])
    assert covered == pytest.approx(0.95, abs=0.033)
    assert found[0].note == "one seed: ± of its regression"


def test_several_seeds_are_averaged_after_the_fit():
    rng = np.random.default_rng(2)
    u = np.exp(np.linspace(0, 2, 9))
    gaps = rng.random((5, 9)) + 0.5
    found = rates(run({"gap": gaps}, u, 5), window=(1, 10))["gap"]
    slopes = [slope_by_polyfit(np.log(u), np.log(gap)) for gap in gaps]
    assert found.value == pytest.approx(np.mean(slopes))
    assert found.stderr == pytest.approx(np.std(slopes, ddof=1) / np.sqrt(5))


def test_the_gaps_of_the_margin_ratio_and_of_beta_stand_for_them():
    fields = {
        "margin_ratio": lambda u: 1 - 0.3 / u,
        "beta": lambda u: 1 - 0.2 / u,
        "loss": lambda u: np.exp(-u),
    }
    constant = dict.fromkeys(("gamma", "smoothed_gamma"), lambda u: 0.03 - 0.01 / u)
    found = rates(run({**fields, **constant, "log_loss": lambda u: -u, "margin": lambda u: 2 * u}))
    assert found.exponents.keys() == {"margin_gap", "beta_gap", "margin"}
    assert found["margin_gap"].value == pytest.approx(-1, abs=1e-12)
    assert found["beta_gap"].value == pytest.approx(-1, abs=1e-12)


def test_a_recorded_gap_goes_before_one_that_has_cancelled():
    found = rates(run({"beta": lambda u: 1 - 1e-17 / u, "beta_gap": lambda u: 1e-17 / u}))
    assert found["beta_gap"].value == pytest.approx(-1, abs=1e-12)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (0.0, "1 of 1 seeds left out: not positive and finite"),
        (-1.0, "1 of 1 seeds left out: not positive and finite"),
        (np.nan, "1 of 1 seeds left out: not positive and finite"),
        (np.inf, "1 of 1 seeds left out: not positive and finite"),
        (2.0, "1 of 1 seeds left out: constant"),
    ],
)
def test_data_without_an_exponent_give_nan_and_a_note(bad, reason):
    found = rates(run({"gap": lambda u: bad + 0 * u, "good": lambda u: 1 / u}))
    assert np.isnan([found["gap"].value, found["gap"].stderr, found["gap"].r2]).all()
    assert (found["gap"].seeds, found["gap"].note) == (0, reason)
    assert found["good"].value == pytest.approx(-1, abs=1e-12)


def test_a_seed_that_fails_in_the_window_is_left_out_of_its_field_alone():
    u = np.exp(np.linspace(0, 2, 9))
    gaps = u ** -np.array([[1.0], [1.0], [9.0], [9.0]])
    gaps[2, -1], gaps[3] = np.nan, 4.0
    found = rates(run({"gap": gaps, "other": lambda u: u**-0.5}, u, 4))
    assert found["gap"].value == pytest.approx(-1, abs=1e-12)
    assert found["gap"].seeds == 2
    assert found["gap"].note == "1 of 4 seeds left out: not positive and finite; 1 of 4 seeds left out: constant"
    assert found["other"].seeds == 4


def test_a_value_that_fails_before_the_window_costs_only_its_local_slopes():
    u = np.exp(np.linspace(0, 2, 9))
    gap = u[None] ** -1.0
    gap[0, 1] = 0.0
    found = rates(run({"gap": gap}, u))
    assert found["gap"].value == pytest.approx(-1, abs=1e-12)
    assert np.isnan(found.local_slopes["gap"][0]).tolist() == [True, True, True] + [False] * 6


def test_a_run_is_as_good_as_its_metrics():
    metrics = run({"gap": lambda u: 1 / u})
    assert rates(SimpleNamespace(metrics=metrics)).pairs() == rates(metrics).pairs()
    value, stderr = rates(metrics).pairs()["gap"]
    assert value == pytest.approx(-1, abs=1e-12)
    assert stderr == pytest.approx(0, abs=1e-12)


def test_the_table_states_fields_errors_and_window():
    rng = np.random.default_rng(3)
    table = str(rates(run({"duality_gap": rng.random((8, 50)) + 1}, np.exp(np.linspace(0, 3, 50)), 8)))
    assert "over 4.621 <= log t <= 20.09, 25 records" in table
    assert "duality_gap" in table
    assert "±" in table
    assert "8" in table


POWER = run({"gap": lambda u: 1 / u})


@pytest.mark.parametrize(
    ("metrics", "window", "sentence"),
    [
        (
            POWER.isel(record=slice(-3, None)),
            None,
            "need at least 3 records with .* <= log t <= 11.5129, got 2",
        ),
        (POWER.isel(record=slice(0, 1)), None, "need at least 3 records with 1 <= log t <= inf, got 0"),
        (POWER, (5, 5.1), r"need at least 3 records with 5 <= log t <= 5.1, got \d$"),
        (POWER, (5, 3), r"need a window \(low, high\) of log t with low < high, got \(5, 3\)"),
        (POWER, 5, r"need a window \(low, high\) of log t with low < high, got 5"),
        (POWER, ("a", "b"), r"need a window \(low, high\) of log t with low < high, got \('a', 'b'\)"),
        (POWER, [[1], [2, 3]], r"need a window \(low, high\) of log t with low < high, got \[\[1\], \[2, 3\]\]"),
        (POWER, (1, 10**400), r"need a window \(low, high\) of log t with low < high, got \(1, 1000"),
        (POWER.isel(record=slice(None, None, -1)), None, "need a log_time that increases"),
        (POWER.drop_vars("log_time"), None, r"need .* coordinate log_time, got \['seed'\]"),
        ([1, 2, 3], None, "need a run or its metrics dataset, got list"),
    ],
)
def test_a_wrong_call_is_one_sentence(metrics, window, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        rates(metrics, window=window)


def test_a_field_without_an_exponent_is_refused():
    with pytest.raises(ValueError, match=r"^need one of the fields gap, got 'foo'$"):
        _ = rates(POWER)["foo"]


def test_a_variable_that_is_no_name_is_refused():
    unchecked = inspect.unwrap(rates)  # the type checker of the tests would speak first
    with pytest.raises(ValueError, match=r"^need variable to be one of log_time, step, got \['step'\]$"):
        unchecked(POWER, variable=["step"])


STEPS = np.unique(np.geomspace(1, 1e5, 60).round())
STEPPED = xarray.Dataset(
    {
        "gap": (("seed", "record"), np.append(1.0, STEPS**-2.0)[None]),
        "margin_ratio": (("seed", "record"), 1 - np.append(0.9, 0.1 / STEPS)[None]),
    },
    coords={"seed": [0], "step": ("record", np.append(0, STEPS))},
)


def test_exponents_of_the_steps_need_no_log_time_and_leave_out_step_0():
    found = rates(STEPPED, variable="step")
    assert found["gap"].value == pytest.approx(-2, abs=1e-12)
    assert found["margin_gap"].value == pytest.approx(-1, abs=1e-8)
    assert found.window == pytest.approx((STEPS[STEPS >= 10**2.5][0], 1e5))
    np.testing.assert_array_equal(found.points, STEPS)
    np.testing.assert_allclose(found.local_slopes["gap"], -2, atol=1e-10)
    assert "exponents p of steps^p" in str(found)
    assert "<= steps <= 1e+05" in str(found)
    assert rates(STEPPED, variable="step", window=(1e3, 1e4)).window[1] <= 1e4


def test_exponents_of_the_steps_are_not_handed_out_as_those_of_log_time():
    with pytest.raises(ValueError, match=r"^need exponents of log t, got those of steps$"):
        _ = rates(STEPPED, variable="step").log_time
    with pytest.raises(ValueError, match=r"need metrics with the coordinate step, got \['log_time', 'seed'\]"):
        rates(POWER, variable="step")
    with pytest.raises(ValueError, match="need at least 3 records with 3 <= steps <= 4, got"):
        rates(STEPPED, variable="step", window=(3, 4))
