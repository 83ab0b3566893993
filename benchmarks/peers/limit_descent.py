"""The limit of one core: a Numba kernel that knows K = 5 and 4 | d, with its own exponential.

The step of :mod:`benchmarks.peers.numba_descent` with every product unrolled over the five classes, so that
rows of H are read once, and exp(x), x <= 0, as 2^k times a Taylor polynomial in r = x - k log 2 (relative
error 2e-16), which vectorises where the library's does not. It is a bound on what any general code can
reach here, not a way of working.
"""

from typing import Any

import numpy as np

from benchmarks.peers.compiled import compiled

__all__ = ["advance"]

Array = np.ndarray[Any, Any]

LOG2_E = 1.4426950408889634
LOG2_HIGH, LOG2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
COEFFICIENTS = tuple(1 / x for x in (479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0))


@compiled
def advance(W: Array, H: Array, y: Array, rate: float, steps: int) -> None:
    """Take ``steps`` steps in place, as ``numba_descent.advance``; needs K = 5 and 4 | d."""
    N = H.shape[1]
    D, top, total = np.empty((5, N)), np.empty(N), np.empty(N)
    for _ in range(steps):
        _logits(W, H, D)
        _softmax(D, top, total, rate / N)
        for i in range(N):
            D[y[i], i] -= rate / N
        _move(W, H, D)


@compiled
def _logits(W: Array, H: Array, Z: Array) -> None:
    d, N = H.shape
    for k in range(5):
        for i in range(N):
            Z[k, i] = 0.0
        for j in range(0, d, 4):
            w0, w1, w2, w3 = W[k, j], W[k, j + 1], W[k, j + 2], W[k, j + 3]
            for i in range(N):
                Z[k, i] += w0 * H[j, i] + w1 * H[j + 1, i] + w2 * H[j + 2, i] + w3 * H[j + 3, i]


@compiled
def _softmax(Z: Array, top: Array, total: Array, scale: float) -> None:
    K, N = Z.shape
    for i in range(N):
        top[i] = Z[0, i]
        total[i] = 0.0
    for k in range(1, K):
        for i in range(N):
            top[i] = max(top[i], Z[k, i])
    for k in range(K):
        for i in range(N):
            Z[k, i] = _exp(Z[k, i] - top[i])
        for i in range(N):
            total[i] += Z[k, i]
    for i in range(N):
        total[i] = scale / total[i]
    for k in range(K):
        for i in range(N):
            Z[k, i] *= total[i]


@compiled
def _move(W: Array, H: Array, D: Array) -> None:
    d, N = H.shape
    for j in range(d):
        a0 = a1 = a2 = a3 = a4 = 0.0
        for i in range(N):
            h = H[j, i]
            a0 += D[0, i] * h
            a1 += D[1, i] * h
            a2 += D[2, i] * h
            a3 += D[3, i] * h
            a4 += D[4, i] * h
        w0, w1, w2, w3, w4 = W[0, j], W[1, j], W[2, j], W[3, j], W[4, j]
        for i in range(N):
            H[j, i] -= w0 * D[0, i] + w1 * D[1, i] + w2 * D[2, i] + w3 * D[3, i] + w4 * D[4, i]
        W[0, j], W[1, j], W[2, j], W[3, j], W[4, j] = w0 - a0, w1 - a1, w2 - a2, w3 - a3, w4 - a4


@compiled
def _exp(x: float) -> float:
    x = max(x, -700.0)
    k = np.floor(x * LOG2_E + 0.5)
    r = (x - k * LOG2_HIGH) - k * LOG2_LOW
    p = COEFFICIENTS[0]
    for i in range(1, 7):
        p = p * r + COEFFICIENTS[i]
    p = (((((p * r + 1 / 120) * r + 1 / 24) * r + 1 / 6) * r + 0.5) * r + 1.0) * r + 1.0
    bits: Any = np.int64(np.int64(k + 1023) << np.int64(52))
    return float(p * bits.view(np.float64))
