"""When a training is measured: at steps evenly spaced in log log t, also where its end is not known."""

from collections.abc import Sequence
from math import floor, log

import numpy as np

from layerpeel.sampling import record_steps

__all__ = ["Schedule"]

OPEN_END = 10_000
"""A training without a known end is spaced as one of so many steps, and goes on in that spacing."""


class Schedule:
    """The steps to measure at: a count of log-log-spaced ones, or named ones; the last of ``steps`` is always in.

    Raises:
        ValueError: for steps below 1, a count below 2, or steps that are not whole, negative, or past the end.
    """

    def __init__(self, record: int | Sequence[int], steps: int | None) -> None:
        if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1):
            raise ValueError(f"need steps >= 1, or None for an open end, got {steps!r}")
        self.steps = None if steps is None else int(steps)
        self._spacing = 0.0
        if isinstance(record, Sequence):
            self._named = _named(record, self.steps)
            return
        self._named = frozenset(record_steps(record, self.steps or OPEN_END).tolist())
        if steps is None and record > 2:
            self._spacing = (_loglog(OPEN_END) - _loglog(2)) / (record - 2)

    def due(self, step: int) -> bool:
        """Whether ``step`` is one of them."""
        if step > OPEN_END and self._spacing:
            return self._place(step) != self._place(step - 1)
        return step in self._named

    def _place(self, step: int) -> int:
        return floor((_loglog(step) - _loglog(2)) / self._spacing + 1e-9)  # OPEN_END is a place, not just before one


def _named(record: Sequence[int], steps: int | None) -> frozenset[int]:
    end = max(record, default=0) if steps is None else steps
    return frozenset(record_steps(record, end).tolist())


def _loglog(step: int) -> float:
    return log(log(step))
