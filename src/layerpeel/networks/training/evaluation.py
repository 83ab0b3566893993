"""What a record says of a network: collapse on the whole training set, loss and accuracy there and on the test set.

The network is in eval mode, in the precision of its parameters (no autocast), and walks each set once; a training set
whose features do not fit in 1 GiB a rank is walked anew for every use of them. These features give the metrics
(``layerpeel.collapse.measure``), the class means (``ClassMoments``), and through the head, in float64, the logits that
loss and accuracy are made of.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from layerpeel.collapse import METRICS, ClassMoments, Convention, MomentStream, measure
from layerpeel.collapse.assembly import BeyondFloat64
from layerpeel.networks.measuring.feature_batches import FeatureBatches
from layerpeel.networks.training.criterion import log_losses
from layerpeel.networks.training.plan import Plan
from layerpeel.networks.training.ranks import Ranks
from layerpeel.networks.training.resident import Resident
from layerpeel.networks.training.trainee import NotFinite

__all__ = ["FIELDS", "Evaluation", "evaluate"]

FIELDS = (
    *(line.field for line in METRICS),
    "loss",
    "log_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
)
"""The fields of a record."""

Batches = Iterable[tuple[Tensor, Tensor]]
"""(features (B, d), labels (B,)), to be walked again and again."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A record: its fields, and the head W [K, d], b [K] and class means [K, d] that belong to it."""

    fields: dict[str, float]
    classifier: Float64[np.ndarray, "K d"]
    bias: Float64[np.ndarray, "K"] | None
    means: Float64[np.ndarray, "K d"]


@dataclass(frozen=True)
class Score:
    """Sums over samples: how many, log of the sum of the losses, right answers."""

    count: int = 0
    log_loss_sum: float = -math.inf
    correct: int = 0

    def __add__(self, other: "Score") -> "Score":
        with np.errstate(invalid="ignore"):  # what is not finite is for the caller to say
            log_loss_sum = float(np.logaddexp(self.log_loss_sum, other.log_loss_sum))
        return Score(self.count + other.count, log_loss_sum, self.correct + other.correct)

    @property
    def log_loss(self) -> float:
        """log of the mean loss."""
        return self.log_loss_sum - math.log(self.count)

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.correct / self.count


def evaluate(
    model: nn.Module, train: Resident, test: Resident, plan: Plan, ranks: Ranks, *, preset: Convention
) -> Evaluation:
    """The record of ``model``, the same in every rank.

    Raises:
        NotFinite: for features or a training loss that are not finite, or features with powers that are not.
    """
    walk, test_walk = FeatureBatches(model, train.share(ranks)), FeatureBatches(model, test.share(ranks))
    W, b = walk.classifier, walk.bias
    batches = ranks.pool.checked(walk.kept)
    try:
        report = measure(batches, classifier=W, bias=b, preset=preset, allow_nonfinite="drop", pool=ranks.pool)
    except BeyondFloat64 as error:
        raise NotFinite("the powers of the features are beyond float64") from error
    if report.dropped:
        raise NotFinite(f"the features of {report.dropped:,} training samples have nan or inf")
    of_train = _score(batches, W, b, plan, ranks)
    if math.isnan(of_train.log_loss):
        raise NotFinite("the loss of the training set is nan")
    return Evaluation(
        fields=report.asdict() | _fields(of_train, _score(test_walk, W, b, plan, ranks)),
        classifier=W.double().cpu().numpy(),
        bias=None if b is None else b.double().cpu().numpy(),
        means=_class_means(batches, W, ranks),
    )


def _score(batches: Batches, W: Tensor, b: Tensor | None, plan: Plan, ranks: Ranks) -> Score:
    """The score of the head W, b on the batches of all ranks."""
    weight, bias = W.double(), 0.0 if b is None else b.double()

    def part() -> Score:
        logits = ((features.double() @ weight.T + bias, labels) for features, labels in batches)
        return sum((_score_of_batch(z, y, plan) for z, y in logits), Score())

    return sum(ranks.pool(part), Score())


def _score_of_batch(logits: Float64[Tensor, "B K"], labels: Int64[Tensor, "B"], plan: Plan) -> Score:
    losses = log_losses(logits, labels, kind=plan.loss, label_smoothing=plan.label_smoothing)
    correct = int((logits.argmax(dim=1) == labels).sum())
    return Score(len(labels), float(losses.logsumexp(0)), correct)


def _class_means(batches: Batches, W: Float[Tensor, "K d"], ranks: Ranks) -> Float64[np.ndarray, "K d"]:
    """Those of the batches of all ranks."""

    def part() -> ClassMoments:
        stream = MomentStream(ClassMoments.empty(*W.shape, second="none", like=W))
        for features, labels in batches:
            stream.update(features, labels)
        return stream.release().on_host()

    return np.asarray(reduce(ClassMoments.merge, ranks.pool(part)).means)


def _fields(train: Score, test: Score) -> dict[str, float]:
    return {
        "loss": math.exp(train.log_loss),
        "log_loss": train.log_loss,
        "train_accuracy": train.accuracy,
        "test_loss": math.exp(test.log_loss),
        "test_accuracy": test.accuracy,
    }
