"""Numbers, counts and switches are taken as they are meant, from Python and from numpy, and nothing else is."""

import math

import numpy as np
import pytest

from layerpeel.problem.options import need_integer, need_not_negative, need_positive, need_switch, number


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2, 2.0),
        (np.int64(2), 2.0),
        (np.float32(0.5), 0.5),
        (-math.inf, -math.inf),
        (10**400, math.inf),
        (-(10**400), -math.inf),
    ],
)
def test_a_real_number_is_a_float(value, expected):
    assert number(value) == expected
    assert type(number(value)) is float


@pytest.mark.parametrize("value", [True, np.True_, "1", None, 1j, np.complex128(1), [1.0], math.nan])
def test_what_is_no_real_number_is_nan(value):
    assert math.isnan(number(value))


@pytest.mark.parametrize("value", ["a", True, None, math.nan, math.inf, -1.0, 10**400])
def test_sizes_are_refused_in_one_sentence(value):
    with pytest.raises(ValueError, match=r"^need tol >= 0 and finite, got tol="):
        need_not_negative("tol", value)
    with pytest.raises(ValueError, match=r"^need rho2 > 0 and finite, got rho2="):
        need_positive("rho2", value)


def test_0_is_not_negative_and_not_positive():
    assert need_not_negative("tol", 0) == 0.0
    with pytest.raises(ValueError, match=r"^need rho2 > 0 and finite, got rho2=0"):
        need_positive("rho2", 0)


@pytest.mark.parametrize("value", [1, np.int64(1), np.uint8(1)])
def test_a_count_is_an_int(value):
    assert type(need_integer("workers", value, least=1)) is int


@pytest.mark.parametrize("value", [0, np.int64(0), True, 1.0, "1", None])
def test_what_is_no_count_is_refused(value):
    with pytest.raises(ValueError, match=r"^need workers >= 1 and an integer, got workers="):
        need_integer("workers", value, least=1)


@pytest.mark.parametrize("value", [True, np.False_])
def test_a_switch_is_a_bool(value):
    assert type(need_switch("bias", value)) is bool


@pytest.mark.parametrize("value", [0.9, 1, "no", None])
def test_what_is_no_switch_is_refused(value):
    with pytest.raises(ValueError, match=r"^need bias to be True or False, got bias="):
        need_switch("bias", value)
