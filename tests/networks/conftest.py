"""Real networks compute on one thread: bits depend on the number, and small matrices need no more."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread):
    """For every test of this folder."""
