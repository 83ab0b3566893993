"""Loop: drives a compiled step from record to record, and keeps the run safe on the way.

Invariant: ``at`` = (carry, step) and the recorder's rows each change in one assignment, and a record that is due is
made before the next step is taken. So at any interrupt what is held is consistent, and a checkpoint of it goes on
bit for bit.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from layerpeel.dynamics.checkpoint import SECONDS_A_CHECKPOINT, Checkpoint, fold, restore, to_array, write_checkpoint
from layerpeel.dynamics.recorder import Recorder
from layerpeel.outcome import Outcome
from layerpeel.problem import State
from layerpeel.problem.boundary import with_seed_axis

__all__ = ["Carry", "Loop"]

SECONDS_A_PIECE = 0.2
"""Wall time of one compiled piece: how soon an interrupt is heard and progress shown."""


class Carry(NamedTuple):
    """What the next step depends on besides its number."""

    state: State
    optimizer: Any


class Loop:
    """A run under way: ``advance(carry, i, j)`` takes steps i .. j-1; ``points`` are the steps to record."""

    def __init__(
        self,
        advance: Callable[[Carry, int, int], Carry],
        start: Carry,
        points: Int[np.ndarray, "record"],
        recorder: Recorder,
        checkpoint: Path | None,
    ) -> None:
        self.advance = advance
        self.at = (start, 0)
        self.points = points
        self.recorder = recorder
        self.checkpoint = checkpoint
        self.seconds = 0.0
        if checkpoint is not None:
            self.signature = _signature(advance(start, 0, 2), points, recorder.keep_states)
            if checkpoint.exists():
                self._resume(checkpoint)

    def drive(self, progress: AbstractContextManager[Callable[[int], None]]) -> Outcome:
        """Take all steps, record and save; an interrupt or a divergence is an outcome, not an error."""
        try:
            with progress as show:
                return self._drive(show)
        except KeyboardInterrupt:
            if not self.recorder.rows:
                raise  # nothing to show yet
            return Outcome.INTERRUPTED
        finally:
            self._save()

    def _drive(self, show: Callable[[int], None]) -> Outcome:
        length, saved = 1, time.perf_counter()
        self._record_if_due()
        while self.at[1] < self.points[-1]:
            began = time.perf_counter()
            self._take(length)
            self._record_if_due()
            elapsed = time.perf_counter() - began
            self.seconds += elapsed
            show(self.at[1])
            if not self.recorder.alive.any():
                return Outcome.NONFINITE
            if elapsed < SECONDS_A_PIECE / 2:
                length *= 2
            elif elapsed > SECONDS_A_PIECE * 2:
                length = max(1, length // 2)
            if time.perf_counter() - saved > SECONDS_A_CHECKPOINT:
                self._save()
                saved = time.perf_counter()
        return Outcome.COMPLETED if self.recorder.alive.all() else Outcome.NONFINITE

    def _take(self, length: int) -> None:
        """Advance by ``length`` steps or to the next record, and note the seeds that diverged."""
        carry, step = self.at
        stop = min(step + length, int(self.points[np.searchsorted(self.points, step, side="right")]))
        carry = jax.block_until_ready(self.advance(carry, step, stop))
        self.recorder.bury(_finite(carry.state))  # first: a dead seed must never be taken for a living one
        self.at = (carry, stop)

    def _record_if_due(self) -> None:
        carry, step = self.at
        if step in self.points and step > self.recorder.last_step and self.recorder.alive.any():
            self.recorder.add(step, with_seed_axis(jax.tree.map(np.asarray, carry.state)))

    def _save(self) -> None:
        if self.checkpoint is not None:
            carry, step = self.at
            leaves = [to_array(leaf) for leaf in jax.tree.leaves(carry)]
            write_checkpoint(
                self.checkpoint, Checkpoint(step, self.seconds, leaves, self.recorder.dump(), self.signature)
            )

    def _resume(self, path: Path) -> None:
        saved, carry = restore(path, self.at[0], self.signature)
        self.recorder.load(saved.records)
        self.at, self.seconds = (carry, saved.step), saved.seconds


def _finite(state: State) -> Bool[np.ndarray, "seed"]:
    """Which seeds have no infinite or undefined entry."""
    arrays = jax.tree.leaves(with_seed_axis(jax.tree.map(np.asarray, state)))
    return np.logical_and.reduce([np.isfinite(x).reshape(len(x), -1).all(axis=1) for x in arrays])


def _signature(probe: Carry, points: Int[np.ndarray, "record"], keep_states: bool) -> Float[np.ndarray, "m"]:
    """Numbers that tell runs apart: the state after two steps, folded, whether states are kept, the recorded steps."""
    return np.concatenate(
        [fold(map(np.asarray, jax.tree.leaves(probe.state))), [keep_states], points.astype(np.float64)]
    )
