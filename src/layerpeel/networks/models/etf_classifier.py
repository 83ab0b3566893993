"""The head that is never learned: its rows are a fixed simplex ETF (Zhu et al. 2021).

At collapse the head of a network is a simplex ETF up to scale and rotation, and the features turn to whatever
ETF they meet. So W [K, d] can be fixed from the start, with W W' = s^2 K/(K-1) (I - J/K): K rows of length s (the
``scale``) of which any two have the cosine -1/(K-1), turned at random in R^d. I is the identity, J all ones.

What is saved: a learned head of K(d+1) numbers has as many gradients and, with momentum, as many velocities; this
one is K d numbers and nothing else.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from layerpeel.frames import simplex_etf

__all__ = ["ETFClassifier"]


class ETFClassifier(nn.Module):
    """Logits W h of a fixed simplex ETF W [K, d] with rows of norm ``scale``; no bias, no parameter.

    W is a buffer: it follows ``.to(device, dtype)`` and is part of ``state_dict``, so that a checkpoint brings its own
    whatever ``seed`` and ``scale`` were. The features grow to any length, unless normalised: ``scale`` is their unit.

    Raises:
        ValueError: unless K >= 2, d >= K-1 and scale is positive.
    """

    weight: Tensor
    bias: None

    def __init__(self, num_features: int, num_classes: int, *, seed: int = 0, scale: float = 1.0) -> None:
        super().__init__()
        self.num_features, self.num_classes, self.seed, self.scale = num_features, num_classes, seed, scale
        frame = simplex_etf(num_classes, num_features, seed=seed, norm=scale)
        rows = np.ascontiguousarray(frame.T)
        self.register_buffer("weight", torch.from_numpy(rows).to(torch.get_default_dtype()))
        self.bias = None

    def forward(self, features: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch K"]:
        """W h for each feature vector h."""
        return nn.functional.linear(features, self.weight)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows of it."""
        return f"num_features={self.num_features}, num_classes={self.num_classes}, seed={self.seed}, scale={self.scale}"
