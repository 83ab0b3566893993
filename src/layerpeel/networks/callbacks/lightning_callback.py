"""CollapseCallback: collapse along a Lightning training, to its loggers and into a record.

    trainer = Trainer(max_epochs=100, callbacks=[CollapseCallback(folder="out/mine")])

Epoch 0 (before the first step) and log-log-spaced epochs are measured, on the samples of the trainer's training loader:
each once and in order, over all ranks. What is logged goes the way of every logged value, so that ``ModelCheckpoint``
and ``EarlyStopping`` can monitor it. The record also has the trainer's own metrics of the epoch.

Measured is ``module(x)`` in the dtype of its weights: in float32 under ``precision="bf16-mixed"``, whose rounding
would hide a deep collapse. Rows are part of the checkpoints, so that ``fit(ckpt_path=...)`` goes on with them.

For Lightning (``lightning`` or ``pytorch_lightning``); for the Trainer of Hugging Face there is
``CollapseTrainerCallback``. Options that ``measure_model`` has too mean the same here, ``ignore_index=None`` included.
It has no ``num_classes``, K being the rows of the head, and no ``allow_nonfinite``: where numbers are not finite the
row is nan, and the training goes on.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from layerpeel.collapse import CollapseReport, Convention
from layerpeel.networks.callbacks.every_sample import every_sample, is_stream
from layerpeel.networks.callbacks.monitor import METRIC_FIELDS, RESERVED, CollapseMonitor
from layerpeel.networks.measuring.process_pool import ProcessPool
from layerpeel.rings import require

__all__ = ["CollapseCallback"]

LOSS = ("loss", "train_loss", "train/loss", "train_loss_epoch", "train/loss_epoch")
"""Names under which modules log the training loss, which the record has as ``loss``."""
SHARDED = ("FSDP", "DeepSpeed", "ModelParallel")
"""Strategies under which no rank has the whole model."""


def _callback_class() -> Any:
    """Lightning's, from the package that the user's code has imported."""
    old = "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules
    return require("pytorch_lightning" if old else "lightning.pytorch").Callback


Callback: Any = _callback_class()


class CollapseCallback(Callback):
    """Measures collapse at log-log-spaced epochs.

    Args:
        dataloader: what is measured; by default the trainer's training loader.
        folder: of the record; None is ``collapse`` in the log folder of the trainer's logger, or memory
            (``callback.monitor.metrics``) where there is no such folder.
        record: how many measurements, or the epochs of them.
        head: the layer whose input the features are; the last linear one by default.
        preset: the convention of the metrics, by name or your own.
        forward: for batches that are neither (x, y) nor dicts with ``labels``, or a module without ``forward``: calls
            the network on the batch and returns the labels.
        ignore_index: label of the samples to leave out.
        prefix: of the names in the loggers.
        title: of the figures; by default the class of the module.
        config: what the record should know beside the module's hyperparameters.

    Raises:
        ValueError: at the start of the training, for a module without a linear layer, a loader that is empty or can
            be walked only once, a folder in use, or a model that is spread over the ranks.
    """

    def __init__(
        self,
        dataloader: Any = None,
        *,
        folder: Any = None,
        record: int | Sequence[int] = 40,
        head: Any = None,
        preset: str | Convention = "ji2022",
        forward: Callable[[Any], Any] | None = None,
        ignore_index: int | None = None,
        prefix: str = "collapse/",
        title: str = "",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.monitor: CollapseMonitor | None = None
        self._dataloader, self._folder, self._prefix, self._config = dataloader, folder, prefix, dict(config or {})
        self._options = {
            "record": record,
            "head": head,
            "preset": preset,
            "forward": forward,
            "ignore_index": ignore_index,
            "title": title,
        }
        self._rows: list[Any] = []

    @property
    def state_key(self) -> str:
        """Tells several of these callbacks in one trainer apart, by their prefix."""
        return self._generate_state_key(prefix=self._prefix)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Check everything, and measure epoch 0; nothing more under ``fast_dev_run``."""
        if any(word in type(trainer.strategy).__name__ for word in SHARDED):
            raise ValueError(f"need the whole model on every rank, got the strategy {type(trainer.strategy).__name__}")
        if self._options["forward"] is None and not _has_forward(pl_module):
            raise ValueError(f"need forward=, or a forward in {type(pl_module).__name__}, got neither")
        monitor = self._monitor(trainer, pl_module)
        self.monitor = None if trainer.fast_dev_run else monitor
        if self.monitor and trainer.global_step == 0 and self.monitor.due(0):
            self._log_now(trainer, self.monitor.measure(0))
        if self.monitor and self.monitor.rows:  # what ModelCheckpoint monitors is there from the first epoch on
            last = self.monitor.rows[-1][1]
            trainer.callback_metrics.update({self._prefix + name: torch.tensor(last[name]) for name in METRIC_FIELDS})

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Measure the epochs that are due; this hook comes after the validation."""
        if self.monitor is None:
            return
        report = self.monitor(trainer.current_epoch + 1, **_scalars(trainer, self._prefix))
        if report is not None:
            pl_module.log_dict(self._named(report), on_step=False, on_epoch=True, sync_dist=trainer.world_size > 1)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Measure where the training stopped, and close the record."""
        if self.monitor is None:
            return
        if self.monitor.last_step < trainer.current_epoch:
            self._log_now(trainer, self.monitor.measure(trainer.current_epoch, **_scalars(trainer, self._prefix)))
        self.monitor.finish()

    def state_dict(self) -> dict[str, Any]:
        """The rows, for the trainer's checkpoints."""
        return {"rows": self.monitor.rows if self.monitor else self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The rows of a checkpoint."""
        self._rows = list(state_dict["rows"])

    def _monitor(self, trainer: Any, pl_module: Any) -> CollapseMonitor:
        goes_on = trainer.global_step > 0
        rows = self._rows or (self.monitor.rows if self.monitor else [])
        self._rows = []
        monitor = CollapseMonitor(
            pl_module,
            self._batches(trainer, pl_module),
            steps=None if trainer.max_epochs in (None, -1) else trainer.max_epochs,
            folder=None if trainer.fast_dev_run else self._folder or _log_folder(trainer),
            config={"precision": str(trainer.precision), **pl_module.hparams, **self._config},
            resume=goes_on,
            pool=ProcessPool(),
            **self._options,
        )
        if goes_on and rows:
            monitor.restore([row for row in rows if row[0] <= trainer.current_epoch])
        return monitor

    def _batches(self, trainer: Any, pl_module: Any) -> Any:
        loader = self._dataloader
        if loader is None:
            loader = trainer.train_dataloader
            if not isinstance(loader, DataLoader) or is_stream(loader):
                kind = "a stream" if isinstance(loader, DataLoader) else type(loader).__name__
                raise ValueError(f"need dataloader= unless the training has one DataLoader with a length, got {kind}")
        if isinstance(loader, Iterator):
            raise ValueError(f"need a dataloader to walk again and again, got {type(loader).__name__}")
        partly = self._dataloader is None and (trainer.limit_train_batches != 1.0 or trainer.overfit_batches)
        limit = trainer.num_training_batches if partly else None
        return _AsTrained(every_sample(loader, ProcessPool()), trainer, pl_module, limit)

    def _named(self, report: CollapseReport) -> dict[str, float]:
        return {self._prefix + name: value for name, value in report.asdict().items()}

    def _log_now(self, trainer: Any, report: CollapseReport) -> None:
        """To the loggers, outside of an epoch."""
        for logger in trainer.loggers:
            logger.log_metrics(self._named(report), step=trainer.global_step)


class _AsTrained:
    """Batches as the trainer hands them to the module: in its precision, on its device."""

    def __init__(self, loader: Any, trainer: Any, pl_module: Any, limit: int | None) -> None:
        self.loader, self.trainer, self.pl_module, self.limit = loader, trainer, pl_module, limit

    def __iter__(self) -> Iterator[Any]:
        for batch in islice(self.loader, self.limit):
            converted = self.trainer.precision_plugin.convert_input(batch)
            yield self.pl_module.transfer_batch_to_device(converted, self.pl_module.device, 0)


def _has_forward(module: Any) -> bool:
    """Whether the module's own class, not a framework's, says what its forward is."""
    home = next(base for base in type(module).__mro__ if "forward" in vars(base))
    return home.__name__ not in ("Module", "LightningModule")


def _log_folder(trainer: Any) -> Path | None:
    """Where the first logger keeps the files of this very run; others (W&B, MLflow) name no such folder."""
    folder = getattr(trainer.logger, "log_dir", None)
    return None if folder is None else Path(folder) / "collapse"


def _scalars(trainer: Any, prefix: str) -> dict[str, float]:
    """The trainer's metrics of the epoch, under names that a record can have; the training loss as ``loss``."""
    logged = {name: float(value) for name, value in trainer.callback_metrics.items() if not name.startswith(prefix)}
    losses = [logged[name] for name in LOSS if name in logged]
    named = {name.replace("/", "_"): value for name, value in logged.items()}
    known = {name: value for name, value in named.items() if name not in RESERVED}
    return known | ({"loss": losses[0]} if losses and isfinite(losses[0]) else {})
