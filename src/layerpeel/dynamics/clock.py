"""Clocks: the time in which a gradient flow is integrated, so that it can be followed to t = e^(e^10).

The flow theta' = -grad F(theta) of an objective that goes to 0 slows down forever: nothing happens before t has grown
by a factor. A clock s with dt = c ds turns it into

    d theta / ds = -c grad F,    d tau / ds = c / (1 + t),    tau = log(1 + t),

where tau, finite from t = 0 on, is carried as one more state. Two choices of c:

- c = 1/L (:class:`LossClock`): d theta / ds = -grad log L, d tau / ds = exp(-log L - tau). Nothing underflows, and s is
  about log log t. For exponential-tailed losses with nothing added.
- c = 1 + t (:class:`LogClock`): s = tau. For objectives that need not go to 0: regularised ones, any loss.

Here states are flat vectors y = (W, H, b, hidden, tau) of jax, as an integrator takes them.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from layerpeel.problem import Problem, State
from layerpeel.problem import objective as pure
from layerpeel.problem.vectors import as_state, as_vector

__all__ = [
    "Clock",
    "LogClock",
    "LossClock",
    "apply",
    "clock_of",
    "field",
    "flatten",
    "linearized",
    "tau_of",
    "unflatten",
]


class Clock(abc.ABC):
    """A choice of dt/ds."""

    @abc.abstractmethod
    def velocity(self, problem: Problem, state: State, tau: Float[Any, ""]) -> tuple[State, Float[Any, ""]]:
        """(d theta / ds, d tau / ds), in jax.numpy operations."""


@dataclass(frozen=True)
class LossClock(Clock):
    """dt = ds / L."""

    def velocity(self, problem: Problem, state: State, tau: Float[Any, ""]) -> tuple[State, Float[Any, ""]]:  # noqa: D102
        log_loss, slope = jax.value_and_grad(pure.log_objective, argnums=1)(problem, state)
        return -slope, jnp.exp(-log_loss - tau)


@dataclass(frozen=True)
class LogClock(Clock):
    """dt = (1 + t) ds."""

    def velocity(self, problem: Problem, state: State, tau: Float[Any, ""]) -> tuple[State, Float[Any, ""]]:  # noqa: D102
        return -jnp.exp(tau) * pure.gradient(problem, state), jnp.ones_like(tau)


def clock_of(problem: Problem) -> Clock:
    """The loss clock where the objective is known to go to 0 with its logarithm exact, else the log clock."""
    return LossClock() if problem.vanishes else LogClock()


def tau_of(log_time: Any) -> Any:
    """tau = log(1 + t) of log t."""
    return np.logaddexp(0.0, log_time)


def flatten(state: State, tau: float) -> Float[np.ndarray, "m"]:
    """y = (W, H, b, hidden, tau)."""
    return np.append(as_vector(state), tau)


def unflatten(problem: Problem, y: Float[Any, "m"]) -> tuple[State, Float[Any, ""]]:
    """The state and tau of y."""
    return as_state(problem, y[:-1]), y[-1]


@partial(jax.jit, static_argnames="clock")
def field(problem: Problem, clock: Clock, y: Float[Any, "m"]) -> Float[Any, "m"]:
    """dy/ds."""
    velocity, rate = clock.velocity(problem, *unflatten(problem, y))
    return jnp.concatenate([*(jnp.ravel(leaf) for leaf in jax.tree.leaves(velocity)), rate[None]])


@partial(jax.jit, static_argnames="clock")
def linearized(problem: Problem, clock: Clock, y: Float[Any, "m"]) -> Callable[[Any], Any]:
    """The Jacobian of :func:`field` at y as a function of directions, exact; what depends on y alone is computed
    once."""
    return jax.linearize(lambda z: field(problem, clock, z), y)[1]


@jax.jit
def apply(jacobian: Callable[[Any], Any], direction: Float[Any, "m"]) -> Float[Any, "m"]:
    """A :func:`linearized` Jacobian times ``direction``."""
    return jacobian(direction)
