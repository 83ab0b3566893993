"""The focal loss of Lin et al. 2017: cross-entropy that turns away from what is already classified."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from layerpeel.problem.losses.cross_entropy import log_odds_against, log_softplus
from layerpeel.problem.losses.loss import ExponentialTailed

__all__ = ["Focal"]


@dataclass(frozen=True)
class Focal(ExponentialTailed):
    """l(z, y) = (1 - p_y)^gamma (-log p_y), p = softmax(z); it falls like e^{-(1+gamma) margin}.

    Cross-entropy at gamma = 0. Not convex in z for gamma > 0: where p_y is small its slope grows with the margin.
    """

    gamma: int | float = 2.0

    def __post_init__(self) -> None:
        if not (isinstance(self.gamma, int | float) and 0 <= self.gamma < float("inf")):
            raise ValueError(f"need gamma >= 0 and finite, got gamma={self.gamma!r}")

    @property
    def convex(self) -> bool:
        """Only for gamma = 0."""
        return self.gamma == 0

    def value(self, Z: Float[Any, "K N"], Y: Float[Any, "K N"]) -> Float[Any, "N"]:  # noqa: D102
        odds = log_odds_against(Z, Y)
        return jnp.exp(self.gamma * jax.nn.log_sigmoid(odds)) * jax.nn.softplus(odds)

    def log_value(self, Z: Float[Any, "K N"], Y: Float[Any, "K N"]) -> Float[Any, "N"]:  # noqa: D102
        odds = log_odds_against(Z, Y)
        return self.gamma * jax.nn.log_sigmoid(odds) + log_softplus(odds)
