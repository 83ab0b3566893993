"""Course: takes a network of every seed through its epochs, records it when that is due, and keeps the run safe.

Invariant: ``held`` is the state after a whole epoch, its record included, and changes in one assignment. So an
interrupt in the middle of an epoch loses that epoch and no more, and a checkpoint of ``held`` goes on bit for bit.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import nn

from layerpeel.collapse import PRESETS, Convention
from layerpeel.networks.data.image_set import ImageSet
from layerpeel.networks.training.checkpoint import TrainingState, digest, unpack, write_checkpoint
from layerpeel.networks.training.evaluation import Evaluation, evaluate
from layerpeel.networks.training.plan import Plan
from layerpeel.networks.training.ranks import Ranks, lost_rank
from layerpeel.networks.training.resident import resident
from layerpeel.networks.training.switches import exact_float32
from layerpeel.networks.training.trainee import NotFinite, Trainee

__all__ = ["Course"]

SECONDS_A_CHECKPOINT = 30.0
"""A checkpoint is written at every record, and after any other epoch once the last one is older than this."""


class Course:
    """A run under way; ``points`` are the epochs to record."""

    def __init__(
        self,
        images: ImageSet,
        build: Callable[[], nn.Module],
        plan: Plan,
        ranks: Ranks,
        *,
        seeds: tuple[int, ...],
        points: Int[np.ndarray, "record"],
        preset: Convention,
        checkpoint: Path | None,
    ) -> None:
        self.build, self.plan, self.ranks, self.preset = build, plan, ranks, preset
        self.seeds, self.points, self.checkpoint = seeds, frozenset(points.tolist()), checkpoint
        dtype = torch.float64 if plan.precision == "float64" else torch.float32
        self.data, self.test = resident(images, ranks.device, dtype=dtype, channels_last=plan.channels_last)
        self.held = TrainingState()
        self._saved: TrainingState | None = None
        self._saved_at = time.perf_counter()
        if checkpoint is not None:
            self._signature = self._identity(images, points)
            self._resume(checkpoint)

    def drive(self, show: Callable[[int], None]) -> None:
        """Take every seed to its end; ``show`` gets the epochs done.

        Raises:
            KeyboardInterrupt: at Ctrl-C, once the checkpoint is written.
            ConnectionError: when another rank is gone, once the checkpoint is written.
        """
        try:
            while len(self.held.ends) < len(self.seeds):
                self._take_seed(show)
        except RuntimeError as error:
            if self.ranks.size == 1 or not lost_rank(error):
                raise
            raise ConnectionError(self._farewell(error)) from error
        finally:
            self._save()

    def _take_seed(self, show: Callable[[int], None]) -> None:
        number = len(self.held.ends)
        trainee = Trainee(self.build, self.data, self.plan, self.ranks, seed=self.seeds[number])
        if number > self.held.number:
            self.held = self.held.next_seed()
        elif self.held.epoch >= 0:
            trainee.restore(self.held.snapshot)
        while len(self.held.ends) == number:
            self._advance(trainee)
            show(number * self.plan.epochs + self.held.epoch)

    def _advance(self, trainee: Trainee) -> None:
        """One epoch and, if it is due, its record; the zeroth epoch trains nothing."""
        began, epoch = time.perf_counter(), self.held.epoch + 1
        try:
            if epoch:
                trainee.train(epoch)
            trained = time.perf_counter()
            found = self._evaluate(trainee) if epoch in self.points else None
        except NotFinite as error:
            self.held = self._ended(f"seed {trainee.seed}, epoch {epoch}: {error}.", began)
            return
        state = replace(
            self.held,
            epoch=epoch,
            epochs=self.held.epochs + (epoch > 0),
            snapshot=trainee.snapshot(),
            ends=(*self.held.ends, "") if epoch == self.plan.epochs else self.held.ends,
            seconds=self.held.seconds + time.perf_counter() - began,
        )
        if found is not None:
            state = _recorded(state, found, time.perf_counter() - trained)
        self.held = state
        if found is not None or time.perf_counter() - self._saved_at > SECONDS_A_CHECKPOINT:
            self._save()

    def _evaluate(self, trainee: Trainee) -> Evaluation:
        with exact_float32():
            return evaluate(trainee.model, self.data, self.test, self.plan, self.ranks, preset=self.preset)

    def _ended(self, sentence: str, began: float) -> TrainingState:
        seconds = self.held.seconds + time.perf_counter() - began
        return replace(self.held, ends=(*self.held.ends, sentence), seconds=seconds)

    def _save(self) -> None:
        """Write what is held, unless it is in the file already."""
        if self.checkpoint is not None and self.ranks.leads and self.held.epoch >= 0 and self.held is not self._saved:
            write_checkpoint(self.checkpoint, self.held, self._signature)
            self._saved = self.held
        self._saved_at = time.perf_counter()

    def _resume(self, path: Path) -> None:
        """Go on from the checkpoint that rank 0 sees, in every rank."""
        data = self.ranks.pool(lambda: path.read_bytes() if self.ranks.leads and path.exists() else None)[0]
        if data is not None:
            self.held = self._saved = unpack(path, data, self._signature)

    def _identity(self, images: ImageSet, points: Int[np.ndarray, "record"]) -> dict[str, Any]:
        """What tells this run from others: not where and on how many ranks it runs."""
        settings = {k: v for k, v in self.plan.settings().items() if k != "device"}
        network = [[name, list(value.shape)] for name, value in self.build().state_dict().items()]
        known = PRESETS.get(self.preset.name) == self.preset
        return settings | {
            "seeds": list(self.seeds),
            "records": points.tolist(),
            "preset": self.preset.name if known else asdict(self.preset),
            "images": digest(images),
            "network": network,
        }

    def _farewell(self, error: RuntimeError) -> str:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return (
            f"need all {self.ranks.size} ranks to the end of the run, lost one after epoch {self.held.epoch} "
            f"({reason}): --resume goes on from the checkpoint"
        )


def _recorded(state: TrainingState, found: Evaluation, seconds: float) -> TrainingState:
    arrays = {"classifier": found.classifier, "bias": found.bias, "means": found.means}
    head = {name: torch.from_numpy(value) for name, value in arrays.items() if value is not None}
    state = state.with_row(found.fields)
    return replace(state, head=head, measuring_seconds=state.measuring_seconds + seconds)
