"""The boundary between numpy callers and jax functions of (problem, state).

Inside, everything is float64 (a scoped ``jax.enable_x64``, never a global switch) and one point at a time; here
states of numpy arrays are checked, a leading seed axis is mapped over, and results come back as numpy arrays.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from layerpeel.problem.state import State

if TYPE_CHECKING:
    from layerpeel.problem.problem import Problem

__all__ = ["admit", "evaluate", "has_seed_axis", "with_seed_axis"]


def evaluate(function: Callable[["Problem", State], Any], problem: "Problem", state: State) -> Any:
    """``function(problem, state)`` as numpy arrays, seed by seed if there is a seed axis; one scalar as a float."""
    state = admit(problem, state)
    with jax.enable_x64(True):
        values = jax.tree.map(np.asarray, _compiled(function, has_seed_axis(state))(problem, state))
    return jax.tree.map(lambda x: float(x) if x.ndim == 0 else x, values)


def admit(problem: "Problem", state: State) -> State:
    """``state`` as float64 numpy arrays, after checking that it belongs to ``problem``.

    Raises:
        ValueError: for wrong shapes, a bias too many or too few, or entries that are not finite real numbers.
    """
    if not isinstance(state, State):
        raise ValueError(f"need a layerpeel.State, got {type(state).__name__}")
    if (state.b is not None) != problem.bias:
        needed, got = ("a bias b", "none") if problem.bias else ("no bias", "one")
        raise ValueError(f"need {needed} in the state of this problem, got {got}")
    if (state.hidden is not None) != (problem.depth > 2):
        needed = f"{problem.depth - 2} hidden layers" if problem.depth > 2 else "no hidden layers"
        raise ValueError(f"need {needed} in the state of this problem, got {'some' if problem.depth == 2 else 'none'}")
    lead = np.shape(state.W)[:-2]
    if len(lead) > 1:
        raise ValueError(f"need at most one seed axis before (K, d), got W of shape {np.shape(state.W)}")
    shapes = problem.shapes
    leaves = {
        name: None if shape is None else _admit_array(name, getattr(state, name), (*lead, *shape))
        for name, shape in vars(shapes).items()
    }
    return State(**leaves)


def has_seed_axis(state: State) -> bool:
    """Whether the arrays of ``state`` carry a leading seed axis."""
    return np.ndim(state.W) == 3


def with_seed_axis(state: State) -> State:
    """``state`` with a seed axis: its own, or a new one of length 1."""
    return state if has_seed_axis(state) else jax.tree.map(lambda x: x[None], state)


@cache
def _compiled(function: Callable[["Problem", State], Any], over_seeds: bool) -> Callable[["Problem", State], Any]:
    return jax.jit(jax.vmap(function, in_axes=(None, 0)) if over_seeds else function)


def _admit_array(name: str, array: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"need {name} to be an array of real numbers, got {type(array).__name__}") from None
    if array.shape != shape:
        raise ValueError(f"need {name} of shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"need finite entries in {name}, got {np.count_nonzero(~np.isfinite(array))} that are not")
    return array
