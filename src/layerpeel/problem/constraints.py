"""What a model adds to its loss: a regulariser (a term of the objective) or a constraint (a set to stay in).

Each asks one question: the regulariser its value, the constraint its projection. The unconstrained layer-peeled model
has neither.
"""

import abc
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from layerpeel.problem.state import State

__all__ = ["Constraint", "NormBalls", "Regulariser", "Ridge"]


class Regulariser(abc.ABC):
    """A non-negative function of the state that is added to the loss."""

    @abc.abstractmethod
    def value(self, state: State) -> Float[Any, ""]:
        """R(theta), in jax.numpy operations."""


class Constraint(abc.ABC):
    """A closed set of states, known by its projection."""

    @abc.abstractmethod
    def project(self, state: State) -> State:
        """The nearest point of the set; the identity on the set."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Ridge(Regulariser):
    """R = lam_W/2 |W|^2 + lam_H/2 |H|^2 + lam_b/2 |b|^2 (Zhu et al. 2021)."""

    lam_W: Any
    lam_H: Any
    lam_b: Any = 0.0

    def value(self, state: State) -> Float[Any, ""]:  # noqa: D102
        bias = 0.0 if state.b is None else self.lam_b * jnp.sum(state.b**2)
        return (self.lam_W * jnp.sum(state.W**2) + self.lam_H * jnp.sum(state.H**2) + bias) / 2


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NormBalls(Constraint):
    """|W|_F^2 <= W2 and |H|_F^2 <= H2 (the norm balls of Fang et al. 2021 and of the paper's equation (1))."""

    W2: Any
    H2: Any

    def project(self, state: State) -> State:  # noqa: D102
        return State(_into_ball(state.W, self.W2), _into_ball(state.H, self.H2), state.b)


def _into_ball(x: Float[Any, "..."], radius2: Any) -> Float[Any, "..."]:
    return x * jnp.minimum(1.0, jnp.sqrt(radius2 / jnp.sum(x**2)))
