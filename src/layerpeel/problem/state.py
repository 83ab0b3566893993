"""A point of a layer-peeled model: the classifiers, the features and, where the model has one, the bias."""

from dataclasses import dataclass
from typing import Any

import jax

__all__ = ["State"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class State:
    """theta = (W, H, b), a pytree; an optional leading axis holds one point a seed.

    Attributes:
        W: classifiers, rows w_k, shape (K, d) or (seeds, K, d).
        H: features, columns class by class, shape (d, N) or (seeds, d, N).
        b: bias, shape (K,) or (seeds, K); None for a model without.
    """

    W: Any
    H: Any
    b: Any = None
