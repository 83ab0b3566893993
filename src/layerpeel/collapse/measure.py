"""From features and labels to a report: two walks over the samples, then formulas on K x d matrices."""

import operator
from typing import Any, SupportsIndex

import numpy as np

from layerpeel.collapse.arrays import host
from layerpeel.collapse.conventions import Convention
from layerpeel.collapse.conventions import preset as named_convention
from layerpeel.collapse.decision import Head, bias_collapse, check_head, margin_ratio, read_head
from layerpeel.collapse.duality import dual_distance, duality_gap
from layerpeel.collapse.floors import attainable_floors
from layerpeel.collapse.geometry import angle_gap, cleared, etf_gap, norm_variation, rounding, row_norms
from layerpeel.collapse.means import CentredMeans
from layerpeel.collapse.notes import explain
from layerpeel.collapse.pairs import PairStatistics, cdnv, pair_statistics
from layerpeel.collapse.passes import FirstPass, MeanSystem, SecondPass, first_pass, second_pass
from layerpeel.collapse.report import CollapseReport
from layerpeel.collapse.samples import Samples, gather_samples
from layerpeel.collapse.within import nc1, nc1_quotient, within_class_variation

__all__ = ["measure"]

LARGEST = 1e70
"""Size of features whose fourth powers, in products of Gram matrices, are still far from the ends of float64."""


def measure(
    features: Any,
    labels: Any = None,
    *,
    classifier: Any = None,
    bias: Any = None,
    num_classes: SupportsIndex | None = None,
    ignore_index: int | None = None,
    mask: Any = None,
    preset: str | Convention = "ji2022",
    allow_nonfinite: str = "raise",
) -> CollapseReport:
    """Measure neural collapse, NC1 to NC4, in every definition the literature uses.

    Args:
        features: (N, d), one sample a row, of numpy, torch (any device, any float dtype) or jax. Or, without
            ``labels``, an iterable of (features, labels) batches: a list or a DataLoader is walked twice; a
            one-shot iterator once, and what needs the class means beforehand is then nan.
        labels: (N,) or (N, 1), integers 0 <= y < K.
        classifier: W, (K, d); the fields on it are nan without.
        bias: b, (K,).
        num_classes: K; by default the rows of the classifier, or the largest label + 1.
        ignore_index: label of the samples to leave out.
        mask: (N,), True for the samples to count.
        preset: the convention, by name (see ``layerpeel conventions``) or your own.
        allow_nonfinite: "drop" leaves out samples with nan or inf instead of raising.

    Raises:
        ValueError: for anything else, with one sentence that says what was needed and what came.
    """
    convention = preset if isinstance(preset, Convention) else named_convention(preset)
    head = read_head(classifier, bias)
    K = _given_classes(num_classes, head)
    samples = gather_samples(
        features,
        labels,
        num_classes=K,
        ignore_index=ignore_index,
        mask=mask,
        on_nonfinite=allow_nonfinite,
    )
    if samples.dim is not None:
        check_head(head, K, samples.dim)
    return _measure(samples, head, convention, K)


def _given_classes(num_classes: SupportsIndex | None, head: Head | None) -> int | None:
    if num_classes is None:
        K = None if head is None else head.num_classes
    else:
        try:
            K = operator.index(num_classes)
        except TypeError:
            raise ValueError(f"need num_classes to be an integer, got {num_classes!r}") from None
    if K is not None and K < 2:
        raise ValueError(f"need at least two classes, got K = {K}")
    return K


def _measure(samples: Samples, head: Head | None, convention: Convention, K: int | None) -> CollapseReport:
    first = first_pass(samples, head)
    counts = np.zeros(K or 0, dtype=np.int64) if first is None else host(first.moments.counts)
    if len(counts) == 1:
        raise ValueError("need at least two classes, got K = 1")
    facts = _facts(counts, samples, convention)
    present = int(np.count_nonzero(counts))
    if first is None or present < 2:
        return CollapseReport(
            **facts, notes=(f"need samples of two classes or more, got {present}: nothing is defined",)
        )
    _check_magnitude(first)
    means = CentredMeans.consume(first.moments, first.origin, convention.centre)
    enters = means.counts > 1
    pairs = pair_statistics(means.rows, means.norms, enters, exponent=convention.exponent, noise=means.noise)
    sums = _second_sums(samples, first, means, pairs, head)
    fields: dict[str, Any] = _within_fields(means, sums, convention) | _mean_fields(means, pairs, convention)
    fields["cdnv"] = cdnv(sums.scatter / means.counts, pairs, enters)
    if head is not None:
        fields |= _classifier_fields(means, head, convention) | _decision_fields(means, sums, head, counts)
    return CollapseReport(
        **facts,
        **fields,
        rank=means.rank,
        floors={k: floor for k, floor in attainable_floors(present, means.dim).items() if k in fields},
        notes=explain(samples, means, pairs, sums, fields),
    )


def _check_magnitude(first: FirstPass) -> None:
    """Refuse features whose powers are no float64 numbers, rather than call them collapsed."""
    spread = float(np.abs(host(first.moments.means)).max())
    largest = max(spread, float(np.abs(first.origin).max()))
    if largest > LARGEST or 0 < spread < 1 / LARGEST:
        raise ValueError(
            f"need features between {1 / LARGEST:g} and {LARGEST:g} in size, whose powers float64 holds, got class "
            f"means up to {largest:.3g} that differ by {spread:.3g}"
        )


def _facts(counts: np.ndarray, samples: Samples, convention: Convention) -> dict[str, Any]:
    return {
        "preset": convention.name,
        "num_classes": len(counts),
        "num_samples": int(counts.sum()),
        "dim": samples.dim or 0,
        "missing_classes": tuple(np.flatnonzero(counts == 0).tolist()),
        "single_sample_classes": tuple(np.flatnonzero(counts == 1).tolist()),
        "dropped": samples.dropped.total,
        "passes": 2 if samples.repeatable else 1,
    }


def _second_sums(
    samples: Samples, first: FirstPass, means: CentredMeans, pairs: PairStatistics, head: Head | None
) -> SecondPass:
    if not samples.repeatable:
        return SecondPass.from_moments(first, means.classes, means.basis)
    position = np.full(len(first.moments.counts), -1)
    position[means.classes] = np.arange(len(means.classes))
    system = MeanSystem(
        origin=first.origin,
        centre=means.centre - first.origin,
        rows=means.rows,
        basis=means.basis,
        nearest=pairs.nearest,
        classes=means.classes,
        position=position,
    )
    return second_pass(samples, system, head)


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
