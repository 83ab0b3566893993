"""Recorded steps are distinct, ordered, end where the run ends, and are even in log log step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerpeel.sampling import loglog_steps, record_steps


@settings(derandomize=True, max_examples=300)
@given(steps=st.integers(0, 10**7), count=st.integers(2, 200))
def test_steps_are_distinct_increasing_and_as_many_as_asked(steps, count):
    points = loglog_steps(steps, count)
    assert points[0] == 0
    assert points[-1] == steps
    assert (np.diff(points) > 0).all()
    assert len(points) == min(count, steps + 1)


def test_late_records_are_even_in_log_log_step():
    late = np.diff(np.log(np.log(loglog_steps(10**6, 60)[-25:])))
    assert late.max() / late.min() < 1.1


@pytest.mark.parametrize(("record", "expected"), [([5, 3, 3], [3, 5, 9]), ((0, 9), [0, 9]), (np.array([1]), [1, 9])])
def test_named_steps_are_sorted_made_unique_and_end_with_the_last(record, expected):
    assert record_steps(record, 9).tolist() == expected


def test_a_short_run_has_every_early_step_and_even_late_ones():
    points = loglog_steps(200, 40)
    assert points[:14].tolist() == [0, *range(2, 15)]
    assert (points > 60).sum() == 10
    late = np.diff(np.log(np.log(points[-12:])))
    assert late.max() / late.min() < 1.5  # whole epochs
