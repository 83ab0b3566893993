"""The study of acceleration: one record of all optimisers, drawn from the record alone."""

import numpy as np
import pytest

import layerpeel as lp
from layerpeel.experiments import Acceleration, conduct, draw

SMALL = {"K": 3, "n": 2, "d": 4, "steps": 300, "seeds": 2, "records": 10, "optimizers": "plain,momentum:4,adam:0.01"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "acceleration"
    conduct(Acceleration(**SMALL), folder, progress=False)
    return lp.read_record(folder)


def test_every_optimiser_has_its_records(kept):
    assert kept.metrics["optimizer"].values.tolist() == ["plain", "momentum:4", "adam:0.01"]
    assert np.isfinite(kept.metrics.margin_ratio).all()
    assert float(kept.metrics.step.max()) == 300


def test_plain_is_normalised_descent_with_the_same_constant(kept):
    problem = lp.ulpm(3, 2, 4)
    run = lp.descend(problem, problem.init(range(2), scale=0.1), lp.normalized(0.1 * 4 * 2), 300, record=2)
    there = kept.metrics.margin_ratio.sel(optimizer="plain")[:, -1]
    np.testing.assert_allclose(run.metrics.margin_ratio[:, -1], there, rtol=1e-9)


def test_it_is_drawn_from_the_record_alone(kept, tmp_path):
    assert [path.name for path in draw(kept, tmp_path)] == ["acceleration.png"]


@pytest.mark.parametrize("wrong", [{"strength": 0.0}, {"seeds": 0}, {"optimizers": "magic"}, {"steps": 1}], ids=str)
def test_impossible_settings_get_a_sentence(wrong, tmp_path):
    with pytest.raises(ValueError, match="need"):
        Acceleration(**SMALL | wrong).run(tmp_path / "checkpoint", progress=False)
