"""Sets that a model's states must stay in, by two projections: of points, for descent, and of velocities, for flow.

The flow in a set is theta' = the part of -grad F that does not leave it: the projection of -grad F on the tangent cone
at theta. On a smooth boundary that means without its outward normal part; on a sphere, without its normal part.
"""

import abc
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from layerpeel.problem.state import State

__all__ = ["Constraint", "NonNegative", "NormBalls", "OutputBall", "Spheres"]

INSIDE = 1e-12
"""How far below its radius, in parts of it, a point counts as on the boundary of a ball."""
TINY = 1e-300
NEWTON_STEPS = 30


class Constraint(abc.ABC):
    """A closed set of states."""

    @abc.abstractmethod
    def project(self, state: State) -> State:
        """The nearest point of the set; the identity on the set."""

    @abc.abstractmethod
    def confine(self, state: State, velocity: State) -> State:
        """The part of ``velocity`` at ``state``, a point of the set, that does not leave the set."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
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

    def project(self, state: State) -> State:  # noqa: D102
        W = _into_ball(state.W, self.W2)
        if self.weights is None:
            return replace(state, W=W, H=_into_ball(state.H, self.H2))
        return replace(state, W=W, H=_into_ellipsoid(state.H, self.weights, self.H2))

    def confine(self, state: State, velocity: State) -> State:  # noqa: D102
        normal = state.H if self.weights is None else state.H * self.weights
        W_on = jnp.sum(state.W**2) >= self.W2 * (1 - INSIDE)
        H_on = jnp.sum(state.H * normal) >= self.H2 * (1 - INSIDE)
        W = _without_outward(velocity.W, state.W, W_on)
        return replace(velocity, W=W, H=_without_outward(velocity.H, normal, H_on))


@partial(jax.tree_util.register_dataclass, data_fields=["radius"], meta_fields=["tied"])
@dataclass(frozen=True)
class Spheres(Constraint):
    """|w_k| = |h_i| = radius for all classifiers and features (Lu and Steinerberger 2020); ``tied``: also W = H'."""

    radius: Any
    tied: bool = False

    def project(self, state: State) -> State:  # noqa: D102
        W, H = _mirrored(state) if self.tied else (state.W, state.H)
        return replace(state, W=self._onto(W, 1), H=self._onto(H, 0))

    def confine(self, state: State, velocity: State) -> State:  # noqa: D102
        W, H = _mirrored(velocity) if self.tied else (velocity.W, velocity.H)
        return replace(velocity, W=_across(W, state.W, 1), H=_across(H, state.H, 0))

    def _onto(self, vectors: Float[Any, "a b"], axis: int) -> Float[Any, "a b"]:
        return vectors * (self.radius / jnp.linalg.norm(vectors, axis=axis, keepdims=True))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OutputBall(Constraint):
    """W = I and |h_i| <= radius: the logits themselves are free in a ball (Wojtowytsch and E 2020); needs d = K."""

    radius: Any

    def project(self, state: State) -> State:  # noqa: D102
        lengths = jnp.linalg.norm(state.H, axis=0)
        return replace(state, W=_identity(state.W), H=state.H * _shrink(lengths, self.radius))

    def confine(self, state: State, velocity: State) -> State:  # noqa: D102
        on = jnp.linalg.norm(state.H, axis=0) >= self.radius * (1 - INSIDE)
        outward = jnp.maximum(0.0, jnp.sum(velocity.H * state.H, axis=0)) / self.radius**2
        return replace(velocity, W=0 * velocity.W, H=velocity.H - jnp.where(on, outward, 0.0) * state.H)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NonNegative(Constraint):
    """H >= 0 entry by entry: features behind a ReLU (Tirer and Bruna 2022)."""

    def project(self, state: State) -> State:  # noqa: D102
        return replace(state, H=jnp.maximum(state.H, 0.0))

    def confine(self, state: State, velocity: State) -> State:  # noqa: D102
        return replace(velocity, H=jnp.where((state.H <= 0) & (velocity.H < 0), 0.0, velocity.H))


def _identity(W: Float[Any, "K d"]) -> Float[Any, "K d"]:
    return jnp.eye(W.shape[0], W.shape[1], dtype=W.dtype)


def _mirrored(state: State) -> tuple[Float[Any, "K d"], Float[Any, "d K"]]:
    """W and H of the nearest state with W = H'."""
    U = (state.W + state.H.T) / 2
    return U, U.T


def _across(velocities: Float[Any, "a b"], vectors: Float[Any, "a b"], axis: int) -> Float[Any, "a b"]:
    """The parts of the velocities that are orthogonal to the vectors."""
    along = jnp.sum(velocities * vectors, axis=axis, keepdims=True) / jnp.sum(vectors**2, axis=axis, keepdims=True)
    return velocities - along * vectors


def _without_outward(velocity: Float[Any, "a b"], normal: Float[Any, "a b"], on: Bool[Any, ""]) -> Float[Any, "a b"]:
    """``velocity`` without its part along the outward ``normal`` where a point is ``on`` the boundary."""
    outward = jnp.maximum(0.0, jnp.sum(velocity * normal)) / jnp.maximum(jnp.sum(normal**2), TINY)
    return velocity - jnp.where(on, outward, 0.0) * normal


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
