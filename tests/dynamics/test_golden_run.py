"""The run of Figure 2 at two initial scales, to all digits of the reference values."""

import optax
import pytest

import layerpeel as lp

GOLDEN = {
    0.1: {
        "loss": "8.8441e-07",
        "margin": "14.899",
        "margin_ratio": "0.95249",
        "beta": "0.98616",
        "mean_norm_variation": "2.2924e-03",
        "classifier_norm_variation": "2.8612e-03",
        "within_class_variation": "0.18308",
        "mean_angle_gap": "1.2328e-02",
        "classifier_angle_gap": "1.2265e-02",
        "duality_gap": "5.9841e-03",
    },
    1.0: {
        "loss": "8.3693e-07",
        "margin": "14.064",
        "margin_ratio": "0.28213",
        "mean_norm_variation": "2.8005e-02",
        "classifier_norm_variation": "4.8631e-02",
        "within_class_variation": "0.84735",
        "mean_angle_gap": "9.2955e-02",
        "classifier_angle_gap": "8.8857e-02",
        "duality_gap": "0.27745",
    },
}


@pytest.fixture(scope="module", params=GOLDEN, ids=lambda scale: f"scale={scale}")
def golden_run(request):
    problem = lp.ulpm(K=5, n=10, d=20)
    start = problem.init(seed=0, scale=request.param)
    return GOLDEN[request.param], lp.descend(problem, start, optax.sgd(5.0), steps=100_000)


def test_every_printed_digit_is_hit(golden_run):
    golden, run = golden_run
    last = run.metrics.isel(seed=0, record=-1)
    for field, printed in golden.items():
        digits = len(printed.partition("e")[0].partition(".")[2])
        form = f".{digits}e" if "e" in printed else f".{digits}f"
        assert format(float(last[field]), form) == printed, field


def test_forty_records_from_the_start_to_the_last_step_in_log_log_time(golden_run):
    _, run = golden_run
    assert run.outcome is lp.Outcome.COMPLETED
    assert run.metrics.sizes == {"seed": 1, "record": 40}
    assert run.metrics.step.values[[0, -1]].tolist() == [0, 100_000]
    gaps = run.metrics.loglog_time.values[25:]
    assert max(gaps[1:] - gaps[:-1]) < 1.2 * min(gaps[1:] - gaps[:-1])
