"""Cross-entropy, with or without label smoothing, exact at every margin with its logarithm and its derivatives."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from layerpeel.problem.losses.loss import ExponentialTailed

__all__ = ["CrossEntropy", "log_odds_against", "log_softplus"]


@dataclass(frozen=True)
class CrossEntropy(ExponentialTailed):
    """l(z, y) = -log softmax(z)_y = log(1 + sum_{j != y} exp(z_j - z_y)), smoothed by a: against (1-a) e_y + a/K 1.

    Without smoothing zero only at infinite margin; with it, l + (a/K) sum_j (z_y - z_j) is least at a finite one and
    positive there. Invariant to adding a constant to z. Neither the value nor its derivative cancels: both are sums
    over the wrong classes alone.

    Attributes:
        label_smoothing: a, the weight of the uniform labels, 0 <= a < 1 (Szegedy et al. 2016).
    """

    label_smoothing: int | float = 0.0

    def __post_init__(self) -> None:
        if not (isinstance(self.label_smoothing, int | float) and 0 <= self.label_smoothing < 1):
            raise ValueError(f"need 0 <= label_smoothing < 1, got label_smoothing={self.label_smoothing!r}")

    @property
    def convex(self) -> bool:
        """True."""
        return True

    @property
    def vanishes(self) -> bool:
        """Only without smoothing."""
        return self.label_smoothing == 0

    def value(self, Z: Float[Any, "K N"], Y: Float[Any, "K N"]) -> Float[Any, "N"]:  # noqa: D102
        return _cross_entropy(Z, Y) if self.vanishes else _cross_entropy(Z, Y) + self._pull(Z, Y)

    def log_value(self, Z: Float[Any, "K N"], Y: Float[Any, "K N"]) -> Float[Any, "N"]:  # noqa: D102
        return log_softplus(log_odds_against(Z, Y)) if self.vanishes else jnp.log(self.value(Z, Y))

    def _pull(self, Z: Float[Any, "K N"], Y: Float[Any, "K N"]) -> Float[Any, "N"]:
        return -self.label_smoothing * jnp.mean(_leads(Z, Y), axis=0)


def log_odds_against(Z: Float[Any, "K N"], Y: Float[Any, "K N"]) -> Float[Any, "N"]:
    """log sum_{j != y} exp(z_j - z_y), the log odds against the label."""
    return jax.nn.logsumexp(jnp.where(Y > 0, -jnp.inf, _leads(Z, Y)), axis=0)


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
