"""The loglog axis: a true inverse, labels that say where they are, and no view that breaks it."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.scale import get_scale_names

from layerpeel.figures.loglog_scale import LogLogFormatter, LogLogLocator, LogLogMinorLocator, LogLogScale, register

VIEWS = {
    "a few steps": (math.log(2), math.log(8)),
    "descent": (0.9, 11.6),
    "descent from 2": (math.log(2), math.log(1e5)),
    "zoom on descent": (math.log(500), math.log(2e6)),
    "deep zoom on descent": (9.2, 9.3),
    "long descent": (1.0, 100.0),
    "short flow": (1.0, 1000.0),
    "flow": (1.0, math.exp(10)),
    "zoom on flow": (2000.0, 9000.0),
    "deep zoom on flow": (2100.0, 2105.0),
    "absurd": (1e-10, 1e20),
    "before e": (0.1, 0.5),
}


def axis_of(low, high, inches=3.0):
    register()
    figure = Figure(figsize=(inches, 1))
    ax = figure.subplots()
    ax.set_xscale("loglog")
    ax.set_xlim(low, high)
    ax.tick_params(labelsize=8)
    figure.draw_without_rendering()
    return ax


def log_time_of(label):
    """What a label claims: log t."""
    label = label.strip("$")
    if match := re.fullmatch(r"e\^\{(.*)\}", label):
        return number_of(match[1])
    return math.log(number_of(label))


def number_of(text):
    if match := re.fullmatch(r"(?:(.*)\\cdot)?10\^\{(-?\d+)\}", text):
        return float(match[1] or 1) * 10 ** int(match[2])
    return float(text)


@given(st.floats(1e-12, 1e12))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_the_transform_is_the_logarithm_and_has_an_inverse(u):
    transform = LogLogScale().get_transform()
    there = transform.transform(np.array([u]))
    np.testing.assert_allclose(there, np.log(u), rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(transform.inverted().transform(there), u, rtol=1e-13)


def test_powers_of_log_t_are_straight_lines():
    u = np.geomspace(1, 1e4, 9)
    x, y = LogLogScale().get_transform().transform(u), np.log(u**-0.5)
    np.testing.assert_allclose(np.diff(y) / np.diff(x), -0.5)


@given(st.floats(-8, 8), st.floats(0.01, 12))
@settings(derandomize=True, deadline=None, max_examples=50)
@pytest.mark.parametrize("locator", [LogLogLocator, LogLogMinorLocator])
def test_ticks_increase_lie_in_view_and_are_few(locator, start, length):
    low, high = math.exp(start), math.exp(start + length)
    ticks = locator().tick_values(low, high)
    assert (np.diff(ticks) > 0).all()
    assert ((ticks >= low * (1 - 1e-8)) & (ticks <= high * (1 + 1e-8))).all()
    assert len(ticks) <= (10 if locator is LogLogLocator else 100)


@given(st.floats(0, 9), st.floats(1e-4, 3))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_every_view_after_e_shows_at_least_two_labels(start, length):
    assert len(LogLogLocator().tick_values(math.exp(start), math.exp(start + length))) >= 2


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_a_label_is_the_time_of_its_place(view):
    ax = axis_of(*view)
    shown = [(u, text.get_text()) for u, text in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)]
    assert len(shown) >= 2
    for u, label in shown:
        assert log_time_of(label) == pytest.approx(u, rel=1e-5)


@pytest.mark.parametrize("inches", [2.0, 6.0])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_labels_do_not_overlap(view, inches):
    boxes = [label.get_window_extent() for label in axis_of(*view, inches).get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


@pytest.mark.parametrize(
    ("view", "labels"),
    [
        ("descent", ["10^{1}", "10^{2}", "10^{3}", "10^{5}"]),
        ("flow", ["e^{1}", "e^{10}", "e^{100}", "e^{1000}", "e^{10000}"]),
        ("a few steps", ["2", "3", "5"]),
    ],
)
def test_the_usual_runs_carry_the_labels_of_the_field(view, labels):
    assert [text.get_text().strip("$") for text in axis_of(*VIEWS[view]).get_xticklabels()] == labels


def test_minor_ticks_of_descent_are_the_usual_nine_a_decade_as_long_as_they_can_be_told_apart():
    times = np.exp(LogLogMinorLocator().tick_values(1.0, 11.6))
    np.testing.assert_allclose(times[times < 100], [*range(3, 10), *range(10, 100, 10)])
    np.testing.assert_allclose(times[times > 1001], [1e4, 1e5])


def test_minor_ticks_of_flow_are_nine_a_decade_of_log_t():
    ticks = LogLogMinorLocator().tick_values(1.0, 1e3)
    np.testing.assert_allclose(ticks, [*range(1, 10), *range(10, 100, 10), *range(100, 1001, 100)])


@pytest.mark.filterwarnings("ignore:Data has no positive values", "ignore:Attempting to set identical")
@pytest.mark.parametrize("limits", [(-1, 5), (0, 11), (-3, -2), (0, 0), (5, 5), (11, 1), (1e-300, 1e300)])
def test_impossible_limits_are_replaced_and_drawn(limits):
    ax = axis_of(*limits)
    assert all(limit > 0 for limit in ax.get_xlim())


@pytest.mark.parametrize("data", [[], [np.nan], [5.0], [-1.0, 0.0, 3.0]])
def test_an_axis_with_little_or_impossible_data_is_drawn(data):
    register()
    ax = Figure().subplots()
    ax.set_xscale("loglog")
    ax.plot(data, np.ones(len(data)))
    ax.figure.draw_without_rendering()
    low, high = ax.get_xlim()
    assert 0 < low < high


def test_zooming_and_panning_keep_the_limits_positive():
    ax = axis_of(1.0, 11.6)
    ax.start_pan(100, 50, 1)
    ax.drag_pan(1, None, 900, 50)
    ax.end_pan()
    ax.figure.draw_without_rendering()
    low, high = ax.get_xlim()
    assert 0 < low < high < 11.6
    assert high / low == pytest.approx(11.6)


def test_the_cursor_reads_a_time():
    assert LogLogFormatter().format_data_short(math.log(1234)) == "1234"
    assert LogLogFormatter().format_data_short(2e4) == "e^2e+04"
    assert LogLogFormatter()(-1.0) == ""


def test_registering_twice_does_no_harm():
    register()
    register()
    assert "loglog" in get_scale_names()
