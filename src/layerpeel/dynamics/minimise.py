"""Minimise: one local minimum of an objective to rounding, by L-BFGS; from many starts, what minima there are.

Vectors on spheres are parametrised by free vectors, x -> r x/|x|, so that the minima are those on the spheres. Nothing
here says that a minimum is global: that is for a bound or a certificate.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from layerpeel.problem import Problem, Spheres, State
from layerpeel.problem import objective as pure
from layerpeel.problem.boundary import admit_one
from layerpeel.problem.vectors import as_state, as_vector

__all__ = ["Minimum", "minimise"]

OPTIONS = {"maxiter": 20_000, "maxfun": 40_000, "maxcor": 30, "ftol": 0.0, "gtol": 1e-12}
"""Of scipy's L-BFGS-B: on until rounding ends the line search."""


class Minimum(NamedTuple):
    """Where L-BFGS ended: the state, in its constraint, the objective there (or its logarithm) and |gradient|."""

    state: State
    value: float
    residual: float


def minimise(problem: Problem, start: State, *, log: bool = False) -> Minimum:
    """The local minimum of the objective, or with ``log`` of its logarithm, that L-BFGS finds from ``start``.

    Raises:
        ValueError: for a start that does not fit or has a seed axis, or a constraint other than spheres.
    """
    start = admit_one(problem, start)
    if not (problem.constraint is None or isinstance(problem.constraint, Spheres)):
        raise ValueError(f"need no constraint or spheres, got {type(problem.constraint).__name__}")
    objective = pure.log_objective if log else pure.objective
    with jax.enable_x64(True):
        x = as_vector(start)
        size = abs(float(_value_and_gradient(objective, problem, x)[0])) or 1.0

        def scaled(x: Float[np.ndarray, "m"]) -> tuple[float, Float[np.ndarray, "m"]]:
            value, gradient = _value_and_gradient(objective, problem, x)
            return float(value) / size, np.asarray(gradient) / size

        found = minimize(scaled, x, jac=True, method="L-BFGS-B", options=OPTIONS)
        state = jax.tree.map(np.asarray, _state(problem, jnp.asarray(found.x)))
        return Minimum(state, size * float(found.fun), size * float(np.linalg.norm(found.jac)))


@partial(jax.jit, static_argnums=0)
def _value_and_gradient(objective: Callable[[Problem, State], Any], problem: Problem, x: Any) -> Any:
    return jax.value_and_grad(lambda x: objective(problem, _state(problem, x)))(x)


def _state(problem: Problem, x: Any) -> State:
    state = as_state(problem, x)
    return state if problem.constraint is None else problem.constraint.project(state)
