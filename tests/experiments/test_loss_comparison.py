"""Losses compared: each to its own optimum, all to one geometry, at the rate of the weight."""

import numpy as np
import pytest

import layerpeel as lp
from layerpeel.experiments import LossComparison, conduct, draw
from layerpeel.experiments.descents import side_by_side
from layerpeel.experiments.drawing import _figures

SMALL = {"losses": "cross-entropy,squared error,hinge", "steps": 3000, "seeds": 2, "records": 12}
SMOOTH = ["cross-entropy", "squared error"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "loss-comparison"
    conduct(LossComparison(**SMALL), folder, progress=False)
    return lp.read_record(folder)


def test_every_smooth_loss_reaches_its_closed_form(kept):
    """THEORY.md, sections 3 and 4."""
    golden = [0.183691995718, 0.032791019662]
    last = kept.metrics.isel(record=-1).sel(model=SMOOTH)
    np.testing.assert_allclose(last["loss"], np.array(golden)[:, None] * [1, 1], atol=2e-12)
    np.testing.assert_allclose(last["optimum"], golden, atol=6e-13)
    np.testing.assert_allclose(last["margin"].median("seed"), last["optimal_margin"], rtol=1e-6)


def test_all_losses_end_in_one_geometry(kept):
    last = kept.metrics.isel(record=-1)
    for name in ("within_class_variation", "mean_norm_variation", "mean_angle_gap", "duality_gap"):
        assert (last[name].sel(model=SMOOTH) < 1e-5).all()
        assert (last[name].sel(model="hinge") < 0.05).all()


def test_the_hinge_nears_the_optimum_of_its_kink(kept):
    hinge = kept.metrics.sel(model="hinge")
    gap = hinge["objective_gap"].median("seed").values
    assert 0 < gap[-1] < 1e-3
    assert float(hinge["optimal_margin"]) == 1


def test_the_weight_sets_the_last_phase(kept):
    """Within-class variation falls like exp(-lam t) for every smooth loss."""
    late = kept.metrics.isel(record=slice(-2, None)).sel(model=SMOOTH)
    slope = np.log(late["within_class_variation"]).diff("record") / late["step"].diff("record")
    np.testing.assert_allclose(-slope, 5e-3, rtol=0.02)


def test_the_table_names_every_loss_and_its_margins(kept):
    text = kept.summary["text"]
    for part in (*SMOOTH, "hinge", "4.45948199", "0.95527864", "margin q, closed form"):
        assert part in text


def test_a_run_that_diverged_is_nan_after_its_end(kept):
    step, loss = kept.metrics["step"].values, kept.metrics["loss"].sel(model="hinge").values
    runs = {
        "whole": {"step": step, "field/loss": loss},
        "short": {"step": step[:3], "field/loss": loss[:, :3]},
    }
    both = side_by_side(runs, "model", [0, 1], {})
    np.testing.assert_array_equal(both["step"], step)
    np.testing.assert_array_equal(both["loss"].sel(model="short")[:, :3], loss[:, :3])
    assert np.isnan(both["loss"].sel(model="short")[:, 3:]).all()


def test_it_is_drawn_from_the_record_alone(kept, tmp_path):
    assert [path.name for path in draw(kept, tmp_path)] == ["loss-comparison.png"]
    axes = _figures(kept)["loss-comparison"].axes
    for ax, field in zip(
        axes, ("within_class_variation", "mean_angle_gap", "duality_gap", "objective_gap"), strict=True
    ):
        for line, name in zip(ax.get_lines(), kept.metrics["model"].values, strict=True):
            assert line.get_label() == name
            median = np.maximum(kept.metrics[field].sel(model=name).median("seed"), 1e-14)
            np.testing.assert_array_equal(line.get_xydata().T, [kept.metrics["step"], median])


@pytest.mark.parametrize(
    "wrong", [{"steps": 1}, {"seeds": 0}, {"lam": -1.0}, {"d": 2}, {"smoothing": 2.0}, {"losses": "luck"}], ids=str
)
def test_impossible_settings_get_a_sentence(wrong, tmp_path):
    with pytest.raises(ValueError, match=r"^need "):
        LossComparison(**SMALL | wrong).run(tmp_path / "checkpoint", progress=False)
