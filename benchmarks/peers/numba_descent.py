"""Gradient descent on the unconstrained layer-peeled model as a hand-written Numba kernel, for any K, n, d.

With Z = W H [K, N] and P its column-wise softmax, one step on the mean cross-entropy is
    D = (P - Y) lr / N,   W <- W - D H',   H <- H - W' D.
The three products go to BLAS with outputs allocated once, everything else is fused loops over samples.
"""

from math import exp
from typing import Any

import numpy as np

from benchmarks.peers.compiled import compiled

__all__ = ["advance"]

Array = np.ndarray[Any, Any]


@compiled
def advance(W: Array, H: Array, y: Array, rate: float, steps: int) -> None:
    """Take ``steps`` steps in place."""
    (K, d), N = W.shape, H.shape[1]
    D, top, total = np.empty((K, N)), np.empty(N), np.empty(N)
    step_W, step_H = np.empty((K, d)), np.empty((d, N))
    for _ in range(steps):
        np.dot(W, H, D)
        _softmax(D, top, total, rate / N)
        for i in range(N):
            D[y[i], i] -= rate / N
        np.dot(D, H.T, step_W)
        np.dot(W.T, D, step_H)
        _subtract(W, step_W)
        _subtract(H, step_H)


@compiled
def _softmax(Z: Array, top: Array, total: Array, scale: float) -> None:
    """Z <- scale * softmax of the columns of Z, in place."""
    K, N = Z.shape
    for i in range(N):
        top[i] = Z[0, i]
        total[i] = 0.0
    for k in range(1, K):
        for i in range(N):
            top[i] = max(top[i], Z[k, i])
    for k in range(K):
        for i in range(N):
            Z[k, i] = exp(Z[k, i] - top[i])
            total[i] += Z[k, i]
    for i in range(N):
        total[i] = scale / total[i]
    for k in range(K):
        for i in range(N):
            Z[k, i] *= total[i]


@compiled
def _subtract(X: Array, step: Array) -> None:
    for j in range(X.shape[0]):
        for i in range(X.shape[1]):
            X[j, i] -= step[j, i]
