"""Random numbers as they were: what draws some in here leaves the training's own sequence alone.

So a training takes the same steps, bit for bit, whether or not it is measured along the way.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["undisturbed"]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put the generators of python, numpy and torch (on the current GPU too) back to where they were."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 the one that data sets draw from
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
