"""Fixtures that more than one part needs."""

from unittest import mock

import pytest


class _Pressing:
    """A progress bar that presses Ctrl-C once so many steps are done."""

    def __init__(self, step):
        self.step = step

    def __enter__(self):
        return self.show

    def __exit__(self, *error):
        return False

    def show(self, done):
        if done >= self.step:
            raise KeyboardInterrupt


@pytest.fixture
def ctrl_c():
    """``with ctrl_c(at=20): ...`` interrupts a descent after 20 steps."""
    return lambda at: mock.patch("layerpeel.dynamics.descent.progress_bar", return_value=_Pressing(at))
