"""Losses of a sample: what is summed over the columns of the logits.

A loss answers one question: its value at logits Z [K, N] with one-hot labels Y [K, N], column by column;
derivatives are automatic. Nothing more is required to descend. A loss that decays exponentially underflows float64
(at a margin of about 708, where the compiler flushes what is smaller to 0), so :class:`ExponentialTailed` asks for
the logarithm of the value too; with it log-domain objectives and gradients stay exact far beyond.
"""

import abc
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

__all__ = ["CrossEntropy", "ExponentialTailed", "Loss"]


class Loss(abc.ABC):
    """The loss of each sample. Subclass it with ``value`` alone, a pure function."""

    @abc.abstractmethod
    def value(self, Z: Float[Any, "K N"], Y: Float[Any, "K N"]) -> Float[Any, "N"]:
        """The losses at logits Z for one-hot labels Y, in jax.numpy operations."""


class ExponentialTailed(Loss):
    """A loss that goes to 0 exponentially in the margin, with its logarithm."""

    @abc.abstractmethod
    def log_value(self, Z: Float[Any, "K N"], Y: Float[Any, "K N"]) -> Float[Any, "N"]:
        """log of ``value``, exact also where ``value`` underflows."""


@dataclass(frozen=True)
class CrossEntropy(ExponentialTailed):
    """l(z, y) = -log softmax(z)_y = log(1 + sum_{j != y} exp(z_j - z_y)).

    Zero only at infinite margin; invariant to adding a constant to z. Neither the value nor its derivative cancels:
    both are sums over the wrong classes alone.
    """

    def value(self, Z: Float[Any, "K N"], Y: Float[Any, "K N"]) -> Float[Any, "N"]:  # noqa: D102
        return _cross_entropy(Z, Y)

    def log_value(self, Z: Float[Any, "K N"], Y: Float[Any, "K N"]) -> Float[Any, "N"]:  # noqa: D102
        wrong = jnp.where(Y > 0, -jnp.inf, _leads(Z, Y))
        return log_softplus(jax.nn.logsumexp(wrong, axis=0))


def _leads(Z: Float[Any, "K N"], Y: Float[Any, "K N"]) -> Float[Any, "K N"]:
    """z_j - z_y: how far class j leads the label; 0 at j = y."""
    lead = Z - jnp.sum(jnp.where(Y > 0, Z, 0.0), axis=0)
    return jnp.where(Y > 0, 0.0, lead)  # where Z is a fused product, z_y - z_y is not exactly 0


@jax.custom_jvp
def _cross_entropy(Z: Float[Any, "K N"], Y: Float[Any, "K N"]) -> Float[Any, "N"]:
    lead = _leads(Z, Y)
    top = jnp.max(lead, axis=0)  # >= 0
    wrong = jnp.sum(jnp.where(Y > 0, 0.0, jnp.exp(lead - top)), axis=0)
    return top + jnp.log1p(wrong + jnp.expm1(-top))


@_cross_entropy.defjvp
def _cross_entropy_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    """dl = sum_{j != y} p_j (dz_j - dz_y): the compiler's own derivative takes a quarter more time a step."""
    Z, Y = primals
    odds = jnp.exp(Z - jax.lax.stop_gradient(jnp.max(Z, axis=0)))
    p = jnp.where(Y > 0, 0.0, odds / jnp.sum(odds, axis=0))
    slope = jnp.where(Y > 0, -jnp.sum(p, axis=0), p)
    return _cross_entropy(Z, Y), jnp.sum(slope * tangents[0], axis=0)


@jax.custom_jvp
def log_softplus(m: Float[Any, "..."]) -> Float[Any, "..."]:
    """log(log(1 + e^m)), exact to rounding for every m: tends to m at -inf and to log m at +inf."""
    u = jnp.exp(jnp.minimum(m, -18.0))
    small = m + jnp.log1p(-u / 2)  # log(log1p(u)) = m + log(1 - u/2 + u^2/3 - ...), and u^2 < 2.4e-16
    return jnp.where(m < -18.0, small, jnp.log(jax.nn.softplus(jnp.maximum(m, -18.0))))


@log_softplus.defjvp
def _log_softplus_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    """d/dm log softplus(m) = sigmoid(m) / softplus(m), from their logarithms (it tends to 1 at -inf)."""
    (m,), (dm,) = primals, tangents
    value = log_softplus(m)
    return value, jnp.exp(jax.nn.log_sigmoid(m) - value) * dm
