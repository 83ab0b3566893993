"""A point of a layer-peeled model: the classifiers, the features and, where the model has them, bias and hidden layers.

States are the vectors of one Euclidean space, with the Frobenius inner product <theta, phi> = <W, W'> + <H, H'> (+ <b,
b'>): they add, subtract and scale. All of it works on arrays of numpy and of jax, and seed by seed where there is a
seed axis.
"""

from dataclasses import dataclass
from typing import Any

import jax

__all__ = ["State"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class State:
    """theta = (W, H, b, M), a pytree; an optional leading axis holds one point a seed.

    Attributes:
        W: classifiers, rows w_k, shape (K, d) or (seeds, K, d).
        H: features, columns class by class, shape (d, N) or (seeds, d, N).
        b: bias, shape (K,) or (seeds, K); None for a model without.
        hidden: linear layers M_1 .. M_L between H and W, shape (L, d, d) or (seeds, L, d, d); None for a model without.
    """

    W: Any
    H: Any
    b: Any = None
    hidden: Any = None

    __array_ufunc__ = None  # numpy leaves array * state to State

    def inner(self, other: "State") -> Any:
        """<theta, other>, the Frobenius inner product; one number a seed."""
        total = (self.W * other.W).sum((-2, -1)) + (self.H * other.H).sum((-2, -1))
        if self.b is not None:
            total = total + (self.b * other.b).sum(-1)
        return total if self.hidden is None else total + (self.hidden * other.hidden).sum((-3, -2, -1))

    @property
    def squared_norm(self) -> Any:
        """rho^2 = |W|_F^2 + |H|_F^2 (+ |b|^2 + sum_l |M_l|_F^2); one number a seed."""
        return self.inner(self)

    def __add__(self, other: "State") -> "State":
        return jax.tree.map(lambda x, y: x + y, self, other)

    def __sub__(self, other: "State") -> "State":
        return jax.tree.map(lambda x, y: x - y, self, other)

    def __mul__(self, factor: Any) -> "State":
        """Scaled by a number, or by one number a seed."""
        return jax.tree.map(lambda x: _over(factor, x) * x, self)

    __rmul__ = __mul__

    def __neg__(self) -> "State":
        return self * -1.0


def _over(factor: Any, leaf: Any) -> Any:
    """``factor`` with axes appended, so that it multiplies ``leaf`` seed by seed."""
    axes = getattr(factor, "ndim", 0)
    return factor if axes == 0 else factor.reshape(factor.shape + (1,) * (leaf.ndim - axes))
