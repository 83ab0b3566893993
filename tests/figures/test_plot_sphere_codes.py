"""The figure of sphere codes shows least losses, margins with their bounds, and the codes of the plane and of space."""

import numpy as np
import pytest
import xarray

import layerpeel as lp
from layerpeel.figures import plot_sphere_codes


def record():
    cases = [(6, 2), (6, 3), (6, 5)]
    codes = np.full((3, 6, 6), np.nan)
    for i, (K, d) in enumerate(cases):
        codes[i, :d, :K] = lp.softmax_code(K, d)
    fields = {
        "tied": (("case", "start"), [[6.1, 6.2], [5.7, 5.7], [5.5, 5.5]]),
        "simplex": ("case", [5.5] * 3),
        "margin": (("case", "code_start"), [[0.4, 0.5], [1.0, 1.0], [1.2, 1.2]]),
        "bound": ("case", [0.5, 1.0, 1.2]),
        "bound_attained": ("case", [True, True, False]),
        "code": (("case", "axis", "vector"), codes),
    }
    return xarray.Dataset(fields, coords={"K": ("case", [6] * 3), "d": ("case", [2, 3, 5])})


def test_losses_are_in_per_cent_above_the_simplex():
    _, axes = plot_sphere_codes(record())
    least, every = axes[0].get_lines()
    np.testing.assert_allclose(least.get_ydata(), [100 * 0.6 / 5.5, 100 * 0.2 / 5.5, 0], atol=1e-12)
    assert len(every.get_ydata()) == 6


def test_margins_are_the_best_and_bounds_say_whether_they_are_attained():
    _, axes = plot_sphere_codes(record())
    found, attained, others = (line.get_ydata() for line in axes[1].get_lines()[:3])
    np.testing.assert_array_equal(found, [0.5, 1.0, 1.2])
    np.testing.assert_array_equal(attained, [0.5, 1.0])
    np.testing.assert_array_equal(others, [1.2])


def test_codes_below_the_simplex_are_drawn_in_the_plane_and_in_space():
    _, axes = plot_sphere_codes(record())
    assert [ax.name for ax in axes[2:]] == ["rectilinear", "3d"]
    assert axes[3].get_title() == "$K=6$, $d=3$\nmargin 1.0000"


def test_a_wrong_call_is_one_sentence():
    with pytest.raises(ValueError, match=r"^need metrics with the coordinates K and d, got list$"):
        plot_sphere_codes([1])
