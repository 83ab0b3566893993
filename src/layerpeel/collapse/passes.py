"""The two walks over the samples, and what each can know.

First pass: the moments of the classes, about an origin that is one of the samples, so that nothing later
depends on how far from zero the features lie. Second pass, with the class means known: norms of the
residuals r_i = h_i - mu_{y_i} and of h_i - m, energies of the residuals along the right singular vectors of
the class means, margins, and whether classifier and nearest class mean agree.

A source that can be walked only once gives S_W (d x d) instead of the energies, and margins, but nothing that
needs the means while a sample is in sight.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from layerpeel.collapse.arrays import full_precision, host, move, namespace, product_dtype, sum_rows
from layerpeel.collapse.decision import Head, Scorer, check_head, decide
from layerpeel.collapse.moments import ClassMoments, MomentStream, SecondMoment
from layerpeel.collapse.samples import Block, Samples

__all__ = ["FirstPass", "MeanSystem", "SecondPass", "first_pass", "second_pass"]

_TALL = 2  # blocks of the first pass, each of which touches the means of all its classes
_SETTLED = 1 - 1e-4  # of the triangle inequality, for coordinates in float32
_CLOSE = 1e-4  # of the largest score, what float32 products leave open


@dataclass(frozen=True)
class FirstPass:
    """Moments about ``origin``; the least margin where only one pass is possible."""

    moments: ClassMoments
    origin: Float[np.ndarray, "d"]
    q_min: float

    def on_host(self) -> "FirstPass":
        """The same with numpy arrays, which any other process can read."""
        return replace(self, moments=self.moments.on_host())

    def __add__(self, other: "FirstPass") -> "FirstPass":
        """The first pass over both sets of samples, about the origin of this one."""
        step = move(other.origin - self.origin, other.moments.means)
        moments = self.moments.merge(other.moments.shifted(step))
        return FirstPass(moments, self.origin, min(self.q_min, other.q_min))


@dataclass(frozen=True)
class MeanSystem:
    """What the second pass needs of the K' classes that have samples.

    ``rows`` are the class means about ``centre``, itself about the ``origin`` of the first pass; ``basis``
    has their right singular vectors as columns; ``nearest`` is the distance of each mean to the closest
    other one; ``position`` maps a class to its row, or -1.
    """

    origin: Float[np.ndarray, "d"]
    centre: Float[np.ndarray, "d"]
    rows: Float[np.ndarray, "K d"]
    basis: Float[np.ndarray, "d r"]
    nearest: Float[np.ndarray, "K"]
    classes: Int[np.ndarray, "K"]
    position: Int[np.ndarray, "L"]


@dataclass(frozen=True)
class SecondPass:
    """Sums over the samples, additive but for ``q_min``."""

    count: int
    residual_norms: float
    centred_norms: float
    residual_sum: Float[np.ndarray, "d"]
    scatter: Float[np.ndarray, "K"]
    energies: Float[np.ndarray, "r"]
    mismatches: float
    q_min: float

    @classmethod
    def from_moments(
        cls, first: FirstPass, classes: Int[np.ndarray, "K"], basis: Float[np.ndarray, "d r"]
    ) -> "SecondPass":
        """What one pass can say: the norms and the mismatches are nan, the energies are those of S_W, if kept."""
        nan, moments = float("nan"), first.moments
        energies = np.full(basis.shape[1], nan)
        if moments.within is not None:
            energies = np.einsum("dr,dr->r", basis, host(moments.within) @ basis)
        return cls(
            count=int(moments.counts.sum()),
            residual_norms=nan,
            centred_norms=nan,
            residual_sum=np.zeros(len(basis)),
            scatter=host(moments.scatter)[classes],
            energies=energies,
            mismatches=nan,
            q_min=first.q_min,
        )

    def __add__(self, other: "SecondPass") -> "SecondPass":
        return SecondPass(
            self.count + other.count,
            self.residual_norms + other.residual_norms,
            self.centred_norms + other.centred_norms,
            self.residual_sum + other.residual_sum,
            self.scatter + other.scatter,
            self.energies + other.energies,
            self.mismatches + other.mismatches,
            min(self.q_min, other.q_min),
        )


def first_pass(samples: Samples, head: Head | None) -> FirstPass | None:
    """Moments of all samples; None when there is no sample.

    Raises:
        ValueError: for what the source refuses, or a head that does not fit.
    """
    width = 1 if head is None or samples.repeatable else head.num_classes
    walk = None
    for block in samples.blocks(width, tall=_TALL):
        walk = walk or _FirstWalk(samples, head, block.features)
        with full_precision(block.features):
            walk.add(block)
    return None if walk is None else FirstPass(walk.stream.release(), walk.origin, walk.q_min)


class _FirstWalk:
    """The accumulators of a first pass, on the device of the first block."""

    def __init__(self, samples: Samples, head: Head | None, x: Any) -> None:
        check_head(head, samples.num_classes, x.shape[1])
        second: SecondMoment = "none" if samples.repeatable else "matrix"
        start = ClassMoments.empty(samples.num_classes or 0, x.shape[1], second=second, like=x)
        self.origin = host(x[0, :]).astype(np.float64)
        self.shift = move(self.origin, x)
        self.stream = MomentStream(start, origin=self.shift)
        self.grows = samples.num_classes is None
        self.scorer = None
        if head is not None and not samples.repeatable:
            self.scorer = Scorer.at(head, self.origin, x, product_dtype(x, head.entries, head.size()))
        self.q_min = float("inf")

    def add(self, block: Block) -> None:
        if self.grows:
            self.stream.reserve(int(block.labels.max()) + 1)
        self.stream.update(block.features, block.labels)
        if self.scorer is not None:
            decisions = decide(self.scorer, block.features - self.shift, move(block.labels, block.features))
            self.q_min = min(self.q_min, float(decisions.margins.min()))


def second_pass(samples: Samples, system: MeanSystem, head: Head | None) -> SecondPass | None:
    """Sums over all samples; None when this walk over the source finds none.

    Raises:
        ValueError: when it finds a class that the first did not.
    """
    width = max(system.basis.shape[1], 1 if head is None else head.num_classes)
    walk: _SecondWalk | None = None
    total: SecondPass | None = None
    for block in samples.blocks(width):
        walk = walk or _SecondWalk.on_device(system, head, block.features)
        with full_precision(block.features):
            part = walk.sums(block)
        total = part if total is None else total + part
    return total


@dataclass(frozen=True)
class _SecondWalk:
    """The mean system and the head on the device of the features; products in their dtype."""

    system: MeanSystem
    origin: Any  # (d,)
    centre: Any  # (d,)
    rows: Any  # (K', d)
    basis: Any  # (d, r), product dtype
    coordinates: Any  # (K', r), of the rows about the centre in the basis
    half_squares: Any  # (K',), of their norms
    reach: Any  # (K',), a residual this short is nearest to its own mean
    classes: Any  # (K',)
    scorer: Scorer | None

    @classmethod
    def on_device(cls, system: MeanSystem, head: Head | None, like: Any) -> "_SecondWalk":
        sizes = [float(np.abs(system.rows).max())] + ([] if head is None else [head.size()])
        entries = max(system.basis.size, 0 if head is None else head.entries)
        dtype = product_dtype(like, entries, *sizes)
        coordinates = system.rows @ system.basis
        return cls(
            system=system,
            origin=move(system.origin, like),
            centre=move(system.centre, like),
            rows=move(system.rows, like),
            basis=move(system.basis, like, dtype),
            coordinates=move(coordinates, like, dtype),
            half_squares=move(np.vecdot(coordinates, coordinates) / 2, like, dtype),
            reach=move(_SETTLED * system.nearest / 2, like),
            classes=move(system.classes, like),
            scorer=None if head is None else Scorer.at(head, system.origin + system.centre, like, dtype),
        )

    def sums(self, block: Block) -> SecondPass:
        """The sums over one block."""
        x, xp = block.features, namespace(block.features)
        groups = move(self._positions(block.labels), x)
        rows = x - self.origin
        rows -= self.centre
        centred_norms = float(xp.sum(xp.sqrt(xp.vecdot(rows, rows))))
        decisions = None if self.scorer is None else decide(self.scorer, rows, self.classes[groups])
        rows -= self.rows[groups]  # now the residuals
        squares = xp.vecdot(rows, rows)
        along = xp.astype(rows, self.basis.dtype) @ self.basis
        energies = xp.astype(along, xp.float64) ** 2
        mismatches, q_min = 0.0, float("inf")
        if decisions is not None:
            q_min = float(decisions.margins.min())
            nearest = self._nearest(rows, along, xp.sum(energies, axis=1), groups)
            mismatches = float(xp.count_nonzero(decisions.predicted != self.classes[nearest]))
        return SecondPass(
            count=len(block.labels),
            residual_norms=float(xp.sum(xp.sqrt(squares))),
            centred_norms=centred_norms,
            residual_sum=host(xp.sum(rows, axis=0)),
            scatter=host(sum_rows(squares, groups, len(self.system.classes))),
            energies=host(xp.sum(energies, axis=0)),
            mismatches=mismatches,
            q_min=q_min,
        )

    def _positions(self, labels: Int[np.ndarray, "B"]) -> Int[np.ndarray, "B"]:
        table = self.system.position
        new = (labels >= len(table)) | (table[np.minimum(labels, len(table) - 1)] < 0)
        if new.any():
            raise ValueError(f"need the same samples in both passes, got class {labels[new][0]} in the second only")
        return table[labels]

    def _nearest(self, residual: Any, along: Any, squares: Any, groups: Any) -> Any:
        """Row of the nearest class mean: argmin_k |h - mu_k|, the first of equals.

        Only the part of r in the span of the means counts, ``along`` of square ``squares``. Where it is shorter
        than half the way to any other mean the own one is nearest. Elsewhere the products propose the best other
        mean, and float64 decides between it and the own one where they leave it open.
        """
        xp = namespace(residual)
        open_ = xp.nonzero(xp.sqrt(squares) >= self.reach[groups])[0]
        if not open_.shape[0]:
            return groups
        own, index = groups[open_], xp.arange(open_.shape[0], device=groups.device)
        scores = (along[open_] + self.coordinates[own]) @ self.coordinates.T
        scores -= self.half_squares
        lead = -scores[index, own]
        scores[index, own] = -xp.inf
        other = xp.argmax(scores, axis=1)
        lead += scores[index, other]
        nearest = xp.asarray(groups, copy=True)
        nearest[open_] = xp.where(lead > 0, other, own)
        close = xp.nonzero(xp.abs(lead) < _CLOSE * xp.max(self.half_squares))[0]
        if close.shape[0]:
            own, other = own[close], other[close]
            step = self.rows[other] - self.rows[own]
            gain = 2 * xp.vecdot(residual[open_[close]], step) - xp.vecdot(step, step)
            moves = (gain > 0) | ((gain == 0) & (other < own))
            nearest[open_[close]] = xp.where(moves, other, own)
        return nearest
