"""States as vectors, (W, H, b, hidden) laid flat, as integrators and the methods of libraries take them."""

from typing import TYPE_CHECKING, Any, cast

import jax
import numpy as np
from jaxtyping import Float

from layerpeel.problem.state import State

if TYPE_CHECKING:
    from layerpeel.problem.problem import Problem

__all__ = ["as_state", "as_vector"]


def as_vector(state: State) -> Float[np.ndarray, "m"]:
    """The entries of a state, leaf after leaf."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state)])


def as_state(problem: "Problem", x: Float[Any, "m"]) -> State:
    """The state of ``problem`` with these entries, an array of numpy or of jax."""
    shapes, tree = jax.tree.flatten(problem.shapes, is_leaf=lambda leaf: isinstance(leaf, tuple))
    sizes = [int(np.prod(shape)) for shape in shapes]
    ends = np.cumsum(sizes)
    parts = [x[end - size : end].reshape(shape) for end, size, shape in zip(ends, sizes, shapes, strict=True)]
    return cast(State, jax.tree.unflatten(tree, parts))
