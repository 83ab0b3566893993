"""Features and labels as they are given -> clean blocks that the passes run over.

A block holds rows of features in their own dtype and on their own device, about ``BLOCK`` numbers in
whatever the pass makes of it, with their labels 0 <= y < K as int64 on the host. What a user wants left out
(a mask, ``ignore_index``, rows that are not finite) is left out here, before anything is counted.

Two sources: ``ArraySamples`` (features, labels) and ``BatchSamples``, an iterable of such pairs. Both can be
walked any number of times, but for the one-shot iterator (``iter(x) is x``), ``repeatable = False``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np
from array_api_compat import is_array_api_obj
from jaxtyping import Bool, Int

from layerpeel.collapse.arrays import host, is_real, namespace, native

__all__ = [
    "BLOCK",
    "ArraySamples",
    "BatchSamples",
    "Block",
    "Dropped",
    "Samples",
    "array_samples",
    "checked_choices",
    "gather_samples",
]

BLOCK = 2**18
"""Numbers in the largest temporary of a pass over arrays on the host: 2 MiB in float64, which a cache holds."""
DEVICE_BLOCK = 2**24
"""The same on an accelerator, which wants much work at a time."""
MOST_CLASSES = 10**7
"""K is taken from the labels only up to here: a larger one is a mistake, or deserves to be said."""
LEAST_ROWS = 512
"""Rows that a block has at least, for large products to run at full speed."""


@dataclass(frozen=True)
class Block:
    """Some samples: native features (B, d), labels (B,) of int64 on the host."""

    features: Any
    labels: Int[np.ndarray, "B"]


@dataclass
class Dropped:
    """How many samples one walk over the source left out, and how many of them were not finite."""

    total: int = 0
    nonfinite: int = 0


@dataclass
class ArraySamples:
    """Features (N, d) with labels (N,), wholly in memory; blocks are views where nothing is left out."""

    features: Any
    labels: Int[np.ndarray, "N"]
    keep: Bool[np.ndarray, "N"] | None
    num_classes: int | None
    on_nonfinite: str
    repeatable: bool = True
    dropped: Dropped = field(default_factory=Dropped)

    @property
    def dim(self) -> int:
        """d."""
        return int(self.features.shape[1])

    def blocks(self, width: int = 1, *, tall: int = 1) -> Iterator[Block]:
        """The rows in their order; ``width`` columns are made of each besides d; ``tall`` times the usual block."""
        self.dropped = Dropped()
        size, d = self.features.shape
        step = tall * _block_rows(self.features, max(d, width))
        for start in range(0, size, step):
            block = self._block(slice(start, start + step))
            if len(block.labels):
                yield block

    def _block(self, rows: slice) -> Block:
        features, labels = self.features[rows], self.labels[rows]
        if self.keep is not None and not self.keep[rows].all():
            chosen = np.flatnonzero(self.keep[rows])
            self.dropped.total += len(labels) - len(chosen)
            features, labels = features[chosen], labels[chosen]
        if _maybe_nonfinite(features):
            features, labels = self._without_nonfinite(features, labels)
        return Block(features, labels)

    def _without_nonfinite(self, features: Any, labels: np.ndarray) -> tuple[Any, np.ndarray]:
        finite = _finite_rows(features)
        if not finite.all() and self.on_nonfinite == "raise":
            raise ValueError(self._nonfinite_sentence())
        chosen = np.flatnonzero(finite)
        self.dropped.total += len(finite) - len(chosen)
        self.dropped.nonfinite += len(finite) - len(chosen)
        return features[chosen], labels[chosen]

    def _nonfinite_sentence(self) -> str:
        step = _block_rows(self.features, self.features.shape[1])
        starts = range(0, len(self.labels), step)
        bad = ~np.concatenate([_finite_rows(self.features[start : start + step]) for start in starts])
        if self.keep is not None:
            bad &= self.keep
        return (
            f"need finite features, got {int(bad.sum())} samples with nan or inf, the first at index "
            f"{int(bad.argmax())} (allow_nonfinite='drop', in the shell --drop-nonfinite, leaves them out)"
        )


@dataclass
class BatchSamples:
    """An iterable of (features, labels): a list, a DataLoader, or an iterator that gives one walk only."""

    batches: Iterable[Any]
    num_classes: int | None
    ignore_index: int | None
    on_nonfinite: str
    dim: int | None = None
    dropped: Dropped = field(default_factory=Dropped)

    @property
    def repeatable(self) -> bool:
        """Whether a second walk is possible: not over an iterator, which is its own ``iter``."""
        return not isinstance(self.batches, Iterator)

    def blocks(self, width: int = 1, *, tall: int = 1) -> Iterator[Block]:
        """The rows in the order of this walk, a batch (or a block of it) at a time."""
        self.dropped = Dropped()
        for number, batch in enumerate(self.batches):
            try:
                part = self._clean(batch)
                yield from part.blocks(width, tall=tall)
            except ValueError as error:
                raise ValueError(f"batch {number}: {error}") from None
            self.dropped.total += part.dropped.total
            self.dropped.nonfinite += part.dropped.nonfinite

    def _clean(self, batch: Any) -> ArraySamples:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise ValueError(f"need a pair (features, labels), got {type(batch).__name__}")
        part = array_samples(
            *batch,
            num_classes=self.num_classes,
            ignore_index=self.ignore_index,
            mask=None,
            on_nonfinite=self.on_nonfinite,
        )
        if self.dim is not None and part.dim != self.dim:
            raise ValueError(f"need features of dimension {self.dim} as before, got {part.dim}")
        self.dim = part.dim
        return part


Samples = ArraySamples | BatchSamples
"""A source of blocks."""


def checked_choices(on_nonfinite: object, ignore_index: object) -> None:
    """Refuse what is no choice.

    Raises:
        ValueError: for another word than "raise" and "drop", or an ignore_index that is no integer.
    """
    if on_nonfinite not in ("raise", "drop"):
        raise ValueError(f"need allow_nonfinite 'raise' or 'drop', got {on_nonfinite!r}")
    if ignore_index is not None and not isinstance(ignore_index, Integral):
        raise ValueError(f"need ignore_index to be an integer, got {ignore_index!r}")


def gather_samples(
    features: Any,
    labels: Any,
    *,
    num_classes: int | None,
    ignore_index: int | None,
    mask: Any,
    on_nonfinite: str,
) -> Samples:
    """The source for what the user gave: arrays, or with labels=None an iterable of batches.

    Raises:
        ValueError: when it is neither, or a mask comes with batches.
    """
    checked_choices(on_nonfinite, ignore_index)
    if labels is not None:
        return array_samples(
            features,
            labels,
            num_classes=num_classes,
            ignore_index=ignore_index,
            mask=mask,
            on_nonfinite=on_nonfinite,
        )
    if is_array_api_obj(features) or not isinstance(features, Iterable):
        raise ValueError(f"need labels, or an iterable of (features, labels), got {type(features).__name__} alone")
    if mask is not None:
        raise ValueError("need arrays for a mask, got batches: leave the samples out of the batches")
    return BatchSamples(features, num_classes, ignore_index, on_nonfinite)


def array_samples(
    features: Any,
    labels: Any,
    *,
    num_classes: int | None,
    ignore_index: int | None,
    mask: Any,
    on_nonfinite: str,
) -> ArraySamples:
    """Checked features, labels and mask.

    Raises:
        ValueError: for a wrong shape or dtype, or a label outside 0 <= y < K.
    """
    features = _checked_features(features)
    y = _checked_labels(labels, len(features))
    keep = _kept(y, ignore_index, mask)
    K = _checked_classes(y, np.ones(len(y), dtype=bool) if keep is None else keep, num_classes)
    return ArraySamples(features, y, keep, K, on_nonfinite)


def _checked_features(features: Any) -> Any:
    features = native(features)
    if features.ndim != 2 or features.shape[1] < 1:
        raise ValueError(f"need features of shape (N, d) with d >= 1, got {tuple(features.shape)}")
    if not is_real(features):
        raise ValueError(f"need features of real numbers, got dtype {features.dtype}")
    return features


def _checked_labels(labels: Any, size: int) -> Int[np.ndarray, "N"]:
    y = host(native(labels))
    if y.shape not in ((size,), (size, 1)):
        raise ValueError(f"need labels of shape ({size},) or ({size}, 1), got {y.shape}")
    if y.dtype.kind not in "iu" and y.size:
        raise ValueError(f"need labels that are integers, got dtype {y.dtype}")
    return y.reshape(size).astype(np.int64, copy=False)


def _kept(y: np.ndarray, ignore_index: int | None, mask: Any) -> Bool[np.ndarray, "N"] | None:
    keep = None
    if mask is not None:
        keep = host(native(mask))
        if keep.shape not in (y.shape, (*y.shape, 1)) or keep.dtype.kind != "b":
            raise ValueError(f"need a boolean mask of shape {y.shape}, got {keep.dtype} of {keep.shape}")
        keep = keep.reshape(y.shape)
    if ignore_index is not None:
        counted = y != ignore_index
        keep = counted if keep is None else keep & counted
    return keep


def _checked_classes(y: np.ndarray, keep: np.ndarray, num_classes: int | None) -> int | None:
    """K, given or found, once all labels that count are in its range."""
    counted = y[keep]
    if not counted.size:
        return num_classes
    low, high = int(counted.min()), int(counted.max())
    if low < 0 or (num_classes is not None and high >= num_classes):
        wrong = low if low < 0 else high
        limit = "" if num_classes is None else f" < K = {num_classes}"
        index = int((keep & (y == wrong)).argmax())
        raise ValueError(f"need labels 0 <= y{limit}, got {wrong} at index {index}")
    if num_classes is None and high >= MOST_CLASSES:
        raise ValueError(f"need num_classes, or labels below {MOST_CLASSES:,}, to tell K, got the label {high:,}")
    return high + 1 if num_classes is None else num_classes


def _block_rows(features: Any, width: int) -> int:
    """Rows of a block that makes ``width`` numbers of each."""
    numbers = BLOCK if str(features.device) == "cpu" else DEVICE_BLOCK
    return max(numbers // width, LEAST_ROWS)


def _maybe_nonfinite(features: Any) -> bool:
    """A cheap test that never misses: the sum of a block is not finite (or just too large, float16)."""
    xp = namespace(features)
    if not xp.isdtype(features.dtype, "real floating"):
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return not bool(xp.isfinite(xp.sum(features)))


def _finite_rows(features: Any) -> Bool[np.ndarray, "B"]:
    xp = namespace(features)
    if not xp.isdtype(features.dtype, "real floating"):
        return np.ones(len(features), dtype=bool)
    return host(xp.all(xp.isfinite(features), axis=1))
