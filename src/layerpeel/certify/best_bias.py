"""The bias minimised out: b(X) = argmin_b L(X + b 1') + lam_b/2 |b|^2, a problem of K numbers, by Newton's method.

The least over b of a function that is convex in (X, b) is convex in X, with the gradient G = dL/dZ at X + b(X) 1'. So
the bias of a state need not be at rest for a bound at its W H. A free bias (lam_b = 0) of a loss that ignores shifts of
the logits keeps its mean. Where the loss has kinks the method ends early, at a b that may not be the least.
"""

import numpy as np
from jaxtyping import Float

from layerpeel.certify.convex_loss import ConvexLoss

__all__ = ["best_bias"]

STEPS, HALVINGS = 50, 30
FLAT = 1e-12
"""Curvatures below this part of the largest are not divided by: those of shifts."""
SEEN = 1e-12
"""A fall of the value that is predicted to be less than this part of it is not looked for; the slope decides."""


def best_bias(
    loss: ConvexLoss, X: Float[np.ndarray, "K N"], b: Float[np.ndarray, "K"], *, lam_b: float
) -> Float[np.ndarray, "K"]:
    """b(X), from ``b``: Newton's steps, halved until the value falls; at the end, for as long as each halves the slope.

    The curvature is raised by a multiple of the slope, which bounds the steps by the logits and vanishes at the end.
    """
    reach = 1 + float(np.abs(X).max() + np.abs(b).max())
    value, slope = _at(loss, X, b, lam_b)
    for _ in range(STEPS if slope.any() else 0):
        hessian = loss.bias_hessian(X, b) + (lam_b + np.linalg.norm(slope) / reach) * np.eye(len(b))
        move = -np.linalg.pinv(hessian, rcond=FLAT, hermitian=True) @ slope
        seen = -float(slope @ move) > SEEN * value
        for _ in range(HALVINGS if seen else 1):
            new_value, new_slope = _at(loss, X, b + move, lam_b)
            if new_value < value if seen else np.linalg.norm(new_slope) < np.linalg.norm(slope) / 2:
                break
            move = move / 2
        else:
            return b
        b, value, slope = b + move, new_value, new_slope
    return b


def _at(
    loss: ConvexLoss, X: Float[np.ndarray, "K N"], b: Float[np.ndarray, "K"], lam_b: float
) -> tuple[float, Float[np.ndarray, "K"]]:
    """L + lam_b/2 |b|^2 and its slope in b."""
    value, gradient = loss.value_and_gradient(X + b[:, None])
    return value + lam_b / 2 * float(b @ b), gradient.sum(axis=1) + lam_b * b
