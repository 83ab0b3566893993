"""Training a classifier past zero error, with its collapse on record: SGD from several seeds, one after another.

The record is made at epochs evenly spaced in log log epoch, before the first one too. All it depends on is the plan,
the images and the seed: a run that stops anywhere, by Ctrl-C, kill -9 or a full disk, goes on to the same bits from
its checkpoint (on the same number of ranks and threads, with ``deterministic``).

Under torchrun the ranks train one network (:mod:`layerpeel.networks.training.ranks`). What is promised there is the
same numbers up to rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from layerpeel.collapse import Convention
from layerpeel.collapse import preset as named_convention
from layerpeel.networks.data.image_set import ImageSet
from layerpeel.networks.training.checkpoint import TrainingState
from layerpeel.networks.training.course import Course
from layerpeel.networks.training.evaluation import FIELDS
from layerpeel.networks.training.plan import Plan
from layerpeel.networks.training.ranks import Ranks, joined
from layerpeel.networks.training.switches import switched
from layerpeel.outcome import Outcome
from layerpeel.progress import progress_bar
from layerpeel.sampling import dataset, log_times, record_steps

if TYPE_CHECKING:
    import xarray

__all__ = ["Trained", "train"]


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training run leaves behind.

    Attributes:
        metrics: the records, dims (seed, record), coords step (the epoch), log_time, loglog_time; nan after the end
            of a seed that ended early.
        outcome: how the run ended; with several seeds the worst of their ends.
        sentence: the same in words, with seed, epoch and what left the finite numbers.
        weights: state dict of the last seed's network after its last whole epoch.
        head: classifier, bias (if any) and class means of the last seed at its last record.
        epochs: trained by all seeds together.
        seconds: wall time spent, over all resumptions.
        measuring_seconds: of which for records.
        ranks: the processes that trained.
    """

    metrics: "xarray.Dataset"
    outcome: Outcome
    sentence: str
    weights: dict[str, Tensor]
    head: dict[str, np.ndarray]
    epochs: int
    seconds: float
    measuring_seconds: float
    ranks: Ranks


def train(
    images: ImageSet,
    build: Callable[[], nn.Module],
    plan: Plan,
    *,
    seeds: Sequence[int] = (0,),
    record: int | Sequence[int] = 40,
    preset: str | Convention = "ji2022",
    title: str = "",
    checkpoint: Path | None = None,
    progress: bool = False,
) -> Trained:
    """Train a network of ``build()`` for every seed, as ``plan`` says.

    Args:
        images: the training and the test set.
        build: makes the network; its initial weights come from torch's generator, seeded by the seed.
        plan: how to train.
        seeds: of the initial weights and the order of the samples.
        record: how many records, evenly spaced in log log epoch, or the epochs themselves; the last is always one.
        preset: the convention of the metrics, by name or your own.
        title: of the records, for figures.
        checkpoint: a file, written at every record, every 30 seconds and at the end; if it exists, the run goes on
            from it.
        progress: whether rank 0 shows a progress bar.

    Raises:
        ValueError: for no seeds, impossible records, an unknown preset, batches with less than one sample a rank,
            cuda without a GPU, or a checkpoint of another run.
        ConnectionError: when another rank is gone; the checkpoint holds what was computed.
    """
    points = record_steps(record, plan.epochs)
    convention = named_convention(preset)
    if not seeds:
        raise ValueError("need at least one seed, got none")
    with joined(plan.device) as ranks:
        _check_batches(images, plan, ranks)
        with switched(plan, ranks.device):
            course = Course(
                images,
                build,
                plan,
                ranks,
                seeds=tuple(seeds),
                points=points,
                preset=convention,
                checkpoint=checkpoint,
            )
            interrupted = _driven(course, progress=progress and ranks.leads)
    return _trained(course.held, ranks, points, seeds, title, interrupted=interrupted)


def _driven(course: Course, *, progress: bool) -> bool:
    """Whether the run was interrupted."""
    epochs = course.plan.epochs * len(course.seeds)
    try:
        with progress_bar(epochs, "epochs", shown=progress) as show:
            course.drive(show)
    except KeyboardInterrupt:
        if not any(course.held.rows):
            raise  # nothing to show yet
        return True
    return False


def _trained(
    state: TrainingState,
    ranks: Ranks,
    points: np.ndarray,
    seeds: Sequence[int],
    title: str,
    *,
    interrupted: bool,
) -> Trained:
    early = " ".join(end for end in state.ends if end)
    outcome = Outcome.INTERRUPTED if interrupted else Outcome.NONFINITE if early else Outcome.COMPLETED
    return Trained(
        metrics=_dataset(state, points, seeds, title),
        outcome=outcome,
        sentence=f"{early} {outcome}".strip(),
        weights=state.snapshot.weights,
        head={name: value.numpy() for name, value in state.head.items()},
        epochs=state.epochs,
        seconds=state.seconds,
        measuring_seconds=state.measuring_seconds,
        ranks=ranks,
    )


def _dataset(state: TrainingState, points: np.ndarray, seeds: Sequence[int], title: str) -> "xarray.Dataset":
    """The rows of all begun seeds, as long as the longest."""
    steps = points[: max(1, *map(len, state.rows))]
    fields = {name: np.full((len(state.rows), len(steps)), np.nan) for name in FIELDS}
    for number, rows in enumerate(state.rows):
        for i, row in enumerate(rows):
            for name in FIELDS:
                fields[name][number, i] = row[name]
    metrics = dataset(fields, log_times(steps, 1.0), steps=steps, attrs={"title": title, "time": "epoch"})
    return metrics.assign_coords(seed=list(seeds[: len(state.rows)]))


def _check_batches(images: ImageSet, plan: Plan, ranks: Ranks) -> None:
    samples = len(images.train_labels)
    if not samples:
        raise ValueError("need training images, got none")
    least = samples // plan.batches(samples)
    if least < ranks.size:
        raise ValueError(f"need batches of at least one sample a rank, got {ranks.size} ranks for batches of {least}")
