"""The multiclass hinge loss of Crammer and Singer 2001."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Float

from layerpeel.problem.losses.loss import Loss

__all__ = ["Hinge"]


@dataclass(frozen=True)
class Hinge(Loss):
    """l(z, y) = max(0, 1 + max_{j != y} z_j - z_y): zero from margin 1 on, with a kink there."""

    @property
    def smooth(self) -> bool:
        """Not at margin 1, nor where two rivals tie, which is where descent takes it."""
        return False

    def value(self, Z: Float[Any, "K N"], Y: Float[Any, "K N"]) -> Float[Any, "N"]:  # noqa: D102
        rival = jnp.max(jnp.where(Y > 0, -jnp.inf, Z), axis=0)
        return jnp.maximum(0.0, 1.0 + rival - jnp.sum(jnp.where(Y > 0, Z, 0.0), axis=0))
