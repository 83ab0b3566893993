"""Recorded steps are distinct, ordered, end where the run ends, and are even in log log step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerpeel.sampling import log_times, loglog_steps, loglog_times, record_steps, record_times


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


def test_times_are_the_start_and_then_even_in_log_log_time():
    times = loglog_times(-np.inf, 1e4, 40)
    assert len(times) == 40
    assert times[0] == -np.inf
    assert times[1] == np.log(2)
    assert times[-1] == 1e4
    np.testing.assert_allclose(np.diff(np.log(times[1:]), 2), 0, atol=1e-12)


def test_times_that_go_on_begin_where_the_last_ended():
    times = loglog_times(10.0, 1e3, 5)
    np.testing.assert_allclose(times, 10 * 100 ** (np.arange(5) / 4), rtol=1e-12)


def test_short_times_are_even_in_time():
    np.testing.assert_allclose(np.exp(loglog_times(-np.inf, np.log(2.0), 5)), [0, 0.5, 1, 1.5, 2], rtol=1e-12)


def test_named_times_are_sorted_and_end_with_the_end():
    assert record_times([5.0, 1, 1], -np.inf, 9.0).tolist() == [1, 5, 9]


def test_the_time_of_steps_is_their_number_times_the_step():
    assert log_times([0, 1, 4], 0.5).tolist() == [-np.inf, np.log(0.5), np.log(2)]
