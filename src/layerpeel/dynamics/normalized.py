"""Loss-normalised descent, on the question of section 5.3 of Ji et al.: collapse in steps, not exponentials of them.

With g = grad log L and rho^2 = |theta|^2 one step is

    theta <- theta - (c/rho^2) g,                                       plain,
    m <- t/(t + r) (m + g),   theta <- theta - (c/rho^2) (m + g),       with momentum of friction r, t = 0, 1, 2, ...

Along the collapsed direction g = -2 gamma theta, with gamma = 1/(2 |PY|_*) (:mod:`layerpeel.separation`), so that after
many steps T

    plain:     rho rho' = 2 c gamma,                                    -log L ~ gamma rho^2 = 4 c gamma^2 T,
    momentum:  rho'' + (r + 2)/T rho' = 2 c gamma/rho,  rho ~ T,        -log L ~ gamma rho^2 = 2 c gamma^2 T^2/(r + 2):

momentum moves the log t of the flow, which is -log L up to lower terms, forward like T^2. What has no gradient stays
as it is (1'W, and the part of H in the kernel of PW) and with |theta|^2 = rho^2 loses weight like 1/rho^2: hence
1 - gamma/gamma* ~ T^-2 and within-class variation ~ T^-1 with momentum, T^-1 and T^-1/2 without. The balance
B = W'W - HH' on the row space of PW, conserved by the flow, obeys B'' + (r/T) B' + 2 B/T^2 = 0 to first order, so B ~
T^p with p^2 + (r - 1) p + 2 = 0; norms, angles and self-duality fall like B/rho^2, which is T^-2, swinging in log T,
for r = 1 and T^-3 for r = 4. docs/acceleration.md has the measurements.

For equal classes, |PY|_*^2 = n (K-1)^2, the largest curvature of log L at collapse tends to h rho^2/|PY|_*^2 with
(2K-3)/(2K-2) <= h <= 1: a step is stable there for c < 2/h |PY|_*^2 (plain), c < 4/3h |PY|_*^2 (momentum). Far from
collapse, where few samples carry the loss, the curvature is larger, and a large c oscillates for good, the sooner the
more classes there are; K=50, n=10, d=64 does with the default. Not guaranteed: that every step lowers the loss.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from layerpeel.problem.options import need_positive, need_switch

__all__ = ["normalized", "on_log_loss"]

STRENGTH = 0.1
"""The default c in units of (K-1)^2 N/K, which is |PY|_*^2 for equal classes and above it for others."""


def on_log_loss() -> optax.GradientTransformationExtraArgs:
    """Replaces the gradient by g = grad log L = grad L / L, for any optax transformation after it in a chain.

    ``optax.chain(on_log_loss(), optax.adam(1e-3))`` is Adam on log L. ``descend`` hands g to every transformation as
    the extra argument ``log_gradient``, exact where L and its gradient underflow; the incoming gradient is dropped.

    Raises:
        ValueError: on an update without ``log_gradient``, outside ``descend``.
    """

    def update(updates: Any, state: Any, params: Any = None, *, log_gradient: Any = None, **extra: Any) -> Any:
        del updates, params, extra
        if log_gradient is None:
            raise ValueError("need log_gradient, which layerpeel.descend supplies, got none")
        return log_gradient, state

    return optax.GradientTransformationExtraArgs(_stateless, update)


def normalized(
    c: float | None = None, *, momentum: bool = False, friction: float = 4.0
) -> optax.GradientTransformationExtraArgs:
    """Descent on log L with step c/rho^2, an optax transformation for :func:`layerpeel.descend`.

    With ``momentum`` the fastest way to collapse that this library knows: ``descend(problem, start,
    normalized(momentum=True), steps=10_000)``. It stands first in a chain. Undefined at theta = 0.

    Args:
        c: the step's constant. By default 0.1 (K-1)^2 N/K: for equal classes -log L with momentum then grows like
            T^2/(20 (friction + 2)) in T steps. A multiple of it is faster in proportion, until it breaks (see the
            module; in few dimensions for many classes the default itself oscillates). It is too large for very unequal
            classes: give them 0.1 ``layerpeel.separation.separation_cost(n)`` ^2.
        momentum: whether to accumulate gradients.
        friction: r in the weight t/(t + r) of the momentum, > 0. 4 damps every oscillation; 1 is faster by sqrt(2) in
            steps and leaves norms, angles and self-duality oscillating.

    Raises:
        ValueError: for c <= 0, friction <= 0, a momentum that is no bool; on an update outside ``descend``, or without
            the parameters.
    """
    c = None if c is None else need_positive("c", c)
    friction = need_positive("friction", friction)
    gathered = [_momentum(friction)] if need_switch("momentum", momentum) else []
    parts = [on_log_loss(), *gathered, _over_squared_norm(c)]
    return optax.GradientTransformationExtraArgs(*optax.chain(*parts))


class Momentum(NamedTuple):
    """t and m."""

    t: Any
    m: Any


def _momentum(friction: float) -> optax.GradientTransformation:
    """g -> m + g with m <- t/(t + r) (m + g): Nesterov's form; the weight grows as in his method for r = 3."""

    def init(params: Any) -> Momentum:
        return Momentum(jnp.zeros((), int), jax.tree.map(jnp.zeros_like, params))

    def update(g: Any, state: Momentum, params: Any = None) -> tuple[Any, Momentum]:
        del params
        weight = state.t / (state.t + friction)
        m = jax.tree.map(lambda m, g: weight * (m + g), state.m, g)
        return jax.tree.map(jnp.add, m, g), Momentum(state.t + 1, m)

    return optax.GradientTransformation(init, update)


def _over_squared_norm(c: float | None) -> optax.GradientTransformation:
    """u -> -(c/rho^2) u."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        if params is None:
            raise ValueError("need the parameters, which layerpeel.descend supplies, got none")
        rho2 = sum((jnp.sum(x**2) for x in jax.tree.leaves(params)), start=jnp.zeros(()))
        step = (_constant(params) if c is None else c) / rho2
        return jax.tree.map(lambda u: -step * u, updates), state

    return optax.GradientTransformation(_stateless, update)


def _constant(state: Any) -> float:
    """The default c for a state of K classes and N samples."""
    K, N = state.W.shape[0], state.H.shape[1]
    return STRENGTH * (K - 1) ** 2 * N / K


def _stateless(params: Any) -> optax.EmptyState:
    del params
    return optax.EmptyState()
