"""What a record says of a network: collapse on the whole training set, loss and accuracy there and on the test set.

The network is in eval mode, in the precision of its parameters (no autocast), and walks each set once. The features
of that walk give the metrics (``layerpeel.collapse.measure``), and through the head, in float64, the logits that loss
and accuracy are made of.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from layerpeel.collapse import METRICS, measure
from layerpeel.networks.criterion import log_losses
from layerpeel.networks.plan import Plan
from layerpeel.networks.ranks import Ranks
from layerpeel.networks.resident import Resident
from layerpeel.networks.trainee import NotFinite
from layerpeel.networks.walk import FeatureBatches

__all__ = ["FIELDS", "Evaluation", "evaluate"]

FIELDS = (
    *(line.field for line in METRICS),
    *("loss", "log_loss", "train_accuracy", "test_loss", "test_accuracy"),
)
"""The fields of a record."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A record: its fields, and the head W [K, d], b [K] and class means [K, d] that belong to it."""

    fields: dict[str, float]
    classifier: Float64[np.ndarray, "K d"]
    bias: Float64[np.ndarray, "K"] | None
    means: Float64[np.ndarray, "K d"]


@dataclass(frozen=True)
class Score:
    """Sums over samples: how many, log of the sum of the losses, right answers, and features by class."""

    count: int = 0
    log_loss_sum: float = -math.inf
    correct: int = 0
    sums: Any = 0.0
    """(K, d), of the features."""
    sizes: Any = 0.0
    """(K,), samples of each class."""

    def __add__(self, other: "Score") -> "Score":
        with np.errstate(invalid="ignore"):  # what is not finite is for the caller to say
            return Score(
                self.count + other.count,
                float(np.logaddexp(self.log_loss_sum, other.log_loss_sum)),
                self.correct + other.correct,
                self.sums + other.sums,
                self.sizes + other.sizes,
            )

    @property
    def log_loss(self) -> float:
        """log of the mean loss."""
        return self.log_loss_sum - math.log(self.count)

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.correct / self.count


@dataclass
class Scored:
    """Batches (features, labels) as they come, scored in their first walk."""

    batches: Iterable[tuple[Tensor, Tensor]]
    walk: FeatureBatches
    plan: Plan
    score: Score | None = None
    _parts: list[Score] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        total = Score()
        for features, labels in self.batches:
            if self.score is None:
                total += self._scored(features, labels)
            yield features, labels
        self.score = self.score or total

    def _scored(self, features: Float[Tensor, "B d"], labels: Int64[Tensor, "B"]) -> Score:
        h, W, b = features.double(), self.walk.classifier.double(), self.walk.bias
        logits = h @ W.T + (0.0 if b is None else b.double())
        losses = log_losses(logits, labels, kind=self.plan.loss, label_smoothing=self.plan.label_smoothing)
        return Score(
            count=len(labels),
            log_loss_sum=float(losses.logsumexp(0)),
            correct=int((logits.argmax(dim=1) == labels).sum()),
            sums=h.new_zeros(W.shape).index_add_(0, labels, h).cpu().numpy(),
            sizes=labels.bincount(minlength=len(W)).cpu().numpy(),
        )


def evaluate(model: nn.Module, train: Resident, test: Resident, plan: Plan, ranks: Ranks, *, preset: str) -> Evaluation:
    """The record of ``model``, the same in every rank.

    Raises:
        NotFinite: for features or a training loss that are not finite.
    """
    walk = FeatureBatches(model, train.share(ranks))
    scored = Scored(walk.kept(), walk, plan)
    report = measure(
        scored,
        classifier=walk.classifier,
        bias=walk.bias,
        preset=preset,
        allow_nonfinite="drop",
        pool=ranks.pool,
    )
    of_train, of_test = _merged(scored, ranks), _score(model, test.share(ranks), plan, ranks)
    if report.dropped:
        raise NotFinite(f"the features of {report.dropped:,} training samples have nan or inf")
    if math.isnan(of_train.log_loss):
        raise NotFinite("the loss of the training set is nan")
    bias = walk.bias
    return Evaluation(
        fields=report.asdict() | _fields(of_train, of_test),
        classifier=walk.classifier.double().cpu().numpy(),
        bias=None if bias is None else bias.double().cpu().numpy(),
        means=of_train.sums / np.maximum(of_train.sizes, 1)[:, None],
    )


def _fields(train: Score, test: Score) -> dict[str, float]:
    return {
        "loss": math.exp(train.log_loss),
        "log_loss": train.log_loss,
        "train_accuracy": train.accuracy,
        "test_loss": math.exp(test.log_loss),
        "test_accuracy": test.accuracy,
    }


def _score(model: nn.Module, images: Resident, plan: Plan, ranks: Ranks) -> Score:
    walk = FeatureBatches(model, images)
    scored = Scored(walk, walk, plan)
    for _ in scored:
        pass
    return _merged(scored, ranks)


def _merged(scored: Scored, ranks: Ranks) -> Score:
    return sum(ranks.pool(lambda: scored.score), Score())
