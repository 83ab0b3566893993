"""Class means from a stream of batches the usual way: a Python loop over samples.

It costs O(B d) a batch, with a few Python steps a sample (Welford's recursion, float64). The other usual
way, a one-hot product in O(K B d), is the first pass of :mod:`benchmarks.peers.covariance_tracker`.
"""

from typing import Any

import numpy as np

__all__ = ["SampleLoop"]

Array = np.ndarray[Any, Any]


class SampleLoop:
    """Means [K, d], counts [K] and sums of squares [K], updated a sample at a time."""

    def __init__(self, K: int, d: int) -> None:
        self.means = np.zeros((K, d))
        self.counts = np.zeros(K, dtype=np.int64)
        self.squares = np.zeros(K)

    def update(self, features: Array, labels: Array) -> None:
        """Add a batch: features [B, d], labels [B]."""
        for h, y in zip(features, labels, strict=True):
            self.counts[y] += 1
            step = h - self.means[y]
            self.means[y] += step / self.counts[y]
            self.squares[y] += step @ (h - self.means[y])
