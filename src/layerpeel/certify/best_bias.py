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


def best_bias(
    loss: ConvexLoss, X: Float[np.ndarray, "K N"], b: Float[np.ndarray, "K"], *, lam_b: float
) -> Float[np.ndarray, "K"]:
    """b(X), from ``b``: Newton's steps, halved until the value falls, for as long as the slope does.

    The curvature is raised by a multiple of the slope, which bounds the steps and vanishes at the end.
    """
    value, slope, hessian = _at(loss, X, b, lam_b)
    reach = 1 + float(np.abs(X).max() + np.abs(b).max())
    for _ in range(STEPS):
        held = hessian + np.linalg.norm(slope) / reach * np.eye(len(b))  # so that no step is longer than the logits
        move = -np.linalg.pinv(held, rcond=FLAT, hermitian=True) @ slope
        for _ in range(HALVINGS):
            new = _at(loss, X, b + move, lam_b)
            if new[0] < value or (new[0] <= value and np.linalg.norm(new[1]) < np.linalg.norm(slope)):
                break
            move = move / 2
        else:
            return b
        b, (value, slope, hessian) = b + move, new
    return b


def _at(
    loss: ConvexLoss, X: Float[np.ndarray, "K N"], b: Float[np.ndarray, "K"], lam_b: float
) -> tuple[float, Float[np.ndarray, "K"], Float[np.ndarray, "K K"]]:
    value, slope, hessian = loss.in_bias(X, b)
    return value + lam_b / 2 * float(b @ b), slope + lam_b * b, hessian + lam_b * np.eye(len(b))
