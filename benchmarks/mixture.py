"""Features like those of a partly collapsed network: a Gaussian mixture around spread-out class means.

h_i = m + a_{y_i} + s_{y_i} g_i with |m| about 1, Gaussian a_k with |a_k| about 1, and g_i Gaussian with
E|g_i|^2 = 1; class scales s_k are log-normal around 0.4, so that tr Sigma_W / tr Sigma_B is about 0.2: a
network some way into the terminal phase. Labels are drawn uniformly, so class sizes differ a little. The
classifier is a noisy copy of the a_k.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Sample", "draw"]

Array = np.ndarray[Any, Any]
BLOCK = 4096


@dataclass(frozen=True)
class Sample:
    """Features [N, d], labels [N], classifier [K, d] and bias [K], float32."""

    features: Array
    labels: Array
    classifier: Array
    bias: Array


def draw(K: int, d: int, N: int, *, seed: int = 0) -> Sample:
    """N samples of a mixture of K classes in R^d, drawn in blocks: nothing but the features is large."""
    random = np.random.default_rng(seed)
    centre, means = (random.standard_normal(shape, dtype=np.float32) / np.sqrt(d) for shape in (d, (K, d)))
    spread = 0.4 * np.exp(0.25 * random.standard_normal(K)) / np.sqrt(d)
    labels = random.integers(K, size=N)
    features = np.empty((N, d), dtype=np.float32)
    for start in range(0, N, BLOCK):
        y, block = labels[start : start + BLOCK], features[start : start + BLOCK]
        random.standard_normal(block.shape, dtype=np.float32, out=block)
        block *= spread[y, None].astype(np.float32)
        block += means[y] + centre
    classifier = 3 * (means + 0.3 * random.standard_normal((K, d)) / np.sqrt(d))
    bias = 0.1 * random.standard_normal(K)
    return Sample(features, labels, classifier.astype(np.float32), bias.astype(np.float32))
