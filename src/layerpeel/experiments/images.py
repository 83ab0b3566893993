"""Collapse on real images: in the pixels, where there is none, and in the last layer of a small trained network."""

import io
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from layerpeel.experiments.experiment import Experiment, Finding
from layerpeel.progress import progress_bar

if TYPE_CHECKING:
    import xarray

    from layerpeel.collapse import CollapseReport
    from layerpeel.networks import ImageSet, TrainedHead

__all__ = ["Images"]


@dataclass(frozen=True)
class Images(Experiment):
    """Pixels, and the penultimate features and head of a small network trained on them.

    Attributes:
        data: fashion-mnist, digits, or auto: the first of them that is found.
        data_dir: a folder to look in before $LAYERPEEL_DATA and the user's cache.
        samples: training images.
        epochs: training epochs, well past zero training error.
        seed: of the choice of images, the initial weights and the order.
        preset: the convention of the metrics, see ``layerpeel conventions``.
    """

    name: ClassVar[str] = "images"

    data: str = "auto"
    data_dir: str = ""
    samples: int = 5000
    epochs: int = 100
    seed: int = 0
    preset: str = "ji2022"

    def run(self, checkpoint: Path, *, progress: bool) -> Finding:
        """Measure the pixels, train (under a minute; not resumable), measure the features."""
        from layerpeel.collapse import preset
        from layerpeel.networks import fit_mlp, images

        convention = preset(self.preset)
        found = images(None if self.data == "auto" else self.data, data_dir=self.data_dir or None)
        chosen = found.subset(self.samples, seed=self.seed)
        began = time.perf_counter()
        with progress_bar(self.epochs, "epochs", shown=progress) as show:
            trained = fit_mlp(
                found,
                samples=self.samples,
                epochs=self.epochs,
                seed=self.seed,
                progress=lambda epoch, epochs: show(epoch),
            )
        seconds = time.perf_counter() - began
        reports = _reports(chosen, trained, convention.name)
        return Finding(
            metrics=_dataset(reports, found.name),
            arrays={"classifier": trained.classifier, "bias": trained.bias},
            summary={
                "seeds": [self.seed],
                "outcome": {"name": "COMPLETED", "sentence": trained.about},
                "wall_seconds": round(seconds, 3),
                "source": found.source,
                "train_accuracy": trained.train_accuracy,
                "test_accuracy": trained.test_accuracy,
            },
            text=_describe(found, trained, reports),
            files={"features.npz": _features_file(trained)},
        )


def _reports(images: "ImageSet", trained: "TrainedHead", preset: str) -> dict[str, "CollapseReport"]:
    from layerpeel.collapse import measure

    measure_head = partial(measure, classifier=trained.classifier, bias=trained.bias, preset=preset)
    return {
        "pixels": measure(images.train_pixels(), images.train_labels, preset=preset),
        "train features": measure_head(trained.train_features, trained.train_labels),
        "test features": measure_head(trained.test_features, trained.test_labels),
    }


def _dataset(reports: dict[str, "CollapseReport"], name: str) -> "xarray.Dataset":
    import xarray

    fields = next(iter(reports.values())).asdict()
    return xarray.Dataset(
        {field: ("source", [report.asdict()[field] for report in reports.values()]) for field in fields},
        coords={"source": list(reports)},
        attrs={"title": f"collapse on {name}"},
    )


def _describe(images: "ImageSet", trained: "TrainedHead", reports: dict[str, "CollapseReport"]) -> str:
    intro = f"{images.name}: {images.source}\n{trained.about}"
    return "\n\n".join([intro, *(f"{images.name}, {name}\n{report}" for name, report in reports.items())])


def _features_file(trained: "TrainedHead") -> bytes:
    """The training features and the head, as ``layerpeel measure`` reads them."""
    stream = io.BytesIO()
    np.savez(
        stream,
        features=trained.train_features,
        labels=trained.train_labels,
        weight=trained.classifier,
        bias=trained.bias,
    )
    return stream.getvalue()
