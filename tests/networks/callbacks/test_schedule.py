"""When a training is measured."""

import math

import numpy as np
import pytest

from layerpeel.networks.callbacks.schedule import OPEN_END, Schedule
from layerpeel.sampling import loglog_steps


def due(schedule, last):
    return [step for step in range(last + 1) if schedule.due(step)]


def test_a_known_length_gives_the_log_log_steps_of_it():
    assert due(Schedule(12, 500), 600) == loglog_steps(500, 12).tolist()


def test_named_steps_are_measured_and_the_last_one_too():
    assert due(Schedule([3, 7], 20), 30) == [3, 7, 20]
    assert due(Schedule([3, 7], None), 30) == [3, 7]


def test_an_open_end_is_spaced_as_for_ten_thousand_and_goes_on_in_that_spacing():
    schedule = Schedule(40, None)
    assert due(schedule, OPEN_END) == loglog_steps(OPEN_END, 40).tolist()
    spacing = (np.log(np.log(OPEN_END)) - np.log(np.log(2))) / 38
    for place in (1, 2, 10):
        step = math.ceil(np.exp(np.exp(np.log(np.log(OPEN_END)) + place * spacing)))
        assert [schedule.due(step + i) for i in (-2, -1, 0, 1, 2)] == [False, False, True, False, False]


@pytest.mark.parametrize("record", [3, 7, 40, 300])
def test_an_open_end_has_no_step_right_after_the_ten_thousandth(record):
    schedule = Schedule(record, None)
    assert not any(schedule.due(step) for step in range(OPEN_END + 1, OPEN_END + 50))


@pytest.mark.parametrize(
    ("record", "steps", "sentence"),
    [
        (40, 0, "need steps >= 1, or None for an open end, got 0"),
        (40, True, "need steps >= 1"),
        (1, 10, "need record >= 2"),
        ([3, 11], 10, "between 0 and 10, got 3 to 11"),
        ([-1], None, "got -1"),
        ([], None, "a count or a sequence of whole steps"),
    ],
)
def test_what_is_no_schedule_is_refused(record, steps, sentence):
    with pytest.raises(ValueError, match=sentence):
        Schedule(record, steps)
