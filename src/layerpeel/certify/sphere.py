"""The sphere |theta| = rho in the space of states: where directions compete once the norm is taken away.

Its tangent space at theta is Definition 3.2 of Ji et al. 2022, {phi : <theta, phi> = 0}.
"""

import numpy as np

from layerpeel.problem import Problem, State
from layerpeel.problem.boundary import admit_one

__all__ = ["MOST", "admit_point", "onto_sphere", "tangent"]

LEAST, MOST = 1e-100, 1e100
"""Squared radii between which squares and products of float64 neither vanish nor overflow."""


def tangent(state: State, vector: State) -> State:
    """The part of ``vector`` that is orthogonal to ``state``: its projection on the tangent space."""
    return vector - state * (state.inner(vector) / state.squared_norm)


def onto_sphere(state: State, rho2: float) -> State:
    """``state`` scaled to the squared norm ``rho2``; undefined at 0."""
    return state * np.sqrt(rho2 / state.squared_norm)


def admit_point(problem: Problem, state: State) -> State:
    """One ``state`` of ``problem`` that lies on a sphere, as float64 numpy arrays.

    Raises:
        ValueError: for a state that does not fit the problem, a seed axis, theta = 0, or a norm out of range.
    """
    state = admit_one(problem, state)
    with np.errstate(over="ignore", under="ignore"):
        rho2 = float(state.squared_norm)
    if not LEAST <= rho2 <= MOST:
        raise ValueError(f"need a state on a sphere {LEAST:g} <= |W|^2 + |H|^2 <= {MOST:g}, not at 0, got {rho2:g}")
    return state
