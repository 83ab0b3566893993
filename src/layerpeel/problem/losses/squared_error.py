"""The squared distance to the one-hot label."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Float

from layerpeel.problem.losses.loss import Loss

__all__ = ["SquaredError"]


@dataclass(frozen=True)
class SquaredError(Loss):
    """l(z, y) = |z - e_y|^2 / 2 (Mixon, Parshall and Pi 2020); zero at the label."""

    @property
    def convex(self) -> bool:
        """True."""
        return True

    def value(self, Z: Float[Any, "K N"], Y: Float[Any, "K N"]) -> Float[Any, "N"]:  # noqa: D102
        return jnp.sum((Z - Y) ** 2, axis=0) / 2
