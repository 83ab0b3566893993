"""The checkpoint of one gradient flow: its records, from the last of which it goes on, and how it ended.

An integration that goes on begins its steps anew, so that it agrees with an uninterrupted one to its tolerances, not
to the bit.
"""

import time
from pathlib import Path

import numpy as np
from jaxtyping import Float

from layerpeel.dynamics.checkpoint import SECONDS_A_CHECKPOINT, Checkpoint, restore, write_checkpoint
from layerpeel.dynamics.recorder import Recorder
from layerpeel.outcome import Outcome

__all__ = ["FlowCheckpoint"]

OUTCOMES = list(Outcome)


class FlowCheckpoint:
    """What is kept of a flow at ``path``; nothing where that is None. An existing file is loaded into ``recorder``.

    Args:
        path: the file, or None.
        recorder: that of the flow.
        signature: numbers that tell the flow from others.
        began: when it began, by ``time.perf_counter``.

    Attributes:
        outcome: how the flow ended, as the file has it; None where it is to be followed.

    Raises:
        ValueError: for a damaged file, or one of another flow.
    """

    def __init__(self, path: Path | None, recorder: Recorder, signature: Float[np.ndarray, "m"], began: float) -> None:
        self._path, self._recorder, self._signature = path, recorder, signature
        self._began, self._saved = began, began
        self.outcome: Outcome | None = None
        if path is not None and path.exists():
            self._load(path)

    @property
    def seconds(self) -> float:
        """Wall time spent so far, over all resumptions."""
        return time.perf_counter() - self._began

    def save(self, outcome: Outcome = Outcome.INTERRUPTED) -> None:
        """Write what there is."""
        self._saved = time.perf_counter()
        if self._path is None or not self._recorder.rows:
            return
        records = self._recorder.dump() | {"outcome": np.array(OUTCOMES.index(outcome))}
        write_checkpoint(self._path, Checkpoint(len(self._recorder.rows), self.seconds, [], records, self._signature))

    def save_if_due(self) -> None:
        """Write what there is every ten seconds."""
        if time.perf_counter() - self._saved > SECONDS_A_CHECKPOINT:
            self.save()

    def _load(self, path: Path) -> None:
        saved, _ = restore(path, (), self._signature)
        outcome = OUTCOMES[int(saved.records["outcome"])]
        self.outcome = None if outcome is Outcome.INTERRUPTED else outcome
        self._recorder.load(saved.records)
        self._began -= saved.seconds
