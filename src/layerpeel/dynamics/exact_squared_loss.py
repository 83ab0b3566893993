"""Exact dynamics of the squared loss: the modes of aligned starts, and the central path.

Aligned starts. For F = |WH + b1' - Y|^2/(2c) + lam/2 (|W|^2 + |H|^2) (+ lam_b/2 |b|^2), c = N for the mean and 1 for
the sum, let Y (with a bias its centred part P Y, equal classes) be sum_k sqrt(n_k) u_k v_k', and

    W = sum_k sqrt(s_k) u_k e_k',    H = sum_k sqrt(s_k) e_k v_k',    b = beta 1,

with W'W = HH'. The gradient flow keeps this form, every mode by itself and logistic,

    s_k' = (2/c) s_k (a_k - s_k),    a_k = sqrt(n_k) - c lam,    s_k(t) = a_k/(1 + (a_k/s_k(0) - 1) e^{-2 a_k t/c}),

and beta' = (N/c) (1/K - beta) - lam_b beta. Source: Mixon, Parshall and Pi 2020 for the form; Saxe, McClelland and
Ganguli 2014 for the logistic modes. Equal weights lam alone keep W'W = HH'.

The central path. With the classifier at its least squares given H, W(H) and b(H), and features moved by -grad_H F, less
what changes their within-class covariance from I, the singular values w_j of the centred class means (the signal-to-
noise ratios) keep their singular vectors and move by

    w_j' = K w_j/(N (K + w_j^2)^2),    N (K ln w_j + w_j^2 + w_j^4/(4K)) = t + const,    F = |WH + b1' - Y|^2/(2N),

for equal classes: they grow like (4 K t/N)^{1/4}, and their ratios tend to 1, neural collapse. Source: Han, Papyan and
Donoho 2021. (Features whitened after every step by the inverse root of that covariance, whose shrinking the projection
takes out and whitening turns into growth of the means, move by w_j' = w_j/(N (K + w_j^2)) instead.)
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from layerpeel.frames import simplex_etf
from layerpeel.problem import Problem, Ridge, SquaredError, State
from layerpeel.problem.options import need_integer

__all__ = ["aligned_modes", "aligned_state", "central_path"]

LARGEST = 1e60
"""Ratios and times of the central path: fourth powers of them are numbers."""


def aligned_modes(problem: Problem, modes: Any, time: Any) -> Float[np.ndarray, "*times mode"]:
    """s(t), the singular values of W H at ``time`` (a number or an array of them) along the flow from an aligned state.

    Args:
        problem: squared error with two factors, lam_W = lam_H, no constraint; with a bias, equal class sizes.
        modes: s(0) >= 0, one number or one a mode: K modes, one a class, or with a bias K - 1.
        time: t >= 0 in the time of the problem's own reduction, as that of :func:`layerpeel.flow`.

    Raises:
        ValueError: for another problem, modes or times that are negative or too many.
    """
    c, a, s0 = _samples(problem), _ends(problem), _admit_modes(problem, modes)
    t = _not_negative("time", time)[..., None]
    with np.errstate(over="ignore"):  # e^-inf is 0
        x = 2 * a / c * t
    # s = s0 e^x/(1 + s0 (e^x - 1)/a), by e^-|x| so that nothing overflows, and with its limit at a = 0
    decay = np.exp(-np.abs(x))
    growth = s0 * np.where(x == 0, 2 / c * t, -np.expm1(-np.abs(x)) / np.where(a == 0, 1.0, np.abs(a)))
    return s0 * np.where(x >= 0, 1.0, decay) / np.where(s0 == 0, 1.0, np.where(x >= 0, decay, 1.0) + growth)


def aligned_state(problem: Problem, modes: Any, time: float = 0.0) -> State:
    """The state at ``time`` along the flow from the aligned state with singular values ``modes``, and b(0) = 0.

    At time 0 the start itself: ``flow(problem, aligned_state(problem, s), time=t)`` ends at ``aligned_state(problem, s,
    t)``. Arguments as in :func:`aligned_modes`, one time.

    Raises:
        ValueError: as there; for d smaller than the number of modes.
    """
    if np.ndim(time) != 0:
        raise ValueError(f"need one time for a state, got an array of shape {np.shape(time)}")
    U = _left_vectors(problem)
    if problem.d < U.shape[1]:
        raise ValueError(f"need d >= {U.shape[1]}, the number of modes, got d={problem.d}")
    half = np.sqrt(aligned_modes(problem, modes, time))
    W, H = np.zeros((problem.K, problem.d)), np.zeros((problem.d, problem.N))
    W[:, : len(half)] = U * half
    H[: len(half)] = half[:, None] * (U.T @ problem.onehot / np.sqrt(np.repeat(problem.n, problem.n)))
    return State(W, H, np.full(problem.K, _bias(problem, float(time))) if problem.bias else None)


def central_path(K: int, N: int, snr: Any, time: Any) -> Float[np.ndarray, "..."]:
    """w(t) on the central path of the mean squared loss from the signal-to-noise ratios w(0) = ``snr``.

    Args:
        K: number of classes, of equal size.
        N: number of samples of all classes.
        snr: w(0) > 0, a number or an array, broadcast against ``time``.
        time: t >= 0.

    Raises:
        ValueError: for K < 2, N that K does not divide, ratios that are not positive, negative times, or either above
            1e60, whose powers leave float64.
    """
    K, N = need_integer("K", K, least=2), need_integer("N", N, least=2)
    if N % K:
        raise ValueError(f"need N samples in K classes of equal size, got K={K} and N={N}")
    w, t = np.broadcast_arrays(_not_negative("snr", snr), _not_negative("time", time))
    if not ((w > 0) & (w <= LARGEST)).all():
        raise ValueError(f"need 0 < snr <= {LARGEST:g}, got {w.min()} to {w.max()}")
    if not (t <= LARGEST).all():
        raise ValueError(f"need time <= {LARGEST:g}, got {t.max()}")
    return np.vectorize(lambda w, t: _on_path(K, np.log(w), t / N), otypes=[float])(w, t)


def _on_path(K: int, start: float, time: float) -> float:
    """The w > e^start with K ln w + w^2 + w^4/(4K) larger by ``time`` than at e^start, as the root in x = ln w."""

    def left(x: float) -> float:
        return K * x + np.exp(2 * x) + np.exp(4 * x) / (4 * K)

    target = left(start) + time
    most = min(target / K, np.log(4 * K * max(target, 1.0)) / 4)  # where one of the terms alone is the target
    if most <= start:
        return float(np.exp(start))
    return float(np.exp(brentq(lambda x: left(x) - target, start, most, xtol=1e-15, rtol=1e-15)))


def _samples(problem: Problem) -> int:
    """c, after checking that the modes of the problem are independent."""
    if not isinstance(problem, Problem) or type(problem.loss) is not SquaredError:
        raise ValueError(f"need a problem with SquaredError, got {getattr(problem, 'loss', problem)!r}")
    ridge = problem.regulariser or Ridge(0.0, 0.0)
    if not isinstance(ridge, Ridge) or ridge.lam_W != ridge.lam_H:
        raise ValueError(f"need a Ridge with lam_W = lam_H, which keeps W'W = HH', or none, got {ridge!r}")
    if problem.depth > 2 or problem.constraint is not None:
        raise ValueError("need two factors and no constraint for independent modes, got others")
    if problem.bias and not problem.balanced:
        raise ValueError(f"need equal class sizes with a bias, got n={problem.n}")
    return problem.N if problem.reduction == "mean" else 1


def _ends(problem: Problem) -> Float[np.ndarray, "mode"]:
    """a."""
    lam = 0.0 if problem.regulariser is None else float(problem.regulariser.lam_W)  # type: ignore[attr-defined]
    n = problem.n[1:] if problem.bias else problem.n
    return np.sqrt(np.asarray(n, dtype=np.float64)) - _samples(problem) * lam


def _left_vectors(problem: Problem) -> Float[np.ndarray, "K mode"]:
    """u of Y, or of P Y."""
    _samples(problem)
    K = problem.K
    if not problem.bias:
        return np.eye(K)
    return np.asarray(simplex_etf(K, K - 1)).T * np.sqrt((K - 1) / K)


def _bias(problem: Problem, time: float) -> float:
    """beta(t)."""
    rate = problem.N / _samples(problem)
    weight = 0.0 if problem.regulariser is None else float(problem.regulariser.lam_b)  # type: ignore[attr-defined]
    return float(-np.expm1(-(rate + weight) * time) * rate / (rate + weight) / problem.K)


def _admit_modes(problem: Problem, modes: Any) -> Float[np.ndarray, "mode"]:
    count = problem.K - problem.bias
    admitted = _not_negative("modes", modes)
    if admitted.ndim > 1 or admitted.shape not in ((), (count,)):
        raise ValueError(f"need one mode or {count}, got modes of shape {admitted.shape}")
    return np.broadcast_to(admitted, (count,))


def _not_negative(name: str, values: Any) -> Float[np.ndarray, "..."]:
    admitted = np.asarray(values, dtype=np.float64)
    if not (np.isfinite(admitted).all() and (admitted >= 0).all()):
        raise ValueError(f"need {name} >= 0 and finite, got {name}={values!r}")
    return admitted
