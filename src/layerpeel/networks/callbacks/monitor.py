"""CollapseMonitor: watch collapse in any training loop.

    monitor = CollapseMonitor(model, train_loader, steps=epochs, folder="out/mine")
    for epoch in range(1, epochs + 1):
        train(...)
        monitor(epoch, loss=loss, test_accuracy=accuracy)  # measures when it is due

The measurements are at steps evenly spaced in log log t, the time in which collapse is a power law, so that a long
training has few of them. Each is ``measure_model`` on all samples, in eval mode; the record in the folder is whole
after each, and ``layerpeel figure out/mine`` draws it.

The training is the same, bit for bit, with the monitor and without (:mod:`layerpeel.networks.callbacks.probe`).
"""

import operator
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from layerpeel.collapse import METRICS, CollapseReport, Convention
from layerpeel.collapse.pool import ALONE, Pool
from layerpeel.networks.callbacks.journal import Journal, Row
from layerpeel.networks.callbacks.probe import NONFINITE, Probe
from layerpeel.networks.callbacks.schedule import Schedule
from layerpeel.outcome import Outcome

if TYPE_CHECKING:
    import xarray

__all__ = ["METRIC_FIELDS", "RESERVED", "CollapseMonitor"]

METRIC_FIELDS = tuple(line.field for line in METRICS)
"""What every row has; the scalars of the loop come beside it."""
RESERVED = frozenset({*METRIC_FIELDS, "seed", "record", "step", "log_time", "loglog_time"})
"""Names of the record's own."""


class CollapseMonitor:
    """Measures a model on its batches when a step is due, and keeps the record.

    Args:
        model: any module with a linear layer at its end, wrapped (DDP, DataParallel, compiled) or not.
        batches: as of ``FeatureBatches``. A DataLoader says which samples there are: each is measured once, in order,
            whatever its sampler does.
        steps: how long the training is; None for an open end, spaced as for 10,000.
        folder: where the record is kept; None keeps it in memory (``monitor.metrics``).
        record: how many measurements, or the steps of them.
        unit: of the steps, "epoch" or "step", for figures.
        title: of the figures; by default the class of the model.
        config: what else the record should know (learning rate, seed, ...).
        resume: go on with the record in ``folder``; its rows from the first step on that is made again are dropped.
        head: the layer whose input the features are; the last linear one by default.
        preset: the convention of the metrics, by name or your own.
        forward: for batches that are neither (x, y) nor dicts with ``labels``: calls the model on the batch and
            returns the labels, as many as feature vectors.
        device: where the batches go; by default where the model is.
        ignore_index: label of the samples to leave out.
        pool: ``ProcessPool()`` where several processes train together; rank 0 writes.

    Raises:
        ValueError: before the training, for a model, batches, folder or options that cannot be: the first batch is
            measured to find out.
    """

    def __init__(
        self,
        model: Any,
        batches: Any,
        *,
        steps: int | None,
        folder: Any = None,
        record: int | Sequence[int] = 40,
        unit: str = "epoch",
        title: str = "",
        config: Mapping[str, Any] | None = None,
        resume: bool = False,
        head: Any = None,
        preset: str | Convention = "ji2022",
        forward: Callable[[Any], Any] | None = None,
        device: Any = None,
        ignore_index: int | None = None,
        pool: Pool = ALONE,
    ) -> None:
        self._schedule = Schedule(record, steps)
        taken = {"head": head, "forward": forward, "device": device, "ignore_index": ignore_index, "pool": pool}
        self._probe = Probe(model, batches, preset=preset, **taken)
        known = {"unit": unit, "steps": steps, "record": record, "training": config or None}
        path = Path(folder) if folder is not None and pool.rank == 0 else None
        self._journal = Journal(path, config=self._probe.names | known, title=title or self._probe.kind, unit=unit)
        pool.checked(lambda: self._journal.open(resume=resume))
        self._resuming = resume
        self._outcome = Outcome.INTERRUPTED
        self._report: CollapseReport | None = None
        self._began, self._measuring = time.perf_counter(), 0.0

    @property
    def metrics(self) -> "xarray.Dataset":
        """The rows so far, dims (seed, record), coords step, log_time, loglog_time.

        Raises:
            ValueError: before the first measurement.
        """
        return self._journal.metrics()

    @property
    def outcome(self) -> Outcome:
        """NONFINITE once a row is nan; else COMPLETED at the end of the training, INTERRUPTED before."""
        undefined = any(all(isnan(row.fields[name]) for name in METRIC_FIELDS) for row in self._journal.rows)
        return Outcome.NONFINITE if undefined else self._outcome

    @property
    def last_step(self) -> int:
        """The last step that was measured, -1 before the first."""
        return self._journal.last_step

    @property
    def rows(self) -> list[tuple[int, dict[str, float]]]:
        """(step, field -> value), in plain types that a checkpoint can hold."""
        return [(row.step, dict(row.fields)) for row in self._journal.rows]

    def restore(self, rows: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Go on from ``rows`` in place of those in the folder."""
        self._journal.restore([Row(step, dict(fields)) for step, fields in rows])
        self._resuming = True

    def due(self, step: int) -> bool:
        """Whether ``step`` is one of the steps to measure at."""
        return self._schedule.due(operator.index(step))

    def __call__(self, step: int, **scalars: Any) -> CollapseReport | None:
        """Measure if ``step`` is due, and keep the numbers ``scalars`` (loss=..., test_accuracy=...) beside it.

        Raises:
            ValueError: for a step that is not after the last measured one, a scalar that is no number or has a name
                of the record's own, or labels that do not fit the head.
        """
        if self._resuming:
            self._journal.drop_from(step)
            self._resuming = False
        return self.measure(step, **scalars) if self.due(step) else None

    def measure(self, step: int, **scalars: Any) -> CollapseReport:
        """Measure now, due or not."""
        if step <= self.last_step:
            raise ValueError(f"need steps that increase, got {step} after {self.last_step}")
        fields = _numbers(scalars)
        began = time.perf_counter()
        report = self._report = self._probe.report()
        self._measuring += time.perf_counter() - began
        if NONFINITE in report.notes and self.outcome is not Outcome.NONFINITE:
            warnings.warn(f"{NONFINITE} at {self._journal.unit} {step}: collapse is recorded as nan", stacklevel=3)
        self._journal.add(Row(int(step), {**report.asdict(), **fields}))
        if self._schedule.steps is not None and step >= self._schedule.steps:
            self._outcome = Outcome.COMPLETED
        self._keep()
        return report

    def amend(self, **scalars: Any) -> None:
        """Keep more numbers beside the last measurement.

        Raises:
            ValueError: before the first one, and for what is no number; the row is then as it was.
        """
        self._journal.amend(_numbers(scalars))
        self._keep()

    def finish(self) -> None:
        """Say that the training has ended well; not needed where the last of ``steps`` is reached."""
        self._outcome = Outcome.COMPLETED
        self._keep()

    def _keep(self) -> None:
        self._journal.keep(self._summary(), self._probe.arrays())

    def _summary(self) -> dict[str, Any]:
        before, rows = self._journal.summary, self._journal.rows
        wall = float(before.get("wall_seconds", 0)) + time.perf_counter() - self._began
        measuring = float(before.get("measuring_seconds", 0)) + self._measuring
        headline = f"{self._journal.title}: {len(rows)} measurements to {self._journal.unit} {self.last_step}"
        return {
            "seeds": [0],
            "outcome": {"name": self.outcome.name, "sentence": self.outcome.value},
            "wall_seconds": round(wall, 3),
            "measuring_seconds": round(measuring, 3),
            "measuring_share": round(measuring / wall, 4),
            "last_values": dict(rows[-1].fields) if rows else {},
            "notes": list(self._report.notes) if self._report else [],
            "text": f"{headline}\n{self._report}" if self._report else headline,
        }


def _numbers(scalars: Mapping[str, Any]) -> dict[str, float]:
    """The scalars as floats; with a ``loss`` its logarithm too."""
    fields = {name: _number(name, value) for name, value in scalars.items()}
    if "loss" in fields and "log_loss" not in fields:
        with np.errstate(divide="ignore", invalid="ignore"):
            fields["log_loss"] = float(np.log(fields["loss"]))
    return fields


def _number(name: str, value: Any) -> float:
    """One scalar: True and False are 1 and 0, text is no number even where it reads as one."""
    if name in RESERVED or "/" in name:
        raise ValueError(f"need another name than {name!r} for a scalar, got one of the record's own or with a slash")
    try:
        if isinstance(value, str | bytes | bytearray):
            raise TypeError
        return float(value.detach() if isinstance(value, torch.Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"need {name} to be a number, got {type(value).__name__}") from None
