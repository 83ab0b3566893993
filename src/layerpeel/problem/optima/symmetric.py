"""Regularised features with equal class sizes: the optimum by symmetry, two numbers instead of two matrices.

For a loss that is convex in the logits and treats classes alike, averaging an optimum over permutations of classes and
of samples gives one of the form

    Z = (q P + m J/K) Y,    |Z|_* = sqrt(n) ((K-1) |q| + |m|),

with P = I - J/K: K - 1 equal centred modes and a mean mode. What is left is, with lam = sqrt(lam_W lam_H) and the mean
loss, min f(q) + lam (K-1) sqrt(n) q (and the mean mode, for losses that see it). For a sum of losses the same with
lam/N, N times.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from layerpeel.problem.losses import CrossEntropy, Focal, Hinge, Loss
from layerpeel.problem.optima.optimum import Optimum, factors, need_dimension, spread_over_samples
from layerpeel.problem.optima.scalar import minimiser
from layerpeel.problem.regularisers import Ridge
from layerpeel.problem.state import State

if TYPE_CHECKING:
    from layerpeel.problem.problem import Problem

__all__ = ["nonnegative_optimum", "ridge_optimum", "squared_error_optimum", "strength"]


class Strength(NamedTuple):
    """Weights in units of the mean loss: lam = sqrt(lam_W lam_H), lam_b, and sqrt(lam_H/lam_W)."""

    lam: float
    lam_b: float
    ratio: float
    scale: float


def strength(problem: "Problem") -> Strength:
    """The weights of a ridge, or 0; ``scale`` is the objective over its mean form: 1, or N for a sum of losses."""
    ridge = problem.regulariser or Ridge(0.0, 0.0)
    assert isinstance(ridge, Ridge)
    scale = float(problem.N) if problem.reduction == "sum" else 1.0
    lam_W, lam_H = float(ridge.lam_W), float(ridge.lam_H)
    ratio = math.sqrt(lam_H) / math.sqrt(lam_W) if lam_W else 1.0
    return Strength(math.sqrt(lam_W) * math.sqrt(lam_H) / scale, float(ridge.lam_b) / scale, ratio, scale)


def ridge_optimum(problem: "Problem") -> Optimum:
    """The optimum of equal classes for cross-entropy (smoothed or not), focal and hinge losses.

    - Cross-entropy with smoothing a: every wrong class has the probability p = a/K + sqrt(n) lam, hence
      q = log((1 - (K-1) p)/p); nonzero iff p < 1/K (Zhu et al. 2021).
    - Hinge: q = 1 iff (K-1) sqrt(n) lam < 1.
    - Focal: the root of the slope, the least of all if there are several; not convex, so that the form is known and its
      being the least of all states is not proved in general (Zhou et al. 2022).
    """
    K, n, (lam, _, ratio, scale) = problem.K, problem.n[0], strength(problem)
    cost = lam * (K - 1) * math.sqrt(n)
    q = _margin(problem.loss, K, cost)
    W, H = factors(q * _centring(K), problem.n, problem.d, ratio=ratio)
    return Optimum(
        value=scale * _value(problem.loss, K, q, cost),
        state=State(W, H, np.zeros(K) if problem.bias else None),
        conditions=_ridge_conditions(problem.loss, q),
        source=SOURCES[type(problem.loss)],
    )


SOURCES: dict[type[Loss], str] = {
    CrossEntropy: "Theorem 3.1 of Zhu et al. 2021 (value and smoothing: by symmetry, F1 and F2)",
    Focal: "Zhou et al. 2022, Theorem 2",
    Hinge: "by symmetry and F1",
}


def nonnegative_optimum(problem: "Problem") -> Optimum:
    """Features >= 0 (a ReLU), cross-entropy: class means on an orthogonal frame, classifiers its centred copy.

    Z = q P Y from |W|^2 = w^2 (K-1), |H|^2 = a^2 N, q = w a, at the price lam sqrt(N (K-1)) q: p = lam sqrt(nK/(K-1)).
    """
    K, N, (lam, _, ratio, scale) = problem.K, problem.N, strength(problem)
    need_dimension(problem.d, K, "the dimension of an orthogonal frame of K vectors")
    cost = lam * math.sqrt(N * (K - 1))
    q = _margin(problem.loss, K, cost)
    norm2 = q * math.sqrt(N * (K - 1))  # |W| |H|
    frame = np.eye(problem.d, K)
    W = math.sqrt(norm2 * ratio / (K - 1)) * (frame @ _centring(K)).T
    H = math.sqrt(norm2 / ratio / N) * frame
    return Optimum(
        value=scale * _value(problem.loss, K, q, cost),
        state=State(W, spread_over_samples(H, problem.n), np.zeros(K) if problem.bias else None),
        conditions="iff the class means are an orthogonal frame in the positive orthant and W its centred copy"
        if q > 0
        else "W = H = 0: the weights are too large for anything else",
        source="Dang, Tran, Nguyen and Ho 2024",
    )


def squared_error_optimum(problem: "Problem") -> Optimum:
    """|WH + b1' - Y|^2/(2N) + ridge: every singular mode of Y shrinks by N lam.

    Without bias any class sizes: WH = diag(s_k/sqrt n_k) Y, s_k = (sqrt n_k - N lam)_+, an orthogonal frame; a class is
    lost iff n_k <= N^2 lam_W lam_H. With a bias, equal sizes (any for lam = lam_b = 0): centred modes
    as before, the mean mode by N lam (1 + 1/lam_b), so that it vanishes for a free bias and the frame is an ETF.
    """
    K, N, (lam, lam_b, ratio, scale) = problem.K, problem.N, strength(problem)
    root = np.sqrt(np.asarray(problem.n, dtype=np.float64))
    modes = np.maximum(root - N * lam, 0.0)
    if not problem.bias:
        X, b = np.diag(modes / root), None
        value = float(np.sum((root - modes) ** 2) / (2 * N) + lam * modes.sum())
    else:
        short = min(root[0], N * lam * (1 + 1 / lam_b)) if lam_b else root[0]  # sqrt(n) less the mean mode
        mean, held = root[0] - short, short / (1 + lam_b)
        X = (modes[0] * _centring(K) + mean / K) / root[0]
        b = np.full(K, held / (root[0] * K))
        centred = (root[0] - modes[0]) ** 2 / (2 * N) + lam * modes[0]
        value = float((K - 1) * centred + short**2 * lam_b / (1 + lam_b) / (2 * N) + lam * mean)
    W, H = factors(X, problem.n, problem.d, ratio=ratio)
    return Optimum(
        value=scale * value,
        state=State(W, H, b),
        conditions="iff W H is Y, its singular modes shrunk: an orthogonal frame without bias, an ETF with a free one",
        source="Mixon, Parshall and Pi 2020 (lam = 0); Zhou et al. 2022 and Tirer and Bruna 2022 (weights)",
    )


def _margin(loss: Loss, K: int, cost: float) -> float:
    """The q >= 0 that minimises f(q) + cost q, f the loss at the logits q (e_y - 1/K)."""
    if isinstance(loss, Hinge):
        return 1.0 if cost < 1 else 0.0
    if isinstance(loss, CrossEntropy):
        p = loss.label_smoothing / K + cost / (K - 1)
        return math.log(1 / p - (K - 1)) if p * K < 1 else 0.0
    return minimiser(lambda q: _loss(loss, K, q) + cost * q, 40 - 2 * math.log(min(cost, 1.0)))


def _loss(loss: Loss, K: int, q: Any) -> Any:
    """f(q): the loss of one sample with the logits q (e_1 - 1/K)."""
    Y = np.eye(K, 1)
    return loss.value(q * (Y - 1 / K), Y)[0]


def _value(loss: Loss, K: int, q: float, cost: float) -> float:
    with jax.enable_x64(True):
        return float(_loss(loss, K, np.float64(q))) + cost * q


def _centring(K: int) -> np.ndarray:
    """P = I - J/K."""
    return np.eye(K) - 1 / K


def _ridge_conditions(loss: Loss, q: float) -> str:
    if q == 0:
        return "W = H = 0: the weights are too large for anything else"
    form = "neural collapse on a centred simplex ETF, lam_W W'W = lam_H HH'"
    return f"iff {form}" if loss.convex else f"{form}; the least of such states (the loss is not convex)"
