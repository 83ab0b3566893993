"""From the two passes to a report: the formulas on K x d matrices, in the convention's reading."""

from collections.abc import Callable
from typing import Any

import numpy as np

from layerpeel.collapse.arrays import host
from layerpeel.collapse.conventions import Convention
from layerpeel.collapse.decision import Head, bias_collapse, margin_ratio
from layerpeel.collapse.duality import dual_distance, duality_gap
from layerpeel.collapse.floors import attainable_floors
from layerpeel.collapse.geometry import angle_gap, cleared, etf_gap, norm_variation, rounding, row_norms
from layerpeel.collapse.means import CentredMeans
from layerpeel.collapse.notes import Walks, explain
from layerpeel.collapse.pairs import PairStatistics, cdnv, pair_statistics
from layerpeel.collapse.passes import FirstPass, MeanSystem, SecondPass
from layerpeel.collapse.report import CollapseReport
from layerpeel.collapse.within import nc1, nc1_quotient, within_class_variation

__all__ = ["BeyondFloat64", "assemble"]

LARGEST = 1e70
"""Size of features whose fourth powers, in products of Gram matrices, are still far from the ends of float64."""


class BeyondFloat64(ValueError):
    """Features whose powers are no float64 numbers."""


def assemble(
    first: FirstPass,
    walks: Walks,
    head: Head | None,
    convention: Convention,
    second: Callable[[MeanSystem], SecondPass] | None,
) -> CollapseReport:
    """The report on what two passes found, or one where ``second`` is None. It centres the means of ``first`` in place.

    Raises:
        ValueError: for K = 1.
        BeyondFloat64: for features too large or too close for float64.
    """
    counts = host(first.moments.counts)
    if len(counts) == 1:
        raise ValueError("need at least two classes, got K = 1")
    facts = _facts(counts, int(first.moments.means.shape[1]), walks, convention)
    present = int(np.count_nonzero(counts))
    if present < 2:
        return CollapseReport(
            **facts, notes=(f"need samples of two classes or more, got {present}: nothing is defined",)
        )
    _check_magnitude(first)
    means = CentredMeans.consume(first.moments, first.origin, convention.centre)
    enters = means.counts > 1
    pairs = pair_statistics(means.rows, means.norms, enters, exponent=convention.exponent, noise=means.noise)
    if second is None:
        sums = SecondPass.from_moments(first, means.classes, means.basis)
    else:
        sums = second(_system(first, means, pairs))
    fields: dict[str, Any] = _within_fields(means, sums, convention) | _mean_fields(means, pairs, convention)
    fields["cdnv"] = cdnv(sums.scatter / means.counts, pairs, enters)
    if head is not None:
        fields |= _classifier_fields(means, head, convention) | _decision_fields(means, sums, head, counts)
    return CollapseReport(
        **facts,
        **fields,
        rank=means.rank,
        floors={k: floor for k, floor in attainable_floors(present, means.dim).items() if k in fields},
        notes=explain(walks, means, pairs, sums, fields),
    )


def _facts(counts: np.ndarray, dim: int, walks: Walks, convention: Convention) -> dict[str, Any]:
    return {
        "preset": convention.name,
        "num_classes": len(counts),
        "num_samples": int(counts.sum()),
        "dim": dim,
        "missing_classes": tuple(np.flatnonzero(counts == 0).tolist()),
        "single_sample_classes": tuple(np.flatnonzero(counts == 1).tolist()),
        "dropped": walks.dropped,
        "passes": walks.passes,
    }


def _check_magnitude(first: FirstPass) -> None:
    """Refuse features whose powers are no float64 numbers, rather than call them collapsed."""
    spread = float(np.abs(host(first.moments.means)).max())
    largest = max(spread, float(np.abs(first.origin).max()))
    if largest > LARGEST or 0 < spread < 1 / LARGEST:
        raise BeyondFloat64(
            f"need features between {1 / LARGEST:g} and {LARGEST:g} in size, whose powers float64 holds, got class "
            f"means up to {largest:.3g} that differ by {spread:.3g}"
        )


def _system(first: FirstPass, means: CentredMeans, pairs: PairStatistics) -> MeanSystem:
    position = np.full(len(first.moments.counts), -1)
    position[means.classes] = np.arange(len(means.classes))
    return MeanSystem(
        origin=first.origin,
        centre=means.centre - first.origin,
        rows=means.rows,
        basis=means.basis,
        nearest=pairs.nearest,
        classes=means.classes,
        position=position,
    )


def _within_fields(means: CentredMeans, sums: SecondPass, convention: Convention) -> dict[str, float]:
    N, K = int(means.counts.sum()), len(means.counts)
    s = means.singular_values
    return {
        "within_class_variation": within_class_variation(sums.residual_norms, sums.centred_norms),
        "nc1": nc1(sums.energies, s, num_samples=N, num_classes=K, over_K=convention.over_K),
        "nc1_quotient": nc1_quotient(float(sums.scatter.sum()), s, num_samples=N, num_classes=K),
    }


def _mean_fields(means: CentredMeans, pairs: PairStatistics, convention: Convention) -> dict[str, float]:
    if not means.rank:
        return {}
    return {
        "mean_norm_variation": norm_variation(means.norms, ddof=convention.ddof),
        "mean_angle_gap": pairs.angle_gap,
        "nc2_means": etf_gap(means.rows, means.rows),
        "gnc2_log": pairs.log_mean,
        "gnc2_log_variance": pairs.log_variance,
    }


def _classifier_fields(means: CentredMeans, head: Head, convention: Convention) -> dict[str, float]:
    W = host(head.weight[means.classes] if len(means.classes) < head.num_classes else head.weight)
    if convention.centre_classifier:
        noise = rounding(len(W), float(row_norms(W).max()))
        W = cleared(W - W.mean(axis=0), noise)
    norms = row_norms(W)
    fields = {
        "classifier_norm_variation": norm_variation(norms, ddof=convention.ddof),
        "classifier_angle_gap": angle_gap(W, norms),
        "nc2_classifier": etf_gap(W, W),
    }
    if means.rank:
        fields["duality_gap"] = duality_gap(means.rows, W, means.norms, norms)
        fields["nc3"] = etf_gap(W, means.rows)
        fields["nc3_dual"] = dual_distance(means.rows, W, means.norms, norms, squared=convention.squared)
    return fields


def _decision_fields(means: CentredMeans, sums: SecondPass, head: Head, counts: np.ndarray) -> dict[str, float]:
    norms = head.squared_norm() + means.squared_norm(sums.scatter)
    fields = {
        "bias_collapse": bias_collapse(head, means.sample_mean),
        "margin": sums.q_min,
        "margin_ratio": margin_ratio(sums.q_min, norms, counts, bias=head.bias),
    }
    if means.rank:
        fields["nc4_mismatch"] = sums.mismatches / sums.count
    return fields
