"""What a model adds to its loss. It asks one question, its value; the unconstrained layer-peeled model has none."""

import abc
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from layerpeel.problem.options import need_not_negative
from layerpeel.problem.state import State

__all__ = ["Regulariser", "Ridge"]


class Regulariser(abc.ABC):
    """A non-negative function of the state that is added to the loss."""

    def check(self) -> None:  # noqa: B027 (most have nothing to check)
        """Raise a ValueError unless its settings are possible; numbers under a transformation pass."""

    @abc.abstractmethod
    def value(self, state: State) -> Float[Any, ""]:
        """R(theta), in jax.numpy operations."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Ridge(Regulariser):
    """R = lam_W/2 |W|^2 + lam_H/2 |H|^2 + lam_b/2 |b|^2 + lam_hidden/2 sum_l |M_l|^2 (Zhu et al. 2021)."""

    lam_W: Any
    lam_H: Any
    lam_b: Any = 0.0
    lam_hidden: Any = 0.0

    def check(self) -> None:  # noqa: D102
        for name, value in vars(self).items():
            if isinstance(value, int | float | np.number):
                need_not_negative(name, value)

    def value(self, state: State) -> Float[Any, ""]:  # noqa: D102
        bias = 0.0 if state.b is None else self.lam_b * jnp.sum(state.b**2)
        hidden = 0.0 if state.hidden is None else self.lam_hidden * jnp.sum(state.hidden**2)
        return (self.lam_W * jnp.sum(state.W**2) + self.lam_H * jnp.sum(state.H**2) + bias + hidden) / 2
