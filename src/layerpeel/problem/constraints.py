"""Sets that a model's states must stay in, by their faces g_j(theta) <= 0, whose normals are orthogonal to each other.

The flow in a set is theta' = the part of -grad F that does not leave it: the projection of -grad F on the tangent cone
at theta. On a face, g_j = 0, that is without its part along the normal grad g_j if it points outward; on a sphere,
where g_j = 0 throughout, without its normal part. Descent projects points instead.
"""

import abc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from layerpeel.problem.options import need_positive_if_known
from layerpeel.problem.state import State

__all__ = ["Constraint", "NonNegative", "NormBalls", "OutputBall", "Spheres"]

INSIDE = 1e-12
"""How far below 0 a gap counts as on its face; gaps of balls are relative to the squared radius."""
TINY = 1e-300
NEWTON_STEPS = 30


class Constraint(abc.ABC):
    """A closed set of states, {g_j <= 0 for every face j} in a linear space, or {g_j = 0} for ``equality``."""

    equality: ClassVar[bool] = False

    def check(self, K: int, d: int, N: int) -> None:  # noqa: B027 (most sets are for any sizes)
        """Raise a ValueError unless this is a set of states of these sizes; numbers under a transformation pass."""

    @abc.abstractmethod
    def project(self, state: State) -> State:
        """The nearest point of the set; the identity on the set."""

    @abc.abstractmethod
    def gaps(self, state: State) -> Float[Any, "face"]:
        """g: negative inside, 0 on a face."""

    @abc.abstractmethod
    def without(self, state: State, velocity: State, rates: Any) -> State:
        """``velocity``, in the linear space of the set, less sum_j rates_j grad g_j / |grad g_j|^2: less what raises
        the gaps at these rates."""

    def rates(self, state: State, velocity: State) -> Float[Any, "face"]:
        """How fast the gaps grow along ``velocity``, taken to the linear space of the set."""
        return jax.jvp(self.gaps, (state,), (self.without(state, velocity, 0.0),))[1]

    def confine(self, state: State, velocity: State) -> State:
        """The part of ``velocity`` at ``state``, a point of the set, that does not leave the set."""
        rates = self.rates(state, velocity)
        outward = jnp.where(self.gaps(state) >= -INSIDE, jnp.maximum(rates, 0.0), 0.0)
        return self.without(state, velocity, rates if self.equality else outward)

    def slide(self, state: State, velocity: State, binding: Bool[Any, "face"]) -> State:
        """``velocity`` along the ``binding`` faces, inward or outward, and back onto them: there g_j' = -g_j.

        A smooth function of the state, for integrators; on the set and without the faces that are to be left, it is
        :meth:`confine`.
        """
        rates = self.rates(state, velocity) + self.gaps(state)
        return self.without(state, velocity, jnp.where(binding, rates, 0.0))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class NormBalls(Constraint):
    """|W|_F^2 <= W2 and sum_i a_i |h_i|^2 <= H2 (Fang et al. 2021; equation (1) of Ji et al. 2022).

    Attributes:
        W2: squared radius of the classifiers.
        H2: squared radius of the features.
        weights: a [N], or None for 1.
    """

    W2: Any
    H2: Any
    weights: Any = None

    @property
    def alike(self) -> bool:
        """Whether all samples have the same weight."""
        return self.weights is None or len(np.unique(np.asarray(self.weights))) == 1

    def check(self, K: int, d: int, N: int) -> None:  # noqa: D102
        need_positive_if_known("W2", self.W2)
        need_positive_if_known("H2", self.H2)
        if isinstance(self.weights, np.ndarray | Sequence) and not (
            np.shape(self.weights) == (N,) and np.all(np.asarray(self.weights) > 0)
        ):
            raise ValueError(f"need weights > 0, one for each of N={N} samples, got {self.weights!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NormBalls) and self._numbers() == other._numbers()

    def __hash__(self) -> int:
        return hash(self._numbers())

    def project(self, state: State) -> State:  # noqa: D102
        W = _into_ball(state.W, self.W2)
        if self.weights is None:
            return replace(state, W=W, H=_into_ball(state.H, self.H2))
        return replace(state, W=W, H=_into_ellipsoid(state.H, self.weights, self.H2))

    def gaps(self, state: State) -> Float[Any, "face"]:  # noqa: D102
        W, H = jnp.sum(state.W**2), jnp.sum(state.H * self._weighted(state.H))
        return jnp.stack([W / self.W2 - 1, H / self.H2 - 1])

    def without(self, state: State, velocity: State, rates: Any) -> State:  # noqa: D102
        rates = rates * jnp.ones(2)
        W = velocity.W - rates[0] * _raising(state.W, self.W2, None)
        return replace(velocity, W=W, H=velocity.H - rates[1] * _raising(self._weighted(state.H), self.H2, None))

    def _weighted(self, H: Float[Any, "d N"]) -> Float[Any, "d N"]:
        return H if self.weights is None else H * self.weights

    def _numbers(self) -> tuple[Any, ...]:
        return self.W2, self.H2, None if self.weights is None else tuple(np.asarray(self.weights).tolist())


@partial(jax.tree_util.register_dataclass, data_fields=["radius"], meta_fields=["tied"])
@dataclass(frozen=True)
class Spheres(Constraint):
    """|w_k| = |h_i| = radius for all classifiers and features (Lu and Steinerberger 2020); ``tied``: also W = H'."""

    radius: Any
    tied: bool = False
    equality: ClassVar[bool] = True

    def check(self, K: int, d: int, N: int) -> None:  # noqa: D102
        need_positive_if_known("radius", self.radius)
        if self.tied and N != K:
            raise ValueError(f"need n = 1 for tied vectors, W = H', got N={N} samples of K={K} classes")

    def project(self, state: State) -> State:  # noqa: D102
        W, H = _mirrored(state) if self.tied else (state.W, state.H)
        return replace(state, W=self._onto(W, 1), H=self._onto(H, 0))

    def gaps(self, state: State) -> Float[Any, "face"]:  # noqa: D102
        return jnp.concatenate([jnp.sum(state.W**2, axis=1), jnp.sum(state.H**2, axis=0)]) / self.radius**2 - 1

    def without(self, state: State, velocity: State, rates: Any) -> State:  # noqa: D102
        K = state.W.shape[0]
        W, H = _mirrored(velocity) if self.tied else (velocity.W, velocity.H)
        rates = rates * jnp.ones(K + state.H.shape[1])
        W = W - rates[:K, None] * _raising(state.W, self.radius**2, 1)
        return replace(velocity, W=W, H=H - rates[K:] * _raising(state.H, self.radius**2, 0))

    def _onto(self, vectors: Float[Any, "a b"], axis: int) -> Float[Any, "a b"]:
        return vectors * (self.radius / jnp.linalg.norm(vectors, axis=axis, keepdims=True))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OutputBall(Constraint):
    """W = I and |h_i| <= radius: the logits themselves are free in a ball (Wojtowytsch and E 2020); needs d = K."""

    radius: Any

    def check(self, K: int, d: int, N: int) -> None:  # noqa: D102
        need_positive_if_known("radius", self.radius)
        if d != K:
            raise ValueError(f"need d = K for logits in a ball, W = I, got d={d}, K={K}")

    def project(self, state: State) -> State:  # noqa: D102
        lengths = jnp.linalg.norm(state.H, axis=0)
        return replace(state, W=_identity(state.W), H=state.H * _shrink(lengths, self.radius))

    def gaps(self, state: State) -> Float[Any, "face"]:  # noqa: D102
        return jnp.sum(state.H**2, axis=0) / self.radius**2 - 1

    def without(self, state: State, velocity: State, rates: Any) -> State:  # noqa: D102
        return replace(velocity, W=0 * velocity.W, H=velocity.H - rates * _raising(state.H, self.radius**2, 0))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NonNegative(Constraint):
    """H >= 0 entry by entry: features behind a ReLU (Tirer and Bruna 2022)."""

    def project(self, state: State) -> State:  # noqa: D102
        return replace(state, H=jnp.maximum(state.H, 0.0))

    def gaps(self, state: State) -> Float[Any, "face"]:  # noqa: D102
        return -jnp.ravel(state.H)

    def without(self, state: State, velocity: State, rates: Any) -> State:  # noqa: D102
        return replace(velocity, H=velocity.H + jnp.reshape(rates * jnp.ones(state.H.size), state.H.shape))


def _identity(W: Float[Any, "K d"]) -> Float[Any, "K d"]:
    return jnp.eye(W.shape[0], W.shape[1], dtype=W.dtype)


def _mirrored(state: State) -> tuple[Float[Any, "K d"], Float[Any, "d K"]]:
    """W and H of the nearest state with W = H'."""
    U = (state.W + state.H.T) / 2
    return U, U.T


def _raising(normal: Float[Any, "a b"], radius2: Any, axis: int | None) -> Float[Any, "a b"]:
    """grad g / |grad g|^2 for grad g = 2 ``normal`` / r^2, one face for each index across ``axis``."""
    return normal * (radius2 / 2) / jnp.maximum(jnp.sum(normal**2, axis=axis, keepdims=True), TINY)


def _shrink(length: Float[Any, "..."], radius: Any) -> Float[Any, "..."]:
    """The factor, at most 1, that brings a length down to the radius."""
    return jnp.minimum(1.0, radius / jnp.maximum(length, TINY))


def _into_ball(x: Float[Any, "..."], radius2: Any) -> Float[Any, "..."]:
    return x * _shrink(jnp.sqrt(jnp.sum(x**2)), jnp.sqrt(radius2))


def _into_ellipsoid(H: Float[Any, "d N"], weights: Float[Any, "N"], radius2: Any) -> Float[Any, "d N"]:
    """The nearest point with sum_i a_i |h_i|^2 <= r^2: h_i/(1 + nu a_i), nu >= 0 the root of phi(nu) = r^2.

    Newton's method on 1/sqrt(phi), which is increasing and concave, rises from 0 to the root.
    """
    squares = jnp.sum(H**2, axis=0)

    def phi(nu: Any) -> Any:
        return jnp.sum(weights * squares / (1 + nu * weights) ** 2)

    def rise(_: Any, nu: Any) -> Any:
        value, slope = jax.value_and_grad(phi)(nu)
        return nu - 2 * value / jnp.minimum(slope, -TINY) * jnp.maximum(jnp.sqrt(value / radius2) - 1, 0.0)

    nu = jax.lax.fori_loop(0, NEWTON_STEPS, rise, jnp.zeros_like(squares[0]))
    return H / (1 + nu * weights)
