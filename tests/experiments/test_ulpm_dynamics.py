"""Figure 2 with the flow beside the descent: one record, each with its own times, drawn on one axis."""

import re

import numpy as np
import pytest

import layerpeel as lp
from layerpeel.experiments import UlpmDynamics, conduct, draw
from layerpeel.experiments.drawing import _figures

SMALL = {"K": 3, "n": 2, "d": 4, "steps": 400, "seeds": 2, "records": 12, "learning_rate": 0.5}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "both"
    conduct(UlpmDynamics(**SMALL, flow_log_time=2000.0), folder, progress=False)
    return lp.read_record(folder)


def test_both_are_kept_with_their_own_times(kept):
    descent, flow = (kept.metrics.sel(dynamics=name) for name in ("descent", "flow"))
    assert float(descent.log_time.max()) == pytest.approx(np.log(0.5 * 400))
    assert float(flow.log_time.max()) == 2000.0
    assert float(descent.step.max()) == 400
    assert np.isfinite(flow.balance_drift).all()
    assert kept.summary["outcome"]["name"] == "REACHED"


def test_where_both_have_been_they_agree(kept):
    descent = kept.metrics.sel(dynamics="descent").isel(record=-1)
    problem = lp.ulpm(3, 2, 4)
    run = lp.flow(problem, problem.init([0, 1]), log_time=float(descent.log_time))
    np.testing.assert_allclose(run.metrics.log_loss[:, -1], descent.log_loss, rtol=2e-2)


def test_the_kept_states_are_those_of_both(kept):
    assert kept.arrays["W"].shape == kept.arrays["flow_W"].shape == (2, 3, 4)
    problem = lp.ulpm(3, 2, 4)
    flowed = problem.log_objective(lp.State(kept.arrays["flow_W"], kept.arrays["flow_H"]))
    np.testing.assert_allclose(flowed, kept.metrics.sel(dynamics="flow").log_loss[:, -1])


def test_it_is_drawn_from_the_record_alone(kept, tmp_path):
    assert [path.name for path in draw(kept, tmp_path)] == ["collapse.png", "margin.png"]


def test_lines_are_the_flow_and_pale_ones_the_descent(kept):
    """Their medians over the seeds, each over its own times from t = 2 on."""
    fields = ("mean_norm_variation", "within_class_variation", "mean_angle_gap", "duality_gap")
    for field, ax in zip(fields, _figures(kept)["collapse"].axes, strict=True):
        lines = [line for line in ax.get_lines() if line.get_alpha() != 0.35]  # but for single seeds
        whole, pale = lines[0], next(line for line in lines if line.get_linewidth() == 4)
        for line, name in ((whole, "flow"), (pale, "descent")):
            one = kept.metrics.sel(dynamics=name)
            shown = (one["log_time"] >= np.log(2)).values
            np.testing.assert_array_equal(line.get_xdata(), one["log_time"][shown])
            np.testing.assert_allclose(line.get_ydata(), one[field].median("seed")[shown], rtol=1e-14)


def test_legends_have_the_exponents_of_the_flow(kept):
    exponent, stderr = lp.rates(kept.metrics.sel(dynamics="flow")).pairs()["within_class_variation"]
    legend = _figures(kept)["collapse"].axes[1].get_legend().get_texts()[0].get_text()
    printed = [float(number) for number in re.findall(r"-?\d+\.\d+", legend)]
    assert printed == pytest.approx([exponent, stderr], abs=0.0051)


@pytest.mark.parametrize("wrong", [{"optimizer": "adam"}, {"noise": 0.1}], ids=str)
def test_a_flow_has_no_other_descent_beside_it(wrong, tmp_path):
    with pytest.raises(ValueError, match="need optimizer = sgd without noise beside the flow"):
        UlpmDynamics(**SMALL | wrong, flow_log_time=10.0).run(tmp_path / "checkpoint", progress=False)
