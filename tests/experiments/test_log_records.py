"""Records that are even in log step."""

import numpy as np
import pytest

from layerpeel.experiments import read_recipe
from layerpeel.experiments.log_records import log_records


@pytest.mark.parametrize(("steps", "records"), [(10, 4), (100, 60), (10_000, 150)])
def test_records_begin_at_0_end_at_the_last_step_and_are_even_in_log_step_but_for_rounding(steps, records):
    points = np.array(log_records(steps, records))
    even = np.exp(np.linspace(0, np.log(steps), records - 1))
    assert (points[0], points[1], points[-1]) == (0, 1, steps)
    assert len(points) <= records
    assert (np.diff(points) > 0).all()
    assert (abs(points[1:, None] - even).min(1) < 0.51).all()
    assert (abs(points[1:, None] - even).min(0) < 0.51).all()


@pytest.mark.parametrize("name", ["acceleration", "loss-comparison", "regularised-features", "squared-loss"])
@pytest.mark.parametrize("few", [{"steps": 9}, {"records": 3}])
def test_too_few_are_refused_before_anything_is_computed(name, few, tmp_path):
    with pytest.raises(ValueError, match=r"^need steps >= 10 and records >= 4, got steps="):
        read_recipe(name, few).run(tmp_path / "checkpoint", progress=False)
