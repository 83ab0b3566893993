"""Counts, means and centred second moments of each class, merged by one formula.

For class k of n_k samples: mu_k its mean, s_k = sum_i |h_i - mu_k|^2 its scatter; pooled over the classes,
S_W = sum_k sum_i (h_i - mu_k)(h_i - mu_k)' (d x d, kept only when asked for). Two parts a, b of the data
merge exactly (Chan, Golub, LeVeque 1979): with delta = mu_b - mu_a,

    n = n_a + n_b,   mu = mu_a + (n_b/n) delta,   s = s_a + s_b + (n_a n_b/n) |delta|^2,
    S_W = S_a + S_b + sum_k (n_a n_b/n) delta delta'.

Everything is float64, whatever comes in, on the device it comes from. E[h^2] - E[h]^2 appears nowhere.
A mean keeps 16 digits of its distance to zero, not to the other means: a stream that is given an ``origin``
subtracts it first (exactly, for a sample in float32), and its moments are those about the origin.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from layerpeel.collapse.arrays import add_gram, host, move, namespace, native, sum_rows, symmetric

__all__ = ["ClassMoments", "MomentStream", "SecondMoment"]

SecondMoment = Literal["none", "trace", "matrix"]
"""What is kept beside the means: nothing, s_k, or s_k and S_W."""


@dataclass(frozen=True)
class ClassMoments:
    """Moments of K classes in R^d: plain arrays that :meth:`merge` by one formula, also across processes.

    The classes without samples have mean zero. ``scatter`` and ``within`` are None when not kept.
    """

    counts: Int[Any, "K"]
    means: Float[Any, "K d"]
    scatter: Float[Any, "K"] | None
    within: Float[Any, "d d"] | None

    @classmethod
    def empty(cls, num_classes: int, dim: int, *, second: SecondMoment = "trace", like: Any = None) -> "ClassMoments":
        """No samples yet; the arrays live where ``like`` lives (numpy by default)."""
        like = np.empty(0) if like is None else native(like)

        def zeros(*shape: int) -> Any:
            return move(np.zeros(shape), like)

        return cls(
            counts=move(np.zeros(num_classes, dtype=np.int64), like),
            means=zeros(num_classes, dim),
            scatter=None if second == "none" else zeros(num_classes),
            within=zeros(dim, dim) if second == "matrix" else None,
        )

    def update(self, features: Any, labels: Any) -> "ClassMoments":
        """These moments and a batch; O(K d). For many small batches of many classes use a stream."""
        stream = MomentStream(self)
        stream.update(features, labels)
        return stream.moments()

    def merge(self, other: "ClassMoments") -> "ClassMoments":
        """The moments of both sets of samples, in any order and grouping the same up to rounding.

        Raises:
            ValueError: when the two differ in K, d or in what they keep.
        """
        if self._kept() != other._kept():
            raise ValueError(
                f"need moments of the same kind, (K, d), trace, matrix = {self._kept()}, got {other._kept()}"
            )
        stream = MomentStream(self)
        stream.absorb(_Part.of_moments(other))
        return stream.moments()

    def on_host(self) -> "ClassMoments":
        """The same in numpy arrays."""
        scatter, within = (None if part is None else host(part) for part in (self.scatter, self.within))
        return ClassMoments(host(self.counts), host(self.means), scatter, within)

    def shifted(self, step: Float[Any, "d"]) -> "ClassMoments":
        """The moments of all samples moved by ``step``; the classes without samples keep their mean zero."""
        xp = namespace(self.means)
        return replace(self, means=xp.where((self.counts > 0)[:, None], self.means + step, self.means))

    def _kept(self) -> tuple[tuple[int, ...], bool, bool]:
        return tuple(self.means.shape), self.scatter is not None, self.within is not None


@dataclass(frozen=True)
class _Part:
    """Moments of the classes that a part of the data holds; its S_W is ``within``, or residuals' residuals."""

    classes: Int[Any, "U"]
    counts: Int[Any, "U"]
    means: Float[Any, "U d"]
    scatter: Float[Any, "U"] | None
    within: Float[Any, "d d"] | None
    residuals: Float[Any, "R d"]

    @classmethod
    def of_moments(cls, moments: ClassMoments) -> "_Part":
        present = namespace(moments.means).nonzero(moments.counts)[0]
        scatter = None if moments.scatter is None else moments.scatter[present]
        means = moments.means[present]
        return cls(present, moments.counts[present], means, scatter, moments.within, means[:0])

    @classmethod
    def of_batch(cls, features: Any, labels: Any, second: SecondMoment, origin: Any) -> "_Part":
        xp = namespace(features)
        rows = xp.astype(features, xp.float64) if origin is None else features - origin
        classes, inverse, counts = xp.unique(labels, return_inverse=True, return_counts=True)
        number = classes.shape[0]
        means = sum_rows(rows, inverse, number)
        means /= counts[:, None]
        if second == "none":
            return cls(classes, counts, means, None, None, rows[:0])
        inverse, rows = _without_singles(inverse, rows, counts)
        rows = rows - means[inverse]
        scatter = sum_rows(xp.vecdot(rows, rows), inverse, number)
        return cls(classes, counts, means, scatter, None, rows)


def _without_singles(inverse: Any, rows: Any, counts: Any) -> tuple[Any, Any]:
    """Only the rows whose class has another one: the residual of a single row is zero."""
    several = counts[inverse] > 1
    return (inverse, rows) if several.all() else (inverse[several], rows[several])


class MomentStream:
    """A mutable accumulator of :class:`ClassMoments`: a batch of B rows costs O(B d), whatever K.

    It owns copies of the arrays of the moments that it starts from, or with ``copy=False`` works in those very
    arrays; :meth:`moments` gives copies. Meanwhile the lower triangle alone of its S_W counts.
    """

    def __init__(self, start: ClassMoments, *, origin: Float[Any, "d"] | None = None, copy: bool = True) -> None:
        xp = namespace(start.means)

        def own(array: Any) -> Any:
            return array if array is None or not copy else xp.asarray(array, copy=True)

        self._origin = origin
        self._counts, self._means = own(start.counts), own(start.means)
        self._scatter, self._within = own(start.scatter), own(start.within)

    @property
    def num_classes(self) -> int:
        """K, the classes that there is room for."""
        return int(self._counts.shape[0])

    def moments(self) -> ClassMoments:
        """The moments so far, frozen."""
        now = MomentStream(ClassMoments(self._counts, self._means, self._scatter, self._within))
        return now.release()

    def release(self) -> ClassMoments:
        """The moments so far without a copy; the stream must not be used again."""
        within = None if self._within is None else symmetric(self._within)
        return ClassMoments(self._counts, self._means, self._scatter, within)

    def reserve(self, num_classes: int) -> None:
        """Room for at least that many classes."""
        more = num_classes - self.num_classes
        if more <= 0:
            return
        xp = namespace(self._means)
        room = ClassMoments.empty(more, self._means.shape[1], like=self._means)
        self._counts = xp.concat([self._counts, room.counts])
        self._means = xp.concat([self._means, room.means])
        if self._scatter is not None:
            self._scatter = xp.concat([self._scatter, room.scatter])

    def update(self, features: Any, labels: Any) -> None:
        """Add the rows of ``features`` (B, d) with ``labels`` (B,) in 0 .. K-1; B may be 0.

        Raises:
            ValueError: when the shapes do not fit.
        """
        features, y = native(features), host(native(labels)).reshape(-1)
        if features.ndim != 2 or features.shape[1] != self._means.shape[1] or len(features) != len(y):
            raise ValueError(
                f"need features (B, {self._means.shape[1]}) and labels (B,), got {tuple(features.shape)} and {y.shape}"
            )
        if not len(y):
            return
        if y.min() < 0 or y.max() >= self.num_classes:
            raise ValueError(f"need labels 0 <= y < K = {self.num_classes}, got {y.min()} .. {y.max()}")
        groups = move(y.astype(np.int64, copy=False), features)
        self.absorb(_Part.of_batch(features, groups, self._second, self._origin))

    @property
    def _second(self) -> SecondMoment:
        if self._scatter is None:
            return "none"
        return "trace" if self._within is None else "matrix"

    def absorb(self, part: _Part) -> None:
        """Merge ``part`` in place: the formula at the head of this file, for the classes it holds."""
        xp = namespace(self._means)
        rows = part.classes if part.classes.shape[0] < self.num_classes else slice(None)
        before = xp.astype(self._counts[rows], xp.float64)
        self._counts[rows] += part.counts
        share = xp.astype(part.counts, xp.float64) / xp.astype(self._counts[rows], xp.float64)
        weight = share * before
        mean = self._means[rows]
        delta = part.means - mean
        if self._scatter is not None:
            self._scatter[rows] += part.scatter + weight * xp.vecdot(delta, delta)
        if self._within is not None:
            steps = xp.sqrt(weight[before > 0])[:, None] * delta[before > 0]
            add_gram(self._within, xp.concat([part.residuals, steps]))
            if part.within is not None:
                self._within += part.within
        delta *= share[:, None]
        mean += delta
        self._means[rows] = mean
