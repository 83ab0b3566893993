"""Sentences on what a report cannot say, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isnan

import numpy as np

from layerpeel.collapse.means import CentredMeans
from layerpeel.collapse.pairs import PairStatistics
from layerpeel.collapse.passes import SecondPass
from layerpeel.frames import coherence_floor

__all__ = ["Walks", "explain"]


@dataclass(frozen=True)
class Walks:
    """How the samples were walked: how often, and how many were left out, of those how many not finite."""

    passes: int
    dropped: int = 0
    nonfinite: int = 0


def explain(
    walks: Walks,
    means: CentredMeans,
    pairs: PairStatistics,
    sums: SecondPass,
    fields: Mapping[str, float],
) -> tuple[str, ...]:
    """The notes of a report, most important first."""
    return (*_of_samples(walks, means, sums), *_of_means(means, pairs), *_of_fields(fields))


def _of_samples(walks: Walks, means: CentredMeans, sums: SecondPass) -> Iterator[str]:
    if walks.nonfinite:
        yield f"{walks.nonfinite:,} of the dropped samples had nan or inf"
    if walks.passes == 1:
        yield "one pass only: within_class_variation and nc4_mismatch need a second walk over the same samples"
    elif _differs(sums, int(means.counts.sum())):
        yield "the two passes saw different samples: pass features without random augmentation"


def _differs(sums: SecondPass, count: int) -> bool:
    """Residuals sum to zero, but for rounding, about the means of the same samples only."""
    drift = float(np.linalg.norm(sums.residual_sum))
    return sums.count != count or drift > 1e-6 * sums.residual_norms + 1e-12 * sums.centred_norms


def _of_means(means: CentredMeans, pairs: PairStatistics) -> Iterator[str]:
    K, d = means.rows.shape
    if not means.rank:
        yield (
            "all class means are equal (dead features): this is not collapse, NC1 is infinite and the "
            "angles are undefined"
        )
        return
    if not means.norms.all():
        k = means.classes[int(means.norms.argmin())]
        yield f"the mean of class {k} is the centre: it has no direction, angles are undefined"
    if not pairs.nearest.all():
        k = means.classes[int(pairs.nearest.argmin())]
        yield f"the mean of class {k} coincides with another one: cdnv and gnc2_log are infinite"
    if d + 1 < K:
        yield (
            f"K = {K:,} > d + 1: no simplex ETF fits, the floors are what d = {d:,} allows (lower bounds for "
            f"the angle gaps); the largest cosine is at least {coherence_floor(K, d):.3g}, "
            f"not {-1 / (K - 1):.3g}"
        )


def _of_fields(fields: Mapping[str, float]) -> Iterator[str]:
    if isnan(fields["cdnv"]):
        yield "cdnv needs two classes of two samples or more"
    if isnan(fields.get("classifier_angle_gap", 0.0)):
        yield "a classifier row is zero (after centring, where the preset centres): its angles are undefined"
