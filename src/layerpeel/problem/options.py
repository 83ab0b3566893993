"""Numbers, counts and switches as callers give them: taken as they are meant, or refused in one sentence."""

import math
from typing import Any

import numpy as np

__all__ = ["need_integer", "need_not_negative", "need_positive", "need_positive_if_known", "need_switch", "number"]


def number(value: Any) -> float:
    """``value`` as a float: infinite for an integer beyond float64, nan for what is no real number."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def need_positive(name: str, value: Any) -> float:
    """``value`` as a float, after checking that it is positive and finite."""
    if not 0 < number(value) < math.inf:
        raise ValueError(f"need {name} > 0 and finite, got {name}={value!r}")
    return number(value)


def need_positive_if_known(name: str, value: Any) -> None:
    """Check a plain number, as :func:`need_positive` does; an array or a traced one is left alone."""
    if isinstance(value, int | float | np.number):
        need_positive(name, value)


def need_not_negative(name: str, value: Any) -> float:
    """``value`` as a float, after checking that it is finite and not negative."""
    if not 0 <= number(value) < math.inf:
        raise ValueError(f"need {name} >= 0 and finite, got {name}={value!r}")
    return number(value)


def need_integer(name: str, value: Any, *, least: int) -> int:
    """``value`` as an int, after checking that it is an integer and at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"need {name} >= {least} and an integer, got {name}={value!r}")
    return int(value)


def need_switch(name: str, value: Any) -> bool:
    """``value`` as a bool, after checking that it is one."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"need {name} to be True or False, got {name}={value!r}")
    return bool(value)
