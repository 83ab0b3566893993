"""The least value of a smooth function of one number, every local minimum looked at."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from scipy.optimize import brentq

__all__ = ["minimiser"]

GRID = 2000
"""Intervals in which a change of sign of the slope is looked for."""
NEAREST = 1e-8
"""The first of them ends here: roots near 0 lie as dense as others, on a logarithmic scale."""


def minimiser(f: Callable[[Any], Any], top: float) -> float:
    """The x in [0, ``top``] where f is least: 0 or a root of f' at which it turns upwards; f in jax.numpy."""
    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(f))
        grid = np.union1d(np.linspace(0.0, top, GRID)[1:], np.geomspace(NEAREST, top, GRID))  # f' can be infinite at 0
        slopes = np.asarray(jax.vmap(slope)(grid))
        turns = np.flatnonzero((slopes[:-1] < 0) & (slopes[1:] >= 0))
        roots = [brentq(lambda x: float(slope(x)), grid[i], grid[i + 1], xtol=1e-15, rtol=1e-14) for i in turns]
        return min([0.0, *roots], key=lambda x: float(f(x)))
