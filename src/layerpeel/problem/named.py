"""The models of the literature, by their names: Table 1 of Ji et al. 2022 and what came after it."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from layerpeel.problem.constraints import NonNegative, NormBalls, OutputBall, Spheres
from layerpeel.problem.losses import CrossEntropy, Loss, SquaredError
from layerpeel.problem.options import need_positive, need_switch
from layerpeel.problem.problem import Problem
from layerpeel.problem.regularisers import Ridge

__all__ = ["deep_ufm", "lpm", "mse_ufm", "output_ball", "sphere", "ufm", "ulpm"]

Sizes = int | Sequence[int]
Reduction = Literal["mean", "sum"]


def ulpm(
    K: int, n: Sizes, d: int, *, loss: Loss | None = None, reduction: Reduction = "mean", bias: bool = False
) -> Problem:
    """The unconstrained layer-peeled model, equation (4) of Ji et al. 2022: min sum_i CE(W h_i, y_i), nothing added.

    It has no minimum: the objective goes to 0 only as the norm goes to infinity. ``reduction="mean"`` is the
    paper's experiment, ``"sum"`` its theory; they differ by the factor N in the time of the flow.
    """
    return Problem(K=K, n=n, d=d, loss=loss or CrossEntropy(), reduction=reduction, bias=bias)


def lpm(
    K: int, n: Sizes, d: int, E_W: float, E_H: float, *, loss: Loss | None = None, reduction: Reduction = "mean"
) -> Problem:
    """The layer-peeled model of Fang, He, Long and Su 2021: mean cross-entropy in two norm balls,

        (1/K) sum_k |w_k|^2 <= E_W,    (1/K) sum_k (1/n_k) sum_i |h_ki|^2 <= E_H.

    Equation (1) of Ji et al. 2022, |W|^2/2 <= C1 and |H|^2/2 <= C2, is E_W = 2 C1/K, E_H = 2 C2/(K n).
    """
    bounds = [need_positive(name, value) for name, value in (("E_W", E_W), ("E_H", E_H))]
    free = Problem(K=K, n=n, d=d, loss=loss or CrossEntropy(), reduction=reduction)
    balls = NormBalls(K * bounds[0], *_feature_ball(free, bounds[1]))
    return Problem(K, free.n, d, free.loss, constraint=balls, reduction=reduction)


def sphere(K: int, n: Sizes, d: int, tau: float, *, tied: bool = False, reduction: Reduction = "sum") -> Problem:
    """Vectors on spheres, Lu and Steinerberger 2020: cross-entropy at logits tau <u_k, v_i> of unit vectors.

    Here |w_k| = |h_i| = sqrt(tau). ``tied`` is their model, n = 1 and W = H': sum_i log(1 + sum_{j != i} exp(tau(<u_i,
    u_j> - 1))); without it classifiers and features are free of each other.
    """
    spheres = Spheres(math.sqrt(need_positive("tau", tau)), need_switch("tied", tied))
    return Problem(K, n, d, constraint=spheres, reduction=reduction)


def output_ball(K: int, R: float, *, n: Sizes = 1, reduction: Reduction = "mean") -> Problem:
    """Logits in a ball, Wojtowytsch and E 2020: mean cross-entropy over z_i in R^K, |z_i| <= R. W = I and H = Z."""
    return Problem(K=K, n=n, d=K, constraint=OutputBall(need_positive("R", R)), reduction=reduction)


def ufm(
    K: int,
    n: Sizes,
    d: int,
    lam_W: float,
    lam_H: float,
    lam_b: float | None = None,
    *,
    loss: Loss | None = None,
    nonneg: bool = False,
    reduction: Reduction = "mean",
) -> Problem:
    """Regularised unconstrained features, Zhu et al. 2021: loss + lam_W/2 |W|^2 + lam_H/2 |H|^2 (+ lam_b/2 |b|^2).

    ``lam_b`` None: no bias; 0: a free one. ``nonneg``: features >= 0, as behind a ReLU.
    """
    ridge = Ridge(need_positive("lam_W", lam_W), need_positive("lam_H", lam_H), _bias_weight(lam_b))
    constraint = NonNegative() if need_switch("nonneg", nonneg) else None
    return Problem(K, n, d, loss or CrossEntropy(), ridge, constraint, reduction, bias=lam_b is not None)


def mse_ufm(
    K: int,
    n: Sizes,
    d: int,
    lam_W: float,
    lam_H: float,
    *,
    bias: Literal["free"] | float | None = None,
    reduction: Reduction = "mean",
) -> Problem:
    """Unconstrained features with the squared loss: |WH + b1' - Y|^2/(2N) + weights.

    With both weights 0 it is the model of Mixon, Parshall and Pi 2020. ``bias``: None, "free", or its weight lam_b.
    """
    lam_b = 0.0 if bias == "free" else bias
    if isinstance(lam_b, str):
        raise ValueError(f'need bias to be None, "free" or a weight, got {bias!r}')
    weights = [_weight("lam_W", lam_W), _weight("lam_H", lam_H)]
    if (weights[0] == 0) != (weights[1] == 0):
        raise ValueError(f"need both lam_W and lam_H > 0, or both 0, got lam_W={lam_W}, lam_H={lam_H}")
    ridge = Ridge(weights[0], weights[1], _bias_weight(lam_b)) if weights[0] or lam_b else None
    return Problem(K, n, d, SquaredError(), ridge, None, reduction, bias=bias is not None)


def deep_ufm(
    K: int, n: Sizes, d: int, depth: int, lam: float, *, loss: Loss | None = None, reduction: Reduction = "mean"
) -> Problem:
    """Deep unconstrained features: ``depth`` factors W M_1 .. M_{depth-2} H of weight lam each; depth 2 is ``ufm``."""
    weight = need_positive("lam", lam)
    ridge = Ridge(weight, weight, lam_hidden=weight)
    return Problem(K, n, d, loss or CrossEntropy(), ridge, reduction=reduction, depth=depth)


def _feature_ball(problem: Problem, E_H: float) -> tuple[float, Any]:
    """H2 and the weights of (1/K) sum_k (1/n_k) sum_i |h_ki|^2 <= E_H; equal weights are taken into H2."""
    if problem.balanced:
        return problem.N * E_H, None
    return E_H, 1 / (problem.K * np.repeat(np.asarray(problem.n, dtype=np.float64), problem.n))


def _weight(name: str, value: Any) -> float:
    return 0.0 if isinstance(value, int | float) and value == 0 else need_positive(name, value)


def _bias_weight(lam_b: Any) -> float:
    return 0.0 if lam_b is None else _weight("lam_b", lam_b)
