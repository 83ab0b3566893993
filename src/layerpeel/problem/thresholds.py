"""Minority collapse: from where on the classifiers of the small classes are one vector.

KA classes of n_A = R n_B samples, KB >= 2 of n_B, K = KA + KB. By symmetry the optimal logits, one column a class, are
four numbers: a mode x within the large classes (KA - 1 times), y within the small ones, and p, r between the groups.
The minority classifiers coincide iff y = 0, and 0 is optimal iff it is in the subdifferential: at y = 0 the small
classes are alike to one another, so that the loss falls by (KB-1) c_B a unit of y, c_B = n_B/N, whatever x, p and r.
The price of that unit is

- for a ridge (Hong and Ling 2023) (KB-1) lam sqrt(n_B), lam = sqrt(lam_W lam_H);
- in norm balls (Fang et al. 2021) (KB-1) nu, nu the multiplier of the ball at the optimum with y = 0.

The first gives sqrt(n_B) <= N lam at once, whatever the other classes are. In the second nu = c_B at the threshold.
With S = sqrt(KB p^2 + KA r^2), u = r/S, v = p/S = sqrt((1 - KA u^2)/KB), the margins a = ((KA-1) x + K p)/KA and b = K
r/KB between the groups, and T = K sqrt(E_W E_H), the conditions of Karush, Kuhn and Tucker in r, the bound, x and p are

    u = sqrt(K)/(KA + KB e^b),    (KA-1) x + sqrt(K) S = T,    KA e^{a-x} = sqrt(K)/v - KB,
    R = v (e^a + (KA-1) e^{a-x} + KB)/sqrt(K).

All is explicit in b, and the third is the equation for it: from b = 0, where S = 0, to S = T/sqrt(K), where x = 0, its
left side rises from below KA to above it, its right side falls from KA. For KA = 1 there is no x: S = T/sqrt(K).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq

from layerpeel.problem.options import need_integer, need_positive, number

__all__ = ["minority_collapse_threshold", "minority_collapse_weight"]

LARGEST = 700.0
"""The margin a from which e^a is not a number of float64."""


def minority_collapse_threshold(*, KA: int, KB: int, E_W: float, E_H: float) -> float:
    """R0: in the layer-peeled model (:func:`lpm`) the minority classifiers coincide iff n_A/n_B >= R0.

    Finite and above 1; a root of the conditions of optimality, exact to rounding. It depends on the bounds by E_W E_H.

    Args:
        KA: number of classes with n_A samples.
        KB: number of classes with n_B samples, at least 2.
        E_W: (1/K) sum_k |w_k|^2 <= E_W.
        E_H: (1/K) sum_k (1/n_k) sum_i |h_ki|^2 <= E_H.

    Raises:
        ValueError: for KA < 1, KB < 2, bounds that are not positive and finite, a ratio that float64 does not hold.

    Source: Fang, He, Long and Su 2021 (Theorem 5: collapse as R -> infinity; that R0 is finite, and its value: above).
    """
    need_integer("KA", KA, least=1)
    need_integer("KB", KB, least=2)
    T = (KA + KB) * math.sqrt(need_positive("E_W", E_W)) * math.sqrt(need_positive("E_H", E_H))
    point = _threshold_point(KA, KB, T)
    if point.a > LARGEST:
        raise ValueError(f"need E_W E_H small enough for a ratio in float64, got E_W={E_W!r}, E_H={E_H!r}")
    odds = math.exp(point.a) + (KA - 1) * math.exp(point.a - point.x) + KB
    return point.v * odds / math.sqrt(KA + KB)


def minority_collapse_weight(n: Sequence[int], *, label_smoothing: float = 0.0) -> float:
    """The weight sqrt(lam_W lam_H) from which the classifiers of the smallest classes coincide: sqrt(min n)/N.

    For regularised features (:func:`ufm`, :func:`mse_ufm`), mean loss, any bias: the classes of the least size, if two
    or more share it, have one classifier iff sqrt(n_B) (1 - label_smoothing) <= N sqrt(lam_W lam_H). The same holds
    for the squared error, whose minority classifiers then are 0 without a bias.

    Args:
        n: the class sizes.
        label_smoothing: of the cross-entropy.

    Raises:
        ValueError: for sizes that are not integers >= 1, one class of the least size only, a smoothing not in [0, 1).

    Source: Hong and Ling 2023 (without smoothing and bias; with them by the argument above).
    """
    if not isinstance(n, Sequence | np.ndarray) or len(n) < 2:
        raise ValueError(f"need n to be the class sizes, one int a class, got {n!r}")
    sizes = [need_integer("n", size, least=1) for size in n]
    if sizes.count(min(sizes)) < 2:
        raise ValueError(f"need two classes or more of the least size, whose classifiers can coincide, got n={sizes}")
    if not 0 <= number(label_smoothing) < 1:
        raise ValueError(f"need 0 <= label_smoothing < 1, got label_smoothing={label_smoothing!r}")
    return (1 - label_smoothing) * math.sqrt(min(sizes)) / sum(sizes)


class _Point(NamedTuple):
    """x, a and v of the module's docstring."""

    x: float
    a: float
    v: float


def _threshold_point(KA: int, KB: int, T: float) -> _Point:
    """The optimum at the threshold."""
    K = KA + KB

    def paid(b: float) -> float:
        """sqrt(K) S, S = r/u."""
        return KB * b * (KA + KB * math.exp(b)) / K

    def point(b: float) -> _Point:
        u = math.sqrt(K) / (KA + KB * math.exp(b))
        v = math.sqrt((1 - KA * u**2) / KB)
        x = max(0.0, T - paid(b)) / (KA - 1) if KA > 1 else 0.0
        return _Point(x, ((KA - 1) * x + math.sqrt(K) * v * paid(b)) / KA, v)

    def excess(b: float) -> float:
        x, a, v = point(b)
        return a - x - math.log((math.sqrt(K) / v - KB) / KA)

    most = _root(lambda b: paid(b) - T, max(1.0, math.log(T * K / KB**2)))
    return point(_root(excess, most) if KA > 1 else most)


def _root(f: Any, top: float) -> float:
    """The root of an increasing f in [0, top]; an end where rounding puts it there."""
    if f(0.0) >= 0:
        return 0.0
    if f(top) <= 0:
        return top
    return float(brentq(f, 0.0, top, xtol=1e-300, rtol=1e-15))
