"""Losses of a sample: what is summed over the columns of the logits.

A loss answers one question: its value at logits Z [K, N] with one-hot labels Y [K, N], column by column;
derivatives are automatic. Nothing more is required to descend. A loss that decays exponentially underflows float64
(at a margin of about 708, where the compiler flushes what is smaller to 0), so :class:`ExponentialTailed` asks for
the logarithm of the value too; with it log-domain objectives and gradients stay exact far beyond.
"""

import abc
from typing import Any

from jaxtyping import Float

__all__ = ["ExponentialTailed", "Loss"]


class Loss(abc.ABC):
    """The loss of each sample. Subclass it with ``value`` alone, a pure function; ``convex = True`` if it is."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @abc.abstractmethod
    def value(self, Z: Float[Any, "K N"], Y: Float[Any, "K N"]) -> Float[Any, "N"]:
        """The losses at logits Z for one-hot labels Y, in jax.numpy operations."""

    @property
    def vanishes(self) -> bool:
        """Whether it goes to 0 exponentially in the margin, and knows its logarithm."""
        return False

    @property
    def smooth(self) -> bool:
        """Whether its gradient is continuous, as a flow needs."""
        return True

    @property
    def convex(self) -> bool:
        """Whether it is a convex function of the logits; what is proved of global optima rests on its saying so."""
        return False


class ExponentialTailed(Loss):
    """A loss that goes to 0 exponentially in the margin, with its logarithm."""

    @abc.abstractmethod
    def log_value(self, Z: Float[Any, "K N"], Y: Float[Any, "K N"]) -> Float[Any, "N"]:
        """log of ``value``, exact also where ``value`` underflows."""

    @property
    def vanishes(self) -> bool:
        """True: that is what these losses are."""
        return True
