"""What separating K classes costs: the nuclear norm of the centred labels.

Y in {0,1}^{K x N} is the one-hot matrix of the labels, n_k its class sizes, P = I - J/K. Every W, H that
separate all samples with margin one, (w_y - w_j).h_i >= 1, satisfy (|W|^2 + |H|^2)/2 >= |PY|_*, and W, H
with WH = PY reach it (SELI, Thrampoulidis et al. 2022). Hence q_min <= rho^2 / (2 |PY|_*): the ratio of the
two is at most one, for any class sizes; with n_k = n it is Lemma 3.1 of the seed paper, |PY|_* = (K-1)
sqrt(n).

The singular values of PY are the roots of the eigenvalues of PYY'P, which has those of

    D - s s'/K,  D = diag(n_k),  s_k = sqrt(n_k),

classes without samples adding zeros only. A size n that c classes share gives c-1 eigenvalues n; the rest is the same
matrix over the m distinct sizes with s_i = sqrt(c_i n_i). If no class is empty one eigenvalue is exactly zero,
(D - s s'/K) (1/s_k)_k = 0: it is left out, not rounded.
"""

from typing import Any

import numpy as np

__all__ = ["margin_bound", "separation_cost"]


def separation_cost(counts: Any) -> float:
    """|(I - J/K) Y|_*, the least (|W|^2 + |H|^2)/2 that separates n_k samples of each of K classes with margin one.

    (K-1) sqrt(n) for n samples in each class. A class without samples still is a rival of the others. Invariant to
    the order of the classes; zero without samples.

    Raises:
        ValueError: unless counts is a vector of integers >= 0.
    """
    n = _class_sizes(counts)
    sizes, shared = np.unique(n[n > 0], return_counts=True)
    if sizes.size == 0:
        return 0.0
    s = np.sqrt(shared * sizes)
    rest = np.linalg.eigvalsh(np.diag(sizes) - np.outer(s, s) / n.size)
    if n.all():
        rest = rest[1:]
    return float(np.sum((shared - 1) * np.sqrt(sizes)) + np.sum(np.sqrt(rest)))


def margin_bound(counts: Any, squared_norm: Any, *, squared_bias: Any = None) -> Any:
    """The most that the margin can be at rho^2 = |W|_F^2 + |H|_F^2: rho^2 / (2 |PY|_*), for arrays entry by entry.

    With a bias b and equal class sizes the bound is the same, whatever b: it drops out against the dual certificate
    of PY, whose rows sum to zero. With unequal sizes b counts as one more coordinate of every classifier, with the
    feature 1, as the paper absorbs it: rho^2 gains |b|^2 + N; then the bound holds but need not be attained.

    Raises:
        ValueError: unless counts is a vector of integers >= 0.
    """
    n = _class_sizes(counts)
    if squared_bias is not None and (n != n[0]).any():
        squared_norm = squared_norm + squared_bias + n.sum()
    return squared_norm / (2 * separation_cost(counts))


def _class_sizes(counts: Any) -> np.ndarray:
    n = np.asarray(counts)
    if n.ndim != 1 or n.dtype.kind not in "iu" or (n < 0).any():
        raise ValueError(f"need class sizes that are integers >= 0 in a vector, got {counts!r}")
    return n.astype(np.float64)
