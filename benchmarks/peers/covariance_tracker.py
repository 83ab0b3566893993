"""Measuring collapse the way public trackers do: torch, float32, three streaming passes over batches.

1. class sums as a product of one-hot labels with the features; 2. the d x d within-class covariance, and each
class's variance as a product of one-hot labels with the squared residuals; 3. the decisions of the classifier
and of the nearest mean, from distances to every mean. Then a d x d between-class covariance and its
pseudo-inverse, K x K Gram matrices, and pairwise distances from tiles of differences. The plan of
rhubarbwu/neural-collapse with the batches of its example, written anew from the definitions, without its checks
that the means stay the same.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import sqrt
from time import process_time

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

__all__ = ["Tracker", "track"]

BATCH, TILE = 128, 64

Batches = list[tuple[Tensor, Tensor]]


@dataclass
class Stages:
    """CPU seconds of every stage of a measurement."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Adds the time of the block to ``name``."""
        start = process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + process_time() - start


class Tracker:
    """Class sums and counts, updated a batch at a time by a one-hot product."""

    def __init__(self, K: int, d: int) -> None:
        self.K = K
        self.totals = torch.zeros(K, d)
        self.counts = torch.zeros(K)

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add a batch: features [B, d], labels [B]."""
        members = one_hot(labels, self.K).to(features.dtype)
        self.totals += members.T @ features
        self.counts += members.sum(dim=0)

    def means(self) -> Tensor:
        """Class means [K, d]."""
        return self.totals / self.counts[:, None]


def track(features: Tensor, labels: Tensor, W: Tensor, b: Tensor) -> tuple[dict[str, float], dict[str, float]]:
    """The tracker's fields, and the CPU seconds of its stages."""
    stages = Stages()
    batches = list(zip(torch.split(features, BATCH), torch.split(labels, BATCH), strict=True))
    with stages.timed("means"):
        tracker = Tracker(len(W), features.shape[1])
        for x, y in batches:
            tracker.update(x, y)
        means = tracker.means()
    with stages.timed("covariance"):
        within = _covariance(batches, means)
    with stages.timed("variances"):
        variances = _variances(batches, means)
    with stages.timed("decisions"):
        mismatch = _mismatch(batches, means, W, b)
    with stages.timed("inverse"):
        spread = _spread(means, within)
    with stages.timed("pairs"):
        pairs = _pairs(means, variances)
    with stages.timed("frames"):
        frames = _frames(means, W)
    return {**spread, **pairs, **frames, "nc4_mismatch": mismatch}, stages.seconds


def _covariance(batches: Batches, means: Tensor) -> Tensor:
    """Sigma_W [d, d]."""
    total, count = torch.zeros(means.shape[1], means.shape[1]), 0
    for x, y in batches:
        residual = x - means[y]
        total += residual.T @ residual
        count += len(y)
    return total / count


def _variances(batches: Batches, means: Tensor) -> Tensor:
    """v_k = mean |h - mu_k|^2 over class k [K]."""
    squares, counts = torch.zeros(len(means)), torch.zeros(len(means))
    for x, y in batches:
        members = one_hot(y, len(means)).to(x.dtype)
        squares += (members.T @ (x - means[y]) ** 2).sum(dim=1)
        counts += members.sum(dim=0)
    return squares / counts


def _mismatch(batches: Batches, means: Tensor, W: Tensor, b: Tensor) -> float:
    differ = [(torch.cdist(x, means).argmin(dim=1) != (x @ W.T + b).argmax(dim=1)).sum() for x, _ in batches]
    return float(sum(differ)) / sum(len(y) for _, y in batches)


def _spread(means: Tensor, within: Tensor) -> dict[str, float]:
    K = len(means)
    A = means - means.mean(dim=0)
    between = A.T @ A / K
    return {
        "nc1": float(torch.trace(within @ torch.linalg.pinv(between))) / K,
        "nc1_quotient": float(torch.trace(within) / torch.trace(between)),
    }


def _pairs(means: Tensor, variances: Tensor) -> dict[str, float]:
    K = len(means)
    upper = torch.triu(torch.ones(K, K, dtype=torch.bool), diagonal=1)
    cdnv = (variances[:, None] + variances) / (2 * _tiled(means, lambda gap: (gap * gap).sum(dim=-1)))
    directions = normalize(means - means.mean(dim=0), dim=1)
    spacing = -torch.log(_tiled(directions, lambda gap: gap.norm(dim=-1))[upper])
    return {
        "cdnv": float(cdnv[upper].mean()),
        "gnc2_log": float(spacing.mean()),
        "gnc2_log_variance": float(spacing.var(correction=0)),
    }


def _tiled(points: Tensor, size: Callable[[Tensor], Tensor]) -> Tensor:
    """The size of every pairwise difference, tile by tile [K, K]."""
    tiles = torch.split(points, TILE)
    return torch.cat([torch.cat([size(p[:, None] - q) for q in tiles], dim=1) for p in tiles])


def _frames(means: Tensor, W: Tensor) -> dict[str, float]:
    A, K = means - means.mean(dim=0), len(means)
    simplex = (torch.eye(K) - 1 / K) / sqrt(K - 1)
    grams = {"nc2_means": A @ A.T, "nc2_classifier": W @ W.T, "nc3": W @ A.T}
    gaps = {name: float(torch.linalg.norm(gram / gram.norm() - simplex)) for name, gram in grams.items()}
    return {**gaps, "nc3_dual": float(torch.linalg.norm(W / W.norm() - A / A.norm()))}
