"""Collapse, measured: every field of every convention in one frozen record.

A gap is >= 0 and zero at collapse; nan means undefined for this input (no classifier, one class only, ...),
and ``notes`` says why. ``str(report)`` is the table that a practitioner reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan

from layerpeel.collapse.table import Line, render

__all__ = ["METRICS", "CollapseReport"]

METRICS = (
    Line("NC1", "within_class_variation", "mean distance to the class mean / to the centre"),
    Line("NC1", "nc1", "within- over between-class covariance, tr(Sw Sb+)"),
    Line("NC1", "nc1_quotient", "tr Sw / tr Sb"),
    Line("NC1", "cdnv", "class variance over squared distance, mean of pairs"),
    Line("NC2", "mean_norm_variation", "lengths of the class means, std / mean"),
    Line("NC2", "classifier_norm_variation", "lengths of the classifier rows, std / mean"),
    Line("NC2", "mean_angle_gap", "class means: |cos + 1/(K-1)|, mean of pairs"),
    Line("NC2", "classifier_angle_gap", "classifier rows: |cos + 1/(K-1)|, mean of pairs"),
    Line("NC2", "nc2_means", "Gram of the class means to that of the simplex"),
    Line("NC2", "nc2_classifier", "Gram of the classifier rows to that of the simplex"),
    Line("NC2", "gnc2_log", "mean log inverse distance of the directions", at_collapse=None),
    Line("NC2", "gnc2_log_variance", "its variance over pairs"),
    Line("NC3", "duality_gap", "classifier row to class mean, unit vectors"),
    Line("NC3", "nc3", "products of rows and means to the simplex"),
    Line("NC3", "nc3_dual", "classifier to class means, unit matrices"),
    Line("NC4", "nc4_mismatch", "share where classifier and nearest mean differ"),
    Line("NC4", "bias_collapse", "scores at the mean feature, |W m + b|"),
    Line("NC4", "margin", "least margin over the samples", at_collapse=None),
    Line("NC4", "margin_ratio", "margin over its largest possible value", at_collapse=1.0),
)
"""The metric fields in the order of the table."""


@dataclass(frozen=True, kw_only=True)
class CollapseReport:
    """What ``measure`` found; definitions in the functions of this package, named as the fields.

    Attributes:
        preset: name of the convention.
        num_classes: K, with or without samples.
        num_samples: N, as counted.
        rank: numerical rank of the centred class means; 0 when they are all equal.
        missing_classes: classes without samples, left out of everything but the decisions.
        single_sample_classes: these count in the means; their zero variance does not enter CDNV.
        dropped: samples left out by the mask, ``ignore_index`` or ``allow_nonfinite="drop"``.
        passes: walks over the samples, 2 or (one-shot iterators) 1.
        floors: metric -> least attainable value, or a lower bound of it, where K > d+1 keeps it above zero.
        notes: sentences on what is undefined and why.
    """

    preset: str
    num_classes: int
    num_samples: int
    dim: int
    rank: int = 0
    missing_classes: tuple[int, ...] = ()
    single_sample_classes: tuple[int, ...] = ()
    dropped: int = 0
    passes: int = 2
    floors: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    within_class_variation: float = nan
    nc1: float = nan
    nc1_quotient: float = nan
    cdnv: float = nan
    mean_norm_variation: float = nan
    classifier_norm_variation: float = nan
    mean_angle_gap: float = nan
    classifier_angle_gap: float = nan
    nc2_means: float = nan
    nc2_classifier: float = nan
    gnc2_log: float = nan
    gnc2_log_variance: float = nan
    duality_gap: float = nan
    nc3: float = nan
    nc3_dual: float = nan
    nc4_mismatch: float = nan
    bias_collapse: float = nan
    margin: float = nan
    margin_ratio: float = nan

    def asdict(self) -> dict[str, float]:
        """Metric field -> value."""
        return {line.field: getattr(self, line.field) for line in METRICS}

    def __str__(self) -> str:
        return render(self.headline(), METRICS, self.asdict(), self.floors, self.remarks())

    def headline(self) -> str:
        """What was measured, in one line."""
        return (
            f"preset {self.preset} · N = {self.num_samples:,} samples · K = {self.num_classes:,} classes · "
            f"d = {self.dim:,} · rank {self.rank:,}"
        )

    def remarks(self) -> list[str]:
        """The sentences under the table."""
        remarks = []
        if self.missing_classes:
            remarks.append(f"without samples, left out: {_listing('class', self.missing_classes)}")
        if self.single_sample_classes:
            remarks.append(f"one sample only, not in CDNV: {_listing('class', self.single_sample_classes)}")
        if self.dropped:
            remarks.append(f"{self.dropped:,} samples were dropped")
        return remarks + list(self.notes)


def _listing(noun: str, numbers: tuple[int, ...], most: int = 8) -> str:
    shown = ", ".join(map(str, numbers[:most]))
    plural = noun if len(numbers) == 1 else f"{noun}es"
    return f"{plural} {shown}" + (f" and {len(numbers) - most:,} more" if len(numbers) > most else "")
