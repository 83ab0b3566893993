"""The objective F as a function of one vector, theta = (W, H, b, ..) laid flat, as the methods of libraries take it.

With its gradient and the products of its plain (Euclidean) Hessian, all by differentiation; no matrix is formed.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from layerpeel.problem import Problem, State
from layerpeel.problem import objective as pure
from layerpeel.problem.vectors import as_state, as_vector

__all__ = ["FlatObjective"]


@dataclass(frozen=True)
class FlatObjective:
    """x -> F(theta), x the leaves of theta one after the other."""

    problem: Problem

    def vector(self, state: State) -> Float[np.ndarray, "m"]:
        """x of a state."""
        return as_vector(state)

    def state(self, x: Float[np.ndarray, "m"]) -> State:
        """The state of x."""
        return as_state(self.problem, x)

    def value(self, state: State) -> float:
        """F."""
        return float(self.problem.objective(state))

    def value_and_gradient(self, x: Float[np.ndarray, "m"]) -> tuple[float, Float[np.ndarray, "m"]]:
        """F and its gradient."""
        with jax.enable_x64(True):
            value, gradient = _value_and_gradient(self.problem, self.state(x))
            return float(value), self.vector(gradient)

    def hessian_product(self, x: Float[np.ndarray, "m"], y: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        """Hess F(x) y."""
        with jax.enable_x64(True):
            return self.vector(_hessian_product(self.problem, self.state(x), self.state(y)))


_value_and_gradient = jax.jit(jax.value_and_grad(pure.objective, argnums=1))


@jax.jit
def _hessian_product(problem: Problem, state: State, direction: State) -> Any:
    return jax.jvp(lambda theta: pure.gradient(problem, theta), (state,), (direction,))[1]
