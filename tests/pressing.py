"""Ctrl-C at a chosen moment, for the tests of what is interrupted."""

from contextlib import nullcontext
from unittest import mock


def pressed(bar, *, at):
    """``with pressed("package.module.progress_bar", at=20): ...`` presses Ctrl-C once that bar shows 20 steps."""

    def show(done):
        if done >= at:
            raise KeyboardInterrupt

    return mock.patch(bar, return_value=nullcontext(show))
