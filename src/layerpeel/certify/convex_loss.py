"""The loss as a convex function of the logits Z, and its tangent planes: L(Z') >= L(Z) + <G, Z' - Z>, G = dL/dZ.

Everything that certificates prove follows from these planes and from L >= 0. Where the loss has a kink (hinge), G is
the one subgradient that differentiation gives.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from layerpeel.problem import Loss, Problem

__all__ = ["ConvexLoss", "need_convex"]


def need_convex(loss: Loss) -> None:
    """Raise for a loss without tangent planes below it."""
    if not loss.convex:
        raise ValueError(
            f"need a loss that is convex in the logits, and says so by `convex = True`, for a proof of global "
            f"optimality, got {loss!r}"
        )


@dataclass(frozen=True)
class ConvexLoss:
    """Z -> L(Z), the sum or mean over the samples, of a problem.

    Raises:
        ValueError: for a loss that is not convex.
    """

    problem: Problem

    def __post_init__(self) -> None:
        need_convex(self.problem.loss)

    @cached_property
    def _of_logits(self) -> Problem:
        """What the logits know of the problem, so that one compilation serves all that differ in the rest."""
        return replace(self.problem, d=1, regulariser=None, constraint=None, bias=False, depth=2)

    def value_and_gradient(self, Z: Float[np.ndarray, "K N"]) -> tuple[float, Float[np.ndarray, "K N"]]:
        """L and G.

        Raises:
            ValueError: where L is negative or not finite.
        """
        with jax.enable_x64(True):
            value, gradient = map(np.asarray, _value_and_gradient(self._of_logits, Z))
        if not (0 <= value < np.inf and np.isfinite(gradient).all()):  # nan fails too
            raise ValueError(f"need a loss that is finite and not negative at the state, got L = {float(value):g}")
        return float(value), gradient

    def bias_hessian(self, X: Float[np.ndarray, "K N"], b: Float[np.ndarray, "K"]) -> Float[np.ndarray, "K K"]:
        """The second derivative of b -> L(X + b 1')."""
        with jax.enable_x64(True):
            return np.asarray(_bias_hessian(self._of_logits, X, b))


def _reduced(problem: Problem, Z: Any) -> Any:
    losses = problem.loss.value(Z, problem.onehot)
    return jnp.sum(losses) if problem.reduction == "sum" else jnp.mean(losses)


@jax.jit
def _value_and_gradient(problem: Problem, Z: Any) -> Any:
    return jax.value_and_grad(_reduced, argnums=1)(problem, Z)


@jax.jit
def _bias_hessian(problem: Problem, X: Any, b: Any) -> Any:
    return jax.hessian(lambda b: _reduced(problem, X + b[:, None]))(b)
