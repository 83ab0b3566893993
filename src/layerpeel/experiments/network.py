"""Figure 3 of Ji et al. 2022: a real network trained past zero error without weight decay, its collapse on record."""

from dataclasses import dataclass, fields
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from layerpeel.experiments.experiment import Experiment, Finding
from layerpeel.experiments.seeds import seed_range
from layerpeel.networks.training.plan import Plan
from layerpeel.records.provenance import provenance
from layerpeel.wording import counted

if TYPE_CHECKING:
    import xarray

    from layerpeel.networks import ImageSet
    from layerpeel.networks.training.train import Trained

__all__ = ["Network"]

WIDEST = 16
"""Of the width: layers of 8,192 channels; what is meant to be wider is a mistake."""
LARGEST_MODEL = 50_000_000
"""Bytes of weights that are kept beside the record."""

SHOWN = (
    "loss",
    "train_accuracy",
    "test_accuracy",
    "margin",
    "within_class_variation",
    "nc1",
    "mean_norm_variation",
    "classifier_norm_variation",
    "mean_angle_gap",
    "classifier_angle_gap",
    "duality_gap",
)
"""The fields of the report, in its order."""


@dataclass(frozen=True)
class Network(Experiment):
    """Training of an image classifier, on into the terminal phase; by default the run of the paper's Figure 3.

    The paper states neither learning rate nor batch size: those are ours.

    Attributes:
        model: vgg11, vgg13, vgg16, each also with -bn (batch norm), resnet18 or mlp.
        width: factor of all channels.
        fixed_etf: whether the head is a fixed simplex ETF, which is not trained.
        data: fashion-mnist, digits, mnist-format (any four files of that format in data_dir), or auto: fashion-mnist
            where it is found, else digits.
        data_dir: a folder to look in before $LAYERPEEL_DATA and the user's cache.
        subset: training images, equally many of each class; 0 for all.
        test_subset: test images; 0 for all.
        imbalance: R, images of a majority class for each of a minority class.
        minority: number of minority classes, the last ones; 0 for half of all.
        epochs: walks over the training set.
        batch: samples a step.
        learning_rate: of stochastic gradient descent.
        momentum: of it.
        weight_decay: of all parameters; the paper has none.
        schedule: constant, cosine, or step (a tenth at one third and at two thirds).
        loss: cross-entropy or mse (one-hot labels, mean over classes and samples).
        label_smoothing: of cross-entropy.
        seeds: number of seeds, trained one after another.
        first_seed: the first of them.
        records: number of records, even in log log epoch.
        precision: float32, tf32, bfloat16 or float64, of training; records are float32 (float64 for float64).
        compile: whether torch.compile makes the code of training.
        channels_last: memory format of the images.
        deterministic: whether to insist on the same bits every time.
        device: cpu, cuda, or auto.
        preset: the convention of the metrics, see ``layerpeel conventions``.
    """

    name: ClassVar[str] = "network"
    parallel: ClassVar[bool] = True

    model: str = "vgg13"
    width: float = 1.0
    fixed_etf: bool = False
    data: str = "auto"
    data_dir: str = ""
    subset: int = 0
    test_subset: int = 0
    imbalance: float = 1.0
    minority: int = 0
    epochs: int = Plan.epochs
    batch: int = Plan.batch
    learning_rate: float = Plan.learning_rate
    momentum: float = Plan.momentum
    weight_decay: float = Plan.weight_decay
    schedule: str = Plan.schedule
    loss: str = Plan.loss
    label_smoothing: float = Plan.label_smoothing
    seeds: int = 1
    first_seed: int = 0
    records: int = 40
    precision: str = Plan.precision
    compile: bool = Plan.compile
    channels_last: bool = Plan.channels_last
    deterministic: bool = Plan.deterministic
    device: str = Plan.device
    preset: str = "ji2022"

    def run(self, checkpoint: Path, *, progress: bool) -> Finding:
        """Train a network of every seed; under torchrun all ranks together."""
        from layerpeel.collapse import preset
        from layerpeel.networks.models.build import build_model
        from layerpeel.networks.training.train import train

        plan, convention, seeds = self._plan(), preset(self.preset), seed_range(self.first_seed, self.seeds)
        if not 0 < self.width <= WIDEST:
            raise ValueError(f"need 0 < width <= {WIDEST}, got width={self.width}")
        images = self._images()
        build = partial(
            build_model,
            self.model,
            num_classes=images.num_classes,
            image_size=_side(images),
            width=self.width,
            fixed_etf=self.fixed_etf,
        )
        title = f"{self._network()} on {_amount(images)}, {plan}"
        trained = train(
            images,
            build,
            plan,
            seeds=seeds,
            record=self.records,
            preset=convention,
            title=title,
            checkpoint=checkpoint,
            progress=progress,
        )
        facts = _facts(trained, images)
        return Finding(
            metrics=trained.metrics,
            arrays=trained.head,
            summary={"seeds": seeds, **facts},
            text=_describe(trained, title, facts),
            files=_weights(trained),
        )

    def _plan(self) -> Plan:
        return Plan(**{field.name: getattr(self, field.name) for field in fields(Plan)})

    def _images(self) -> "ImageSet":
        from layerpeel.networks import images

        found = images(None if self.data == "auto" else self.data, data_dir=self.data_dir or None)
        if min(self.subset, self.test_subset, self.minority) < 0:
            sizes = f"{self.subset}, {self.test_subset} and {self.minority}"
            raise ValueError(f"need subset, test_subset and minority >= 0, got {sizes}")
        chosen = found.subset(self.subset, balanced=True) if self.subset else found
        chosen = chosen.test_subset(self.test_subset) if self.test_subset else chosen
        return chosen.imbalanced(self.imbalance, minority=self.minority or None) if self.imbalance != 1 else chosen

    def _network(self) -> str:
        from layerpeel.networks.models.build import architecture

        fraction = Fraction(self.width).limit_denominator(64)
        parts = [architecture(self.model).title]
        parts += [f"x {fraction if fraction == self.width else self.width}"] if self.width != 1 else []
        parts += ["with a fixed ETF head"] if self.fixed_etf else []
        return " ".join(parts)


def _side(images: "ImageSet") -> int:
    height, width = images.train_images.shape[1:]
    if height != width:
        raise ValueError(f"need square images, got {height} x {width} pixels")
    return int(height)


def _amount(images: "ImageSet") -> str:
    import numpy as np

    sizes = np.unique(np.bincount(images.train_labels))
    skewed = f" ({sizes[0]:,} to {sizes[-1]:,} a class)" if sizes[-1] > 2 * sizes[0] else ""
    return f"{len(images.train_labels):,} images of {images.name}{skewed}"


def _facts(trained: "Trained", images: "ImageSet") -> dict[str, Any]:
    """What the summary of the record says besides the software."""
    import torch

    on_gpu = trained.ranks.device.type == "cuda"
    last = {str(name): float(value[:, -1].median("seed")) for name, value in trained.metrics.items()}
    return {
        "outcome": {"name": trained.outcome.name, "sentence": trained.sentence},
        "wall_seconds": round(trained.seconds, 3),
        "epochs_per_second": _ratio(trained.epochs, trained.seconds),
        "measuring_share": _ratio(trained.measuring_seconds, trained.seconds),
        "device": torch.cuda.get_device_name() if on_gpu else str(provenance()["processor"]),
        "torch_threads": torch.get_num_threads(),
        "ranks": trained.ranks.size,
        "source": images.source,
        "zero_error_epoch": _zero_error(trained.metrics),
        "last_values": last,
    }


def _ratio(number: float, seconds: float) -> float | None:
    return round(number / seconds, 4) if seconds else None


def _zero_error(metrics: "xarray.Dataset") -> list[int | None]:
    """For each seed the first recorded epoch at which every training image is classified right."""
    right = metrics["train_accuracy"].values == 1
    steps = metrics["step"].values
    return [int(steps[row.argmax()]) if row.any() else None for row in right]


def _describe(trained: "Trained", title: str, facts: dict[str, Any]) -> str:
    ranks = f"{facts['ranks']} processes of " if facts["ranks"] > 1 else ""
    took = f"{counted(trained.epochs, 'epoch')} in {trained.seconds:.1f} s"
    if trained.seconds:
        took += f", {facts['epochs_per_second']:.3g} a second, {facts['measuring_share']:.1%} of it measuring"
    first = ", ".join("none so far" if epoch is None else str(epoch) for epoch in facts["zero_error_epoch"])
    return "\n".join(
        [
            title,
            f"{facts['source']}",
            f"{trained.sentence} {took} on {facts['device']}, {ranks}{counted(facts['torch_threads'], 'thread')}.",
            f"first recorded epoch without a training error: {first}",
            "",
            _table(trained.metrics),
        ]
    )


def _table(metrics: "xarray.Dataset") -> str:
    """The shown fields at the first record, at zero training error and at the last, medians over the seeds."""
    reached = [epoch for epoch in _zero_error(metrics) if epoch is not None]
    steps = metrics["step"].values.tolist()
    columns = sorted({0, len(steps) - 1} | ({steps.index(max(reached))} if reached else set()))
    medians = metrics.median("seed")
    lines = [f"{'epoch':26}" + "".join(f"{steps[i]:>12}" for i in columns)]
    lines += [f"{name:26}" + "".join(f"{float(medians[name][i]):12.4g}" for i in columns) for name in SHOWN]
    return "\n".join(lines)


def _weights(trained: "Trained") -> dict[str, bytes]:
    from safetensors.torch import save

    size = sum(value.nbytes for value in trained.weights.values())
    if size > LARGEST_MODEL or not trained.weights:
        return {}
    return {"model.safetensors": save({name: value.cpu().contiguous() for name, value in trained.weights.items()})}
