"""The sphere |theta| = rho in the space of states: where directions compete once the norm is taken away.

Its tangent space at theta is Definition 3.2 of Ji et al. 2022, {phi : <theta, phi> = 0}.
"""

import numpy as np

from layerpeel.problem import State

__all__ = ["onto_sphere", "tangent"]


def tangent(state: State, vector: State) -> State:
    """The part of ``vector`` that is orthogonal to ``state``: its projection on the tangent space."""
    return vector - state * (state.inner(vector) / state.squared_norm)


def onto_sphere(state: State, rho2: float) -> State:
    """``state`` scaled to the squared norm ``rho2``; undefined at 0."""
    return state * np.sqrt(rho2 / state.squared_norm)
