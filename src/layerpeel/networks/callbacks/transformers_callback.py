"""CollapseTrainerCallback: collapse along a training by the Trainer of Hugging Face, into a record and its logs.

    trainer = Trainer(model, arguments, train_dataset=..., data_collator=...)
    trainer.add_callback(CollapseTrainerCallback(folder="out/mine", log=trainer.log))

The Trainer hands no callback its logging, so the values go through ``log``: to TensorBoard, W&B, MLflow, ... and into
``trainer.state.log_history``; without ``log`` into the latter alone.

Step 0 and log-log-spaced epochs (or optimiser steps) are measured, on the samples of the training set: each once and in
order, over all ranks. Which label belongs to which feature is known for sequence and token classification and for
causal language models, whose token t is the label of position t - 1; others (sequence to sequence) need ``forward``.

Under ``bf16=True`` or ``fp16=True`` accelerate makes the model compute in that precision always: within-class
variation then stops falling near the rounding of bfloat16, 2^-9.

For Hugging Face transformers; for Lightning there is ``CollapseCallback``. Options that ``measure_model`` has too mean
the same here, but for ``ignore_index``, which is -100 as in the losses of transformers. Unlike in Lightning, whose
loggers have a folder, ``folder=None`` is memory. It has no ``num_classes``, K being the rows of the head, and no
``allow_nonfinite``: where numbers are not finite the row is nan, and the training goes on.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from layerpeel.collapse import CollapseReport, Convention
from layerpeel.networks.callbacks.every_sample import is_stream
from layerpeel.networks.callbacks.monitor import RESERVED, CollapseMonitor
from layerpeel.networks.measuring.head import unwrapped
from layerpeel.networks.measuring.process_pool import ProcessPool
from layerpeel.rings import require

__all__ = ["CollapseTrainerCallback"]

CAUSAL = ("ForCausalLM", "LMHead")
"""In the names of models that predict the next token."""
NO_METRICS = ("epoch", "runtime", "per_second", "flos", "train_loss", "tokens_seen")
"""Ends of the names of what the Trainer logs about itself."""

TrainerCallback: Any = require("transformers").TrainerCallback


class CollapseTrainerCallback(TrainerCallback):
    """Measures collapse at log-log-spaced epochs or steps.

    Args:
        dataloader: what is measured; by default the Trainer's training loader.
        folder: of the record; None keeps it in memory (``callback.monitor.metrics``). A training resumed from a
            checkpoint goes on with the record in it.
        log: ``trainer.log``, which takes a dict of values.
        record: how many measurements, or the epochs (steps) of them.
        unit: "epoch" or "step".
        head: the layer whose input the features are; the last linear one by default.
        preset: the convention of the metrics, by name or your own.
        forward: calls the model on a batch and returns the labels, as many as feature vectors.
        ignore_index: label of the samples (or tokens) to leave out.
        prefix: of the names in the logs.
        title: of the figures; by default the class of the model.
        config: what else the record should know.

    Raises:
        ValueError: for another unit; at the start of the training for a model without a linear layer, an empty
            training set, a folder in use.
    """

    def __init__(
        self,
        dataloader: Any = None,
        *,
        folder: Any = None,
        log: Callable[[dict[str, float]], None] | None = None,
        record: int | Sequence[int] = 40,
        unit: str = "epoch",
        head: Any = None,
        preset: str | Convention = "ji2022",
        forward: Callable[[Any], Any] | None = None,
        ignore_index: Any = -100,
        prefix: str = "collapse/",
        title: str = "",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        if unit not in ("epoch", "step"):
            raise ValueError(f"need unit 'epoch' or 'step', got {unit!r}")
        if not isinstance(ignore_index, int):  # tokens without a label always have one
            raise ValueError(f"need ignore_index to be an integer, got {ignore_index!r}")
        self.monitor: CollapseMonitor | None = None
        self._dataloader, self._log, self._prefix, self._unit = dataloader, log, prefix, unit
        self._forward, self._config = forward, dict(config or {})
        self._options = {
            "folder": folder,
            "record": record,
            "unit": unit,
            "head": head,
            "preset": preset,
            "ignore_index": ignore_index,
            "title": title,
        }
        self._measured = -1  # the optimiser step of the last measurement

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check everything, and measure the model before its first step."""
        model = kwargs["model"]
        loader = kwargs["train_dataloader"] if self._dataloader is None else self._dataloader
        if self._dataloader is None and is_stream(loader):
            raise ValueError("need dataloader= for a training set without a length, got none")
        self.monitor = CollapseMonitor(
            model,
            loader,
            steps=state.max_steps if self._unit == "step" else math.ceil(state.num_train_epochs),
            config={"learning_rate": args.learning_rate, "seed": args.seed, "bf16": args.bf16, **self._config},
            forward=self._forward or _Labelled(model, self._options["ignore_index"]),
            pool=ProcessPool(),
            resume=state.global_step > 0,
            **self._options,
        )
        if state.global_step == 0 and self.monitor.due(0):
            self._publish(self.monitor.measure(0), state, control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure the epochs that are due."""
        if self._unit == "epoch" and float(state.epoch).is_integer():
            self._at(int(state.epoch), state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure the steps that are due."""
        if self._unit == "step":
            self._at(state.global_step, state, control)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Keep what the Trainer logs at a measured step, which it does after the measurement."""
        if self.monitor is not None and state.global_step == self._measured and logs:
            self.monitor.amend(**_scalars(logs, self._prefix))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure where the training stopped, and close the record."""
        assert self.monitor is not None
        last = state.global_step if self._unit == "step" else math.ceil(state.epoch or 0)
        if self.monitor.last_step < last:
            self._publish(self.monitor.measure(last, **self._latest(state)), state, control)
        self.monitor.finish()

    def _at(self, step: int, state: Any, control: Any) -> None:
        assert self.monitor is not None
        report = self.monitor(step, **self._latest(state))
        if report is not None:
            self._publish(report, state, control)

    def _publish(self, report: CollapseReport, state: Any, control: Any) -> None:
        self._measured = state.global_step
        values = {self._prefix + name: value for name, value in report.asdict().items()}
        if self._log is None:
            state.log_history.append({**values, "epoch": state.epoch, "step": state.global_step})
            return
        wanted = control.should_log  # the Trainer's own values still to come; logging ours unsets it
        self._log(values)
        control.should_log = wanted

    def _latest(self, state: Any) -> dict[str, float]:
        """What the Trainer logged so far, the last of each."""
        logged: dict[str, float] = {}
        for entry in state.log_history:
            logged |= _scalars(entry, self._prefix)
        return logged


def _scalars(logs: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """The numbers that say something of the model: loss, gradient norm, learning rate, metrics of the evaluation."""
    return {
        name.replace("/", "_"): float(value)
        for name, value in logs.items()
        if isinstance(value, int | float) and not name.startswith(prefix) and name not in RESERVED
        if not name.endswith(NO_METRICS)
    }


class _Labelled:
    """Calls the model on a batch without its labels, and tells the label of every feature vector."""

    def __init__(self, model: Any, ignore_index: int) -> None:
        self.model = unwrapped(model)
        self.ignored = ignore_index

    def __call__(self, batch: Any) -> Callable[[Tensor], Tensor]:
        if not isinstance(batch, Mapping) or "labels" not in batch:
            raise ValueError(f"need batches that are dicts with labels, or forward=, got a {type(batch).__name__}")
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        self.model(**inputs)
        return lambda features: self._labels(batch["labels"], inputs, tuple(features.shape[:-1]))

    def _labels(self, labels: Tensor, inputs: Mapping[str, Any], shape: tuple[int, ...]) -> Tensor:
        if any(word in type(self.model).__name__ for word in CAUSAL):
            return _next(labels, self.ignored)
        if labels.ndim == 1 and len(shape) == 2:
            return _at_last(labels, shape, self._last(inputs, shape), self.ignored)
        return labels

    def _last(self, inputs: Mapping[str, Any], shape: tuple[int, ...]) -> Int[Tensor, "B"]:
        """Position of the last token that is no padding, whose score decides in a decoder that classifies."""
        padding = self.model.config.pad_token_id
        if padding is None or "input_ids" not in inputs:
            return torch.full(shape[:1], shape[1] - 1)
        tokens = inputs["input_ids"] != padding
        return (torch.arange(shape[1], device=tokens.device) * tokens).argmax(-1)


def _next(labels: Shaped[Tensor, "B T"], ignored: int) -> Shaped[Tensor, "B T"]:
    """Label t + 1 at position t, and none at the last."""
    return torch.nn.functional.pad(labels[:, 1:], (0, 1), value=ignored)


def _at_last(
    labels: Shaped[Tensor, "B"], shape: tuple[int, ...], last: Int[Tensor, "B"], ignored: int
) -> Shaped[Tensor, "B T"]:
    """The label at the deciding position, and none at the others."""
    placed = labels.new_full(shape, ignored)
    placed[torch.arange(shape[0], device=labels.device), last.to(labels.device)] = labels
    return placed
