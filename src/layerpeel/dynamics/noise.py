"""Gradient noise: the stand-in for stochastic gradients in a model without data."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

__all__ = ["GradientNoise"]


@dataclass(frozen=True)
class GradientNoise:
    """Adds to the gradient g an isotropic Gaussian of expected squared norm (relative |g|)^2.

    The numbers depend on (seed, position on the seed axis, step) alone, so a resumed run draws the same ones and
    every member of a batch its own.
    """

    relative: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.relative >= 0:
            raise ValueError(f"need relative >= 0, got relative={self.relative}")

    def key(self, member: Any) -> jax.Array:
        """The random key of one member of the seed axis."""
        return jax.random.fold_in(jax.random.key(self.seed), member)

    def apply(self, key: jax.Array, step: Any, gradient: Any) -> Any:
        """gradient + noise for this step."""
        flat, unravel = ravel_pytree(gradient)
        sigma = self.relative * jnp.linalg.norm(flat) / flat.size**0.5
        return unravel(flat + sigma * jax.random.normal(jax.random.fold_in(key, step), flat.shape, flat.dtype))
