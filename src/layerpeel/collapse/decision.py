"""What the classifier decides (NC4, margin), sample by sample, against the nearest class mean.

Logits are z_ij = w_j.(h_i - c) + (w_j.c + b_j): the features are centred at c in float64 and then multiplied
in the dtype of large products; a constant over j drops out of every decision. All K rows of W take part,
also those of classes without samples. The bias counts as the weight of one more feature that is always one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from layerpeel.collapse.arrays import host, is_real, move, namespace, native
from layerpeel.separation import margin_bound

__all__ = [
    "Decisions",
    "Head",
    "Scorer",
    "bias_collapse",
    "check_head",
    "decide",
    "margin_ratio",
    "read_head",
]


@dataclass(frozen=True)
class Head:
    """Last layer: W (K, d) in its own dtype, b (K,) in float64 on the host, or None."""

    weight: Any
    bias: Float[np.ndarray, "K"] | None

    @property
    def num_classes(self) -> int:
        """K, the rows of W."""
        return int(self.weight.shape[0])

    @property
    def entries(self) -> int:
        """K d."""
        return int(self.weight.shape[0] * self.weight.shape[1])

    def scores_at(self, point: Float[np.ndarray, "d"]) -> Float[np.ndarray, "K"]:
        """W h + b at one h."""
        scores = host(self.weight) @ point
        return scores if self.bias is None else scores + self.bias

    def size(self) -> float:
        """The largest entry of W in absolute value."""
        return float(np.abs(host(self.weight)).max())

    def squared_norm(self) -> float:
        """|W|_F^2."""
        weight = host(self.weight)
        return float(np.vdot(weight, weight))


def read_head(classifier: Any, bias: Any) -> Head | None:
    """Checked classifier and bias.

    Raises:
        ValueError: for a bias alone, a wrong number of axes, or numbers that are not finite.
    """
    if classifier is None:
        if bias is not None:
            raise ValueError("need a classifier with the bias, got a bias alone")
        return None
    weight = native(classifier)
    if not is_real(weight):
        raise ValueError(f"need a classifier of real numbers, got dtype {weight.dtype}")
    if weight.ndim != 2:
        raise ValueError(f"need a classifier of shape (K, d), got {tuple(weight.shape)}")
    offset = None if bias is None else host(native(bias)).astype(np.float64)
    if offset is not None and offset.shape != (weight.shape[0],):
        raise ValueError(f"need a bias of shape (K,) = ({weight.shape[0]},), got {offset.shape}")
    finite = namespace(weight).isfinite(weight).all() and (offset is None or np.isfinite(offset).all())
    if not finite:
        raise ValueError("need a finite classifier and bias, got nan or inf in them")
    xp = namespace(weight)
    return Head(xp.astype(weight, xp.float64) if xp.isdtype(weight.dtype, "integral") else weight, offset)


def check_head(head: Head | None, num_classes: int | None, dim: int) -> None:
    """Refuse a classifier that is not (K, d).

    Raises:
        ValueError: then.
    """
    if head is not None and tuple(head.weight.shape) != (num_classes or head.num_classes, dim):
        K = "K" if num_classes is None else num_classes
        raise ValueError(f"need a classifier of shape (K, d) = ({K}, {dim}), got {tuple(head.weight.shape)}")


@dataclass(frozen=True)
class Scorer:
    """A head, ready for centred rows on one device."""

    weight: Any  # (d, K)
    offset: Any  # (K,)

    @classmethod
    def at(cls, head: Head, centre: Float[np.ndarray, "d"], like: Any, dtype: Any) -> "Scorer":
        """For features centred at ``centre``. A row common to all of W decides nothing and is left out first."""
        weight = host(head.weight)
        weight = weight - weight.mean(axis=0)
        offset = weight @ centre if head.bias is None else weight @ centre + head.bias
        return cls(move(weight, like, dtype).T, move(offset - offset.mean(), like, dtype))


@dataclass(frozen=True)
class Decisions:
    """Of some samples: q_i = z_y - max_{j != y} z_j, and the first class of the largest logit."""

    margins: Float[Any, "B"]
    predicted: Int[Any, "B"]


def decide(scorer: Scorer, centred: Float[Any, "B d"], labels: Int[Any, "B"]) -> Decisions:
    """Margins and predictions for rows that are centred where the scorer is."""
    xp = namespace(centred)
    logits = xp.astype(centred, scorer.weight.dtype) @ scorer.weight
    logits += scorer.offset
    rows = xp.arange(labels.shape[0], device=labels.device)
    own = logits[rows, labels]
    logits[rows, labels] = -xp.inf
    rival = xp.argmax(logits, axis=1)
    margins = xp.astype(own, xp.float64) - xp.astype(logits[rows, rival], xp.float64)
    stays = (margins > 0) | ((margins == 0) & (labels < rival))
    return Decisions(margins, xp.where(stays, labels, rival))


def margin_ratio(
    q_min: float, squared_norm: float, counts: Int[np.ndarray, "K"], *, bias: Float[np.ndarray, "K"] | None = None
) -> float:
    """Margin over the largest that the norms allow, 2 q_min |(I - J/K)Y|_*/rho^2, rho^2 = |W|_F^2 + |H|_F^2.

    At most one; for equal class sizes it is q_min 2(K-1)sqrt(n)/rho^2, and one iff collapsed, NC1-NC3, with centred
    W and H and |W| = |H|. Negative while a sample is misclassified. Invariant to the order of classes and to
    rotation; undefined at W = H = 0. For the bias see :func:`layerpeel.separation.margin_bound`. Seed paper, Def. 3.1,
    Lemma 3.1; Thrampoulidis et al. 2022 for unequal sizes.
    """
    bound = margin_bound(counts, squared_norm, squared_bias=None if bias is None else float(bias @ bias))
    return float(q_min / bound) if bound > 0 else float("nan")


def bias_collapse(head: Head, sample_mean: Float[np.ndarray, "d"]) -> float:
    """|W m_S + b|, with b = 0 where there is none.

    Zero when the bias cancels the mean feature; invariant to rotation; undefined without samples. Zhu et al. 2021.
    """
    return float(np.linalg.norm(head.scores_at(sample_mean)))
