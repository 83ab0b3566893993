"""Is a sample of the training distribution? Two scores from the moments that collapse is measured by.

With m the mean of the training features, T = S_W + sum_k n_k (mu_k - m)(mu_k - m)' their total scatter about it (d x d)
and W, b the head. At collapse every training feature lies in the K-1 dimensions of the class means, along its own
w_k, and far from m; others are found by what they lack of that:

    NECO = |P'z| / |z|, times max_k (w_k.h + b_k) if the head is given,   z = (h - m)/s,
    NCI  = w_c.(h - m) / |h - m| + alpha |h|_1,   c = argmax_k (w_k.h + b_k).

P has the leading eigenvectors of the scatter of z as columns. The higher, the more like the training samples.
Scores are compared with a threshold or ranked; their size means nothing, and none of them is a probability.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from layerpeel.collapse import ClassMoments
from layerpeel.collapse.arrays import full_precision, host, is_real, move, namespace, native
from layerpeel.collapse.decision import Head, check_head, read_head
from layerpeel.collapse.geometry import row_blocks

__all__ = ["nci", "neco"]


def neco(
    features: Any,
    moments: ClassMoments,
    *,
    components: int | None = None,
    standardized: bool = True,
    classifier: Any = None,
    bias: Any = None,
) -> Float[Any, "N"]:
    """NECO, the share of a feature in the principal subspace of the training features, times the largest logit.

    The share is in [0, 1], one for every training sample at collapse; at h = m, where it is not defined, it is zero.
    Invariant to translation of all features; without the head also to their scale, and to rotation unless
    ``standardized``.

    Args:
        features: (N, d), numpy or torch (any device, any float dtype).
        moments: of the training features, with ``second="matrix"``.
        components: dimension of the subspace, by default K-1 for the K classes that have samples.
        standardized: s are the standard deviations of the training features (1 where they are constant), as in the
            authors' code; they advise against it at strong collapse, where it magnifies what is left of the noise.
        classifier: W (K, d): multiply by the largest logit, as the authors do for all networks but ResNets.
        bias: b (K,).

    Returns:
        Scores (N,) in float64 where the features are. Each call takes one eigendecomposition, O(d^3).

    Raises:
        ValueError: for features, moments or a head that do not fit, or numbers that are not finite.

    Ammar, Belkhir, Popescu, Manzanera, Franchi, "NECO: neural collapse based out-of-distribution detection", ICLR 2024.
    """
    x, head = _checked(features, moments, classifier, bias)
    mean, total, count = _about_mean(moments)
    scale = _deviations(total, count) if standardized else np.ones(len(mean))
    basis = _principal(total / np.outer(scale, scale), _dimension(moments, components))
    centre, spread, axes = (move(array, x) for array in (mean, scale, basis))
    linear = None if head is None else _Logits(head, x)

    def score(rows: Any) -> Any:
        xp = namespace(rows)
        z = (rows - centre) / spread
        share = _quotient(_norms(z @ axes), _norms(z))
        return share if linear is None else share * xp.max(linear(rows), axis=1)

    return _by_blocks(x, score)


def nci(
    features: Any, moments: ClassMoments, *, classifier: Any, bias: Any = None, alpha: float = 0.0
) -> Float[Any, "N"]:
    """NCI, the length of the predicted w_c along the centred feature, plus alpha |h|_1.

    The first part is at most |w_c|, and reaches it for every training sample at collapse; at h = m it is zero.
    It is invariant to a common scale of all features (with the bias); the second part is not, so that ``alpha``
    belongs to a network: the authors choose it on held-out samples, 0 leaves the second part out.

    Args:
        features: (N, d), numpy or torch (any device, any float dtype).
        moments: of the training features; any ``second``.
        classifier: W (K, d).
        bias: b (K,).
        alpha: weight of the norm, >= 0.

    Returns:
        Scores (N,) in float64 where the features are.

    Raises:
        ValueError: for features, moments or a head that do not fit, numbers that are not finite, or alpha < 0.

    Liu and Qin, "Detecting out-of-distribution through the lens of neural collapse", CVPR 2025, arXiv 2311.01479.
    """
    if not (np.isfinite(alpha) and alpha >= 0):
        raise ValueError(f"need alpha >= 0, got alpha={alpha}")
    if classifier is None:
        raise ValueError("need a classifier for NCI, got none")
    x, head = _checked(features, moments, classifier, bias)
    assert head is not None
    centre, linear = move(_mean(moments), x), _Logits(head, x)

    def score(rows: Any) -> Any:
        xp = namespace(rows)
        z = rows - centre
        own = linear.weight[xp.argmax(linear(rows), axis=1)]
        return _quotient(xp.vecdot(own, z), _norms(z)) + alpha * xp.sum(xp.abs(rows), axis=1)

    return _by_blocks(x, score)


class _Logits:
    """W h + b in float64, on the device of the features."""

    def __init__(self, head: Head, like: Any) -> None:
        self.weight = move(host(head.weight), like)
        self.bias = 0.0 if head.bias is None else move(head.bias, like)

    def __call__(self, rows: Float[Any, "B d"]) -> Float[Any, "B K"]:
        return rows @ self.weight.T + self.bias


def _mean(moments: ClassMoments) -> Float[np.ndarray, "d"]:
    """m = sum_k n_k mu_k / N."""
    counts = host(moments.counts)
    return counts @ host(moments.means) / counts.sum()


def _about_mean(moments: ClassMoments) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "d d"], int]:
    """m, T and N."""
    if moments.within is None:
        raise ValueError('need moments with the matrix S_W (second="matrix"), got moments without')
    mean, counts = _mean(moments), host(moments.counts)
    rows = np.sqrt(counts)[:, None] * (host(moments.means) - mean)
    return mean, host(moments.within) + rows.T @ rows, int(counts.sum())


def _deviations(total: Float[np.ndarray, "d d"], count: int) -> Float[np.ndarray, "d"]:
    """Standard deviation of each feature, 1 for those that are constant."""
    deviations = np.sqrt(np.diagonal(total) / count)
    return np.where(deviations > 0, deviations, 1.0)


def _principal(scatter: Float[np.ndarray, "d d"], dimension: int) -> Float[np.ndarray, "d c"]:
    """Eigenvectors of the largest eigenvalues."""
    return np.ascontiguousarray(np.linalg.eigh(scatter)[1][:, ::-1][:, :dimension])


def _dimension(moments: ClassMoments, components: int | None) -> int:
    d = int(moments.means.shape[1])
    if components is None:
        return min(max(int(np.count_nonzero(host(moments.counts))) - 1, 1), d)
    if not 1 <= components <= d:
        raise ValueError(f"need 1 <= components <= d = {d}, got components={components}")
    return components


def _norms(rows: Float[Any, "B d"]) -> Float[Any, "B"]:
    xp = namespace(rows)
    return xp.sqrt(xp.vecdot(rows, rows))


def _quotient(part: Float[Any, "B"], whole: Float[Any, "B"]) -> Float[Any, "B"]:
    """part / whole, and zero where both are."""
    xp = namespace(whole)
    return part / xp.where(whole > 0, whole, 1.0)


def _by_blocks(features: Any, score: Callable[[Any], Any]) -> Float[Any, "N"]:
    xp = namespace(features)

    def parts() -> Iterator[Any]:
        for block in row_blocks(*features.shape):
            yield score(xp.astype(features[block], xp.float64))

    with full_precision(features):
        return xp.concat(list(parts())) if len(features) else xp.astype(features[:, 0], xp.float64)


def _checked(features: Any, moments: ClassMoments, classifier: Any, bias: Any) -> tuple[Any, Head | None]:
    x = native(features)
    d = int(moments.means.shape[1])
    if x.ndim != 2 or x.shape[1] != d or not is_real(x):
        raise ValueError(f"need real features of shape (N, {d}) for these moments, got {x.dtype} {tuple(x.shape)}")
    if not host(moments.counts).any():
        raise ValueError("need moments of training features, got moments of no sample")
    if not namespace(x).isfinite(x).all():
        raise ValueError("need finite features, got nan or inf in them")
    head = read_head(classifier, bias)
    check_head(head, None, d)
    return x, head
