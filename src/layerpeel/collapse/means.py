"""The class means about their centre, with the singular system that everything else is read from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from layerpeel.collapse.arrays import host
from layerpeel.collapse.geometry import cleared, rounding, row_norms, singular_system
from layerpeel.collapse.moments import ClassMoments

__all__ = ["CentredMeans"]


@dataclass(frozen=True)
class CentredMeans:
    """A = [a_k], a_k = mu_k - m, of the K' classes that have samples.

    Attributes:
        classes: their numbers.
        counts: n_k.
        rows: a_k.
        norms: |a_k|.
        noise: lengths up to this one are rounding.
        centre: m.
        sample_mean: m_S.
        singular_values: of A, those above rounding.
        basis: its right singular vectors.
    """

    classes: Int[np.ndarray, "K"]
    counts: Int[np.ndarray, "K"]
    rows: Float[np.ndarray, "K d"]
    norms: Float[np.ndarray, "K"]
    noise: float
    centre: Float[np.ndarray, "d"]
    sample_mean: Float[np.ndarray, "d"]
    singular_values: Float[np.ndarray, "r"]
    basis: Float[np.ndarray, "d r"]

    @classmethod
    def consume(cls, moments: ClassMoments, origin: Float[np.ndarray, "d"], centre: str) -> "CentredMeans":
        """From moments about ``origin`` that nobody needs afterwards: centring overwrites their means."""
        counts, rows = host(moments.counts), host(moments.means)
        classes = np.flatnonzero(counts)
        if len(classes) < len(counts):
            counts, rows = counts[classes], rows[classes]
        scale = float(row_norms(rows).max())
        sample_mean = counts @ rows / counts.sum()
        m = rows.mean(axis=0) if centre == "classes" else sample_mean
        rows -= m
        singular_values, basis = singular_system(rows, scale)
        noise = rounding(len(rows), scale)
        rows = cleared(rows, noise if singular_values.size else np.inf)
        norms = row_norms(rows)
        return cls(classes, counts, rows, norms, noise, m + origin, sample_mean + origin, singular_values, basis)

    @property
    def dim(self) -> int:
        """d."""
        return int(self.rows.shape[1])

    @property
    def rank(self) -> int:
        """Numerical rank of A; 0 when all means are equal."""
        return int(self.singular_values.size)

    def squared_norm(self, scatter: Float[np.ndarray, "K"]) -> float:
        """|H|_F^2 of the samples: their scatter s_k, and n_k |m + a_k|^2."""
        squares = self.norms**2 + 2 * (self.rows @ self.centre) + self.centre @ self.centre
        return float(scatter.sum() + self.counts @ squares)
