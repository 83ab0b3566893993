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

__all__ = [
    "admit",
    "admit_in_set",
    "admit_one",
    "evaluate",
    "has_seed_axis",
    "need_finite_norm",
    "onto_set",
    "with_seed_axis",
]

NO_REALS = "cSUmM"
"""Kinds of arrays that numpy would make real numbers of: complex numbers, texts, dates."""

IN_SET = 1e-9
"""How far from the set of a constraint a state may be, relative to its norm."""


def evaluate(function: Callable[["Problem", State], Any], problem: "Problem", state: State) -> Any:
    """``function(problem, state)`` as numpy arrays, seed by seed if there is a seed axis; one scalar as a float."""
    state = admit(problem, state)
    with jax.enable_x64(True):
        values = jax.tree.map(np.asarray, _compiled(function, has_seed_axis(state))(problem, state))
    return jax.tree.map(lambda x: float(x) if x.ndim == 0 else x, values)


def admit(problem: "Problem", state: State) -> State:
    """``state`` as float64 numpy arrays, after checking that it belongs to ``problem``.

    Raises:
        ValueError: for wrong shapes, no seeds, a bias too many or too few, or entries that are not finite real numbers.
    """
    if not isinstance(state, State):
        raise ValueError(f"need a layerpeel.State, got {type(state).__name__}")
    _need_parts(problem, state)
    shapes = {name: shape for name, shape in vars(problem.shapes).items() if shape is not None}
    leaves = {name: _real_array(name, getattr(state, name)) for name in shapes}
    lead = leaves["W"].shape[:-2]
    if len(lead) > 1:
        raise ValueError(f"need at most one seed axis before (K, d), got W of shape {leaves['W'].shape}")
    if lead == (0,):
        raise ValueError("need at least one seed, got none")
    for name, shape in shapes.items():
        _need_finite(name, leaves[name], (*lead, *shape))
    return State(**leaves)


def admit_one(problem: "Problem", state: State) -> State:
    """One ``state`` of ``problem``, as :func:`admit` gives it.

    Raises:
        ValueError: as there; for a seed axis.
    """
    state = admit(problem, state)
    if has_seed_axis(state):
        raise ValueError(f"need one state at a time, without a seed axis, got {len(state.W)} seeds")
    return state


def admit_in_set(problem: "Problem", state: State) -> State:
    """``state`` without its rounding off the set of the problem's constraint, if it has one.

    Raises:
        ValueError: as :func:`admit`; for a state that is not in the set, or a squared norm beyond float64.
    """
    state = admit(problem, state)
    if problem.constraint is None:
        return state
    need_finite_norm(state)
    nearest = evaluate(onto_set, problem, state)
    far, size = (float(np.max(np.sqrt(x.squared_norm))) for x in (state - nearest, nearest))
    if np.isnan(far):
        raise ValueError(
            "need a state with a nearest one in the set of the problem's constraint, got one without (a vector of "
            "length 0 on a sphere?)"
        )
    if not far <= IN_SET * size:
        raise ValueError(
            "need a state in the set of the problem's constraint (problem.constraint.project(state) is the nearest), "
            f"got one at a distance of {far:.3g}"
        )
    return nearest


def onto_set(problem: "Problem", state: State) -> State:
    """The nearest state in the set of the problem's constraint, which it has; for :func:`evaluate`."""
    assert problem.constraint is not None
    return problem.constraint.project(state)


def need_finite_norm(state: State) -> None:
    """Raise unless |theta|^2, and with it each product W H, is a number of float64."""
    with np.errstate(over="ignore"):
        if not np.isfinite(state.squared_norm).all():
            raise ValueError("need a state whose squared norm is finite in float64, got one beyond")


def has_seed_axis(state: State) -> bool:
    """Whether the arrays of ``state`` carry a leading seed axis."""
    return np.ndim(state.W) == 3


def with_seed_axis(state: State) -> State:
    """``state`` with a seed axis: its own, or a new one of length 1."""
    return state if has_seed_axis(state) else jax.tree.map(lambda x: x[None], state)


@cache
def _compiled(function: Callable[["Problem", State], Any], over_seeds: bool) -> Callable[["Problem", State], Any]:
    return jax.jit(jax.vmap(function, in_axes=(None, 0)) if over_seeds else function)


def _need_parts(problem: "Problem", state: State) -> None:
    """Raise unless ``state`` has a bias and hidden layers where ``problem`` does."""
    if (state.b is not None) != problem.bias:
        needed, got = ("a bias b", "none") if problem.bias else ("no bias", "one")
        raise ValueError(f"need {needed} in the state of this problem, got {got}")
    if (state.hidden is not None) != (problem.depth > 2):
        needed = f"{problem.depth - 2} hidden layers" if problem.depth > 2 else "no hidden layers"
        raise ValueError(f"need {needed} in the state of this problem, got {'some' if problem.depth == 2 else 'none'}")


def _real_array(name: str, array: Any) -> np.ndarray:
    try:
        found = np.asarray(_on_host(array))
        if found.dtype.kind not in NO_REALS:
            return found.astype(np.float64, copy=False)
    except (TypeError, ValueError, OverflowError):
        pass
    got = getattr(array, "dtype", type(array).__name__)
    raise ValueError(f"need {name} to be an array of real numbers, got {got}")


def _on_host(array: Any) -> Any:
    """A torch tensor without its gradient, in the host's memory; anything else as it is."""
    return array.detach().cpu() if hasattr(array, "detach") else array


def _need_finite(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"need {name} of shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"need finite entries in {name}, got {np.count_nonzero(~np.isfinite(array))} that are not")
