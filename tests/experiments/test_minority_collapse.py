"""Fang et al., Figure 3, at a small size: descent meets the exact cosines; what is interrupted is kept."""

import numpy as np
import pytest
from pressing import pressed

import layerpeel as lp
from layerpeel.experiments import MinorityCollapse, conduct, draw
from layerpeel.experiments.drawing import _figures

SMALL = {"K": 4, "majorities": "2", "d": 4, "E_H": 1.0, "ratios": 3, "steps": 2000, "seeds": 2, "learning_rate": 1.0}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "minority"
    conduct(MinorityCollapse(**SMALL), folder, progress=False)
    return lp.read_record(folder)


def test_descent_has_the_exact_cosines_and_losses_on_both_sides_of_the_threshold(kept):
    metrics = kept.metrics.sel(majority=2)
    assert float(metrics.ratio[0]) == 1
    assert float(metrics.ratio[-1]) > float(metrics.threshold) == pytest.approx(3.380488, abs=1e-6)
    assert metrics.exact_cosine.values[[0, -1]] == pytest.approx([-1 / 3, 1.0])
    np.testing.assert_allclose(metrics.cosine.values, metrics.exact_cosine.values[:, None] + [0, 0], atol=1e-5)
    np.testing.assert_allclose(metrics.loss.values, metrics.exact_loss.values[:, None] + [0, 0], rtol=1e-9)


def test_the_curve_passes_through_the_threshold(kept):
    metrics = kept.metrics.sel(majority=2)
    at = int(np.argmin(abs(metrics.curve_ratio.values - float(metrics.threshold))))
    assert float(metrics.curve_cosine[at]) == pytest.approx(1, abs=1e-6)
    assert (np.diff(metrics.curve_cosine) > -1e-12).all()
    assert float(metrics.curve_cosine[at - 2]) < 1


def test_the_table_has_the_numbers_and_the_threshold(kept):
    text = kept.summary["text"]
    assert "K_A = 2, K_B = 2: minority classifiers coincide from R0 = 3.380488" in text
    assert "-0.333333   -0.333333" in text


def test_it_is_drawn_from_the_record_alone(kept, tmp_path):
    assert [path.name for path in draw(kept, tmp_path)] == ["minority-collapse.png"]
    metrics = kept.metrics.sel(majority=2)
    curve, *dots, threshold = _figures(kept)["minority-collapse"].axes[0].get_lines()[:4]
    np.testing.assert_array_equal(curve.get_xydata().T, [metrics["curve_ratio"], metrics["curve_cosine"]])
    for seed, line in enumerate(dots):
        np.testing.assert_array_equal(line.get_xydata().T, [metrics["ratio"], metrics["cosine"].sel(seed=seed)])
    assert set(threshold.get_xdata()) == {float(metrics["threshold"])}


def test_an_interrupt_keeps_the_finished_ratios(tmp_path):
    with pressed("layerpeel.experiments.cases.progress_bar", at=1):
        finding = MinorityCollapse(**SMALL).run(tmp_path / "checkpoint", progress=False)
    assert finding.summary["outcome"]["name"] == "INTERRUPTED"
    assert np.isfinite(finding.metrics.cosine[0]).all("seed").values.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"majorities": "3"}, "need majorities from 1 to K-2 = 2, got '3'"),
        ({"majorities": "two"}, "need majorities to be numbers with commas between them, got 'two'"),
        ({"majorities": "2,2"}, "need majorities to be different numbers, got '2,2'"),
        ({"seeds": 0}, "need seeds >= 1, got seeds=0"),
        ({"d": 2}, "need d >= K-1 = 3 for the exact curve, got d=2"),
        ({"E_W": 0.0}, "need E_W > 0"),
    ],
)
def test_impossible_settings_get_a_sentence(wrong, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        MinorityCollapse(**SMALL | wrong).run(tmp_path / "checkpoint", progress=False)
