"""Loss-normalised descent, on the question of section 5.3 of Ji et al.: collapse in steps, not exponentials of them.

theta <- theta - (c / rho^2) grad log L, with rho^2 = |theta|^2. As L falls the step grows like rho^-2 / L, so that
log t of the underlying flow, not t, advances at a steady pace.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

__all__ = ["normalized"]


def normalized(c: float = 1.0) -> optax.GradientTransformationExtraArgs:
    """Descent on log L with step c / rho^2, an optax transformation for :func:`layerpeel.descend`.

    It replaces the incoming gradient by that of log L, which ``descend`` hands to every transformation as the extra
    argument ``log_gradient`` (exact where L underflows); so it stands first in a chain. Undefined at theta = 0.

    Raises:
        ValueError: for c <= 0, or when called outside ``descend`` without ``log_gradient``.
    """
    if not c > 0:
        raise ValueError(f"need c > 0, got c={c}")

    def init(params: Any) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None, *, log_gradient: Any = None, **extra: Any) -> Any:
        del updates, extra
        if log_gradient is None or params is None:
            raise ValueError("need the parameters and log_gradient, which layerpeel.descend supplies, got none")
        rho2 = sum((jnp.sum(x**2) for x in jax.tree.leaves(params)), start=jnp.zeros(()))
        return jax.tree.map(lambda g: -(c / rho2) * g, log_gradient), state

    return optax.GradientTransformationExtraArgs(init, update)
