"""Fixtures that more than one part needs."""

from functools import partial
from importlib.util import find_spec

import pytest
from pressing import pressed


@pytest.fixture
def ctrl_c():
    """``with ctrl_c(at=20): ...`` interrupts a descent after 20 steps."""
    return partial(pressed, "layerpeel.dynamics.descent.progress_bar")


@pytest.fixture(scope="module")
def one_thread():
    """For a module, torch computes on one thread, where it is installed."""
    if find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
