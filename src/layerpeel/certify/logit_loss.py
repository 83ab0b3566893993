"""The loss as a function of the logits alone: log L, its gradient G/L and products with its Hessian, in numpy.

Without bias and regulariser L depends on theta = (W, H) only through Z = W H. So the derivatives at a point are those
in Z, K x N matrices, put together by products with the factors: with G = dL/dZ

    d log L = <G/L, dW H + W dH>,    grad log L = (G/L H', W' G/L).

Everything is in units of L, hence exact past its underflow for exponential-tailed losses, and the reduction cancels.
Where L is 0 in float64 there is no such unit. A loss that is not negative has dL/dZ = 0 where it is 0: one with
another dL/dZ has been rounded to 0, and nothing can be said of it in these units.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from layerpeel.problem import Problem, State
from layerpeel.problem import objective as pure
from layerpeel.problem.problem import need_problem

__all__ = ["LogitLoss"]


@dataclass(frozen=True)
class LogitLoss:
    """Z -> log L(Z) of a problem.

    Raises:
        ValueError: for a problem with a bias, a regulariser or a constraint.
    """

    problem: Problem

    def __post_init__(self) -> None:
        problem = self.problem
        need_problem(problem)
        if not problem.plain:
            raise ValueError(
                "need a problem without bias, regulariser and constraint, whose loss depends on W H alone, got one with"
            )

    @cached_property
    def _of_logits(self) -> Problem:
        """The problem at d = 1: the logits do not know d, so that one compilation serves every d."""
        return replace(self.problem, d=1)

    def value(self, Z: Float[np.ndarray, "K N"]) -> float:
        """log L."""
        with jax.enable_x64(True):
            return float(_value(self._of_logits, Z))

    def value_and_gradient(self, Z: Float[np.ndarray, "K N"]) -> tuple[float, Float[np.ndarray, "K N"]]:
        """log L and G/L; for cross-entropy the columns of G/L sum to 0. Where L and G are 0 in float64, -inf and 0.

        Raises:
            ValueError: where L is 0 in float64 and G is not.
        """
        with jax.enable_x64(True):
            value, gradient = _value_and_gradient(self._of_logits, Z)
            if value == -np.inf:
                self._need_no_gradient(Z)
                return -np.inf, np.zeros_like(Z)
            return float(value), np.asarray(gradient)

    def _need_no_gradient(self, Z: Float[np.ndarray, "K N"]) -> None:
        steepest = float(np.abs(_plain_gradient(self._of_logits, Z)).max())
        if not steepest == 0:
            raise ValueError(
                "need a loss that is not rounded to 0 (make it a layerpeel.ExponentialTailed, with its logarithm), got "
                f"{type(self.problem.loss).__name__} with L = 0 in float64 and slopes in the logits of {steepest:.3g}"
            )

    def hessian_product(self, Z: Float[np.ndarray, "K N"], A: Float[np.ndarray, "K N"]) -> Float[np.ndarray, "K N"]:
        """The second derivative of log L in Z, applied to A."""
        with jax.enable_x64(True):
            return np.asarray(_hessian_product(self._of_logits, Z, A))

    def state_gradient(self, state: State, gradient: Float[np.ndarray, "K N"]) -> State:
        """grad log L = (G/L H', W' G/L) at ``state``, from G/L."""
        return State(gradient @ state.H.T, state.W.T @ gradient)


@jax.jit
def _value(problem: Problem, Z: Any) -> Any:
    return pure.log_reduced(problem, Z)


@jax.jit
def _value_and_gradient(problem: Problem, Z: Any) -> Any:
    return jax.value_and_grad(pure.log_reduced, argnums=1)(problem, Z)


@jax.jit
def _plain_gradient(problem: Problem, Z: Any) -> Any:
    return jax.grad(lambda X: problem.loss.value(X, problem.onehot).sum())(Z)


@jax.jit
def _hessian_product(problem: Problem, Z: Any, A: Any) -> Any:
    return jax.jvp(lambda X: jax.grad(pure.log_reduced, argnums=1)(problem, X), (Z,), (A,))[1]
