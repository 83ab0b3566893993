"""How a network is trained: the settings of stochastic gradient descent, its schedule, its loss and its arithmetic.

One epoch takes the N samples in an order of its own, cut into B = ceil(N / batch) batches of nearly equal size, so that
no small last one has a noise of its own. There is no augmentation: collapse is about the features of fixed samples.

    v <- momentum v + grad L + weight_decay theta,    theta <- theta - r(epoch) v

r(epoch) is constant, or falls from ``learning_rate`` to zero along half a cosine, or is cut to a tenth at one third
and at two thirds of the epochs (as Papyan, Han and Donoho 2020 do).
"""

from dataclasses import dataclass, fields
from math import ceil, cos, isfinite, pi
from typing import Any

__all__ = ["Plan"]

CHOICES = {
    "schedule": ("constant", "cosine", "step"),
    "loss": ("cross-entropy", "mse"),
    "precision": ("float32", "tf32", "bfloat16", "float64"),
    "device": ("auto", "cpu", "cuda"),
}
LONGEST = 10**9
"""Epochs or samples a batch; more is a mistake."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One way to train.

    Attributes:
        epochs: walks over the training set.
        batch: samples a step, over all ranks.
        learning_rate: r at the start.
        momentum: 0 <= momentum < 1.
        weight_decay: of all parameters; the paper has none.
        schedule: constant, cosine or step.
        loss: cross-entropy, or mse: (logits - one-hot)^2, mean over classes and samples.
        label_smoothing: 0 <= a < 1, of cross-entropy: 1 - a + a/K for the label, a/K for the others.
        precision: of training; measuring is in float32 (float64 for float64). tf32 and bfloat16 (autocast) are
            faster on a GPU, float32 does not take tf32 silently.
        compile: whether torch.compile makes the network's code; a single GPU then replays whole steps as CUDA graphs.
        channels_last: memory format of images and convolutions, faster on most processors.
        deterministic: whether to insist on algorithms that give the same bits every time.
        device: cpu, cuda, or auto: cuda where there is one.

    Raises:
        ValueError: for what cannot be.
    """

    epochs: int = 600
    batch: int = 128
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "constant"
    loss: str = "cross-entropy"
    label_smoothing: float = 0.0
    precision: str = "float32"
    compile: bool = False
    channels_last: bool = True
    deterministic: bool = True
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"need {name} to be one of {', '.join(known)}, got {value!r}")
        for name in ("epochs", "batch"):
            if not 1 <= getattr(self, name) <= LONGEST:
                raise ValueError(f"need 1 <= {name} <= {LONGEST:,}, got {name}={getattr(self, name)}")
        if not (self.learning_rate > 0 and isfinite(self.learning_rate)):
            raise ValueError(f"need a finite learning_rate > 0, got learning_rate={self.learning_rate}")
        if not (self.weight_decay >= 0 and isfinite(self.weight_decay)):
            raise ValueError(f"need a finite weight_decay >= 0, got weight_decay={self.weight_decay}")
        for name in ("momentum", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"need 0 <= {name} < 1, got {name}={getattr(self, name)}")
        if self.loss != "cross-entropy" and self.label_smoothing:
            raise ValueError(f"need the cross-entropy loss for label smoothing, got {self.loss}")

    def rate(self, epoch: int) -> float:
        """r in epoch 1 .. epochs."""
        done = (epoch - 1) / self.epochs
        if self.schedule == "cosine":
            return self.learning_rate * (1 + cos(pi * done)) / 2
        return self.learning_rate * (0.1 ** int(3 * done) if self.schedule == "step" else 1)

    def batches(self, samples: int) -> int:
        """B, the number of batches an epoch of so many samples has."""
        return ceil(samples / self.batch)

    def settings(self) -> dict[str, Any]:
        """Name -> value."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __str__(self) -> str:
        parts = [f"SGD {self.learning_rate:g}", f"batch {self.batch}"]
        parts += [f"{self.schedule} schedule"] if self.schedule != "constant" else []
        parts += [f"weight decay {self.weight_decay:g}"] if self.weight_decay else []
        parts += [self.loss] if self.loss != "cross-entropy" else []
        parts += [f"label smoothing {self.label_smoothing:g}"] if self.label_smoothing else []
        parts += [f"momentum {self.momentum:g}"] if self.momentum != 0.9 else []
        parts += [self.precision] if self.precision != "float32" else []
        return ", ".join(parts)
