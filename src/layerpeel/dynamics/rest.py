"""Where a flow rests: its velocity is no more than the rounding of what it is made of.

A relative change c of theta, as rounding makes, changes grad F by c Hess F theta. Where the gradient is the difference
of two terms that cancel, of a loss and a regulariser or of logits and labels, this does not go to 0 with it. At theta =
0 it does, and the flow rests where grad F = 0. With a constraint grad F itself, which the set holds, counts too.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from layerpeel.dynamics.clock import unflatten
from layerpeel.problem import Problem, State
from layerpeel.problem import objective as pure

__all__ = ["at_rest", "gradient_and_size"]

AT_REST = 1e-12
"""The share of what it is made of below which a velocity is rounding."""


def gradient_and_size(problem: Problem, state: State) -> tuple[State, Float[Any, ""]]:
    """grad F and the norm of what it is made of, max(|Hess F theta|, and with a constraint |grad F|)."""
    gradient, change = jax.jvp(partial(pure.gradient, problem), (state,), (state,))
    held = 0.0 if problem.constraint is None else gradient.squared_norm
    return gradient, jnp.sqrt(jnp.maximum(change.squared_norm, held))


@jax.jit
def at_rest(problem: Problem, y: Float[Any, "m"]) -> Bool[Any, ""]:
    """Whether the flow of ``problem`` rests at y, a vector of :mod:`layerpeel.dynamics.clock`."""
    state, _ = unflatten(problem, y)
    gradient, size = gradient_and_size(problem, state)
    velocity = -gradient
    if problem.constraint is not None:
        velocity = problem.constraint.confine(problem.constraint.project(state), velocity)
    return velocity.squared_norm <= (AT_REST * size) ** 2
