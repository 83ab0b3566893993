"""Zhu et al. at a small size: every start ends at the optimum in closed form, saddles are left as theory says."""

import numpy as np
import pytest

import layerpeel as lp
from layerpeel.experiments import RegularisedFeatures, conduct, draw
from layerpeel.experiments.drawing import _figures
from layerpeel.experiments.regularised_features import _saddles

SMALL = {
    "K": 4,
    "n": 2,
    "d": 6,
    "lam_W": 0.01,
    "lam_H": 0.02,
    "steps": 3000,
    "seeds": 1,
    "records": 60,
    "blocks": "2+2",
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "features"
    conduct(RegularisedFeatures(**SMALL), folder, progress=False)
    return lp.read_record(folder)


def test_every_start_ends_collapsed_at_the_closed_form(kept):
    last = kept.metrics.isel(record=-1)
    assert last.start.values.tolist() == ["random", "zero", "2+2"]
    assert kept.metrics.attrs["optimum"] == lp.ufm(4, 2, 6, 0.01, 0.02).optimum().value
    assert float(abs(last.gap).max()) < 1e-13
    for field in ("within_class_variation", "mean_norm_variation", "mean_angle_gap", "duality_gap"):
        assert float(last[field].max()) < 1e-6


def test_saddles_are_critical_and_above_the_optimum():
    problem = lp.ufm(4, 2, 6, 0.01, 0.02)
    for saddle in _saddles(problem, "2+2,3+1").values():
        assert problem.gradient(saddle).squared_norm < 1e-28
        assert problem.objective(saddle) > problem.optimum().value + 1e-3


def test_saddles_hold_a_run_for_a_while_and_are_left(kept):
    """Near the saddle its value, then down by the whole gap."""
    for name in ("zero", "2+2"):
        one = kept.metrics.sel(start=name)
        np.testing.assert_allclose(one.loss[:, :10], float(one.level), rtol=1e-8)
        assert (one.distance[:, -1] > 1).all()


def test_they_are_left_at_the_rate_of_theory(kept):
    """The growth of the distance over a stretch in which it is small and yet above the noise; weights unequal."""
    for name in ("zero", "2+2"):
        one = kept.metrics.sel(start=name)
        for row in one.distance.values:
            inside = np.flatnonzero((row > 3e-4) & (row < 3e-2))
            slope = np.polyfit(one.step.values[inside], np.log(row[inside]), 1)[0]
            assert slope == pytest.approx(float(one.leaving), rel=0.02)


def test_within_class_variation_falls_by_the_weight_of_the_features(kept):
    random = kept.metrics.sel(start="random")
    for row in random.within_class_variation.values:
        inside = np.flatnonzero((row > 1e-10) & (row < 1e-3))
        slope = np.polyfit(random.step.values[inside], np.log(row[inside]), 1)[0]
        assert slope == pytest.approx(np.log(1 - 0.02), rel=1e-3)


def test_the_table_has_theory_beside_it(kept):
    text = kept.summary["text"]
    for part in ("leaves at", "theory", "steps to leave", "last gap", "optimum in closed form: 0.", "in theory by"):
        assert part in text


def test_it_is_drawn_from_the_record_alone(kept, tmp_path):
    assert [path.name for path in draw(kept, tmp_path)] == ["regularised-features.png"]
    gaps, distances, collapse = _figures(kept)["regularised-features"].axes
    whole = [line for line in gaps.get_lines() if line.get_linestyle() == "-"]
    for line, start in zip(whole, ["random", "zero", "2+2"], strict=True):
        gap = kept.metrics["gap"].sel(start=start)[0]
        np.testing.assert_array_equal(line.get_ydata(), gap.where(gap > 1e-15))
    for line, start in zip(distances.get_lines()[::2], ["zero", "2+2"], strict=True):  # every other is theory
        np.testing.assert_array_equal(line.get_ydata(), kept.metrics["distance"].sel(start=start)[0])
    within = kept.metrics["within_class_variation"].sel(start="random")[0]
    np.testing.assert_array_equal(collapse.get_lines()[0].get_ydata(), within.where(within > 1e-15))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"d": 3}, "need d >= K = 4, where every saddle is strict, got d=3"),
        ({"lam_H": 100.0}, r"need K sqrt\(n lam_W lam_H\) < 1"),
        ({"blocks": "two"}, "need blocks as sums of sizes"),
        ({"blocks": "2+1"}, "need block sizes"),
        ({"noise": 0.0}, "need learning_rate > 0 and noise > 0"),
        ({"learning_rate": 300.0}, r"need learning_rate \* lam_H < 1, .*, got 300.0 and 0.02"),
        ({"records": 3}, "need steps >= 10 and records >= 4"),
        ({"seeds": 0}, "need seeds >= 1"),
    ],
)
def test_impossible_settings_get_a_sentence(wrong, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        RegularisedFeatures(**SMALL | wrong).run(tmp_path / "checkpoint", progress=False)
