"""Accuracy beside speed: NC1 of deeply collapsed features, by the usual tracker and by layerpeel.

Class means whose centred matrix has singular values from 1 to 1e-3 (times sqrt K), within-class scale 1e-4,
float32 features in memory. The reference is tr(Sigma_W Sigma_B^+)/K of the very same numbers: long double
sums and a float64 SVD of the means, so neither side is charged for the rounding of the features.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.row import Row, Target, quantity

__all__ = ["collapsed", "exact_nc1", "rows"]

Array = np.ndarray[Any, Any]

K, DIMENSION = 10, 64
TARGET = 1e-4


def rows(*, quick: bool) -> Iterator[Row]:
    """Relative errors of NC1."""
    import torch

    import layerpeel as lp
    from benchmarks.peers.covariance_tracker import track

    features, labels, classifier = collapsed(samples=2_000 if quick else 20_000)
    exact = exact_nc1(features, labels)
    zero = np.zeros(K, dtype=np.float32)
    ours = lp.measure(features, labels, classifier=classifier, num_classes=K).asdict()["nc1"]
    tensors = (torch.from_numpy(array) for array in (features, labels, classifier, zero))
    peer = track(*tensors)[0]["nc1"]
    errors = {name: abs(value / exact - 1) for name, value in (("layerpeel", ours), ("tracker", peer))}
    note = f"reference {exact:.10g}, layerpeel {ours:.10g}, tracker {peer:.4g}"
    yield Row(
        "accuracy",
        "relative error of NC1, singular values of the means 1 .. 1e-3, within-class scale 1e-4",
        quantity(errors["layerpeel"], ""),
        quantity(errors["tracker"], ""),
        errors["layerpeel"],
        "",
        Target(TARGET, ""),
        note,
        raw={"errors": errors, "exact": exact},
    )


def collapsed(*, samples: int) -> tuple[Array, Array, Array]:
    """Features [N, d], labels [N] and a classifier [K, d], float32."""
    random = np.random.default_rng(0)
    left, right = (np.linalg.qr(random.standard_normal((m, K)))[0] for m in (K, DIMENSION))
    left -= left.mean(axis=0)
    left = np.linalg.svd(left)[0][:, : K - 1]
    means = np.sqrt(K) * (left * np.geomspace(1, 1e-3, K - 1)) @ right[:, : K - 1].T
    labels = np.arange(samples) % K
    noise = 1e-4 * random.standard_normal((samples, DIMENSION))
    centre = random.standard_normal(DIMENSION) / np.sqrt(DIMENSION)
    features = (centre + means[labels] + noise).astype(np.float32)
    return features, labels, means.astype(np.float32)


def exact_nc1(features: Array, labels: Array) -> float:
    """tr(Sigma_W Sigma_B^+)/K = mean_i |S^+ V'(h_i - mu_{y_i})|^2, with A = U S V' the centred means."""
    wide = features.astype(np.longdouble)
    means = np.stack([wide[labels == k].mean(axis=0) for k in range(K)])
    residual = (wide - means[labels]).astype(np.float64)
    _, s, Vt = np.linalg.svd((means - means.mean(axis=0)).astype(np.float64), full_matrices=False)
    whitened = residual @ Vt[: K - 1].T / s[: K - 1]
    return float((whitened**2).sum(axis=1).mean())
