"""Conduct: run an experiment into a folder, so that whatever stops it, nothing is lost.

The folder gets ``config.toml`` before the first step (a full or forbidden disk is found at once), a checkpoint
while running, and the whole record at the end, of an interrupted or diverged run too. ``resume`` goes on from the
checkpoint, or hands back a finished record as it is.

Under torchrun every rank conducts the same experiment; rank 0 alone writes, and the others must see its folder.
"""

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from layerpeel.experiments.experiment import Experiment, Finding
from layerpeel.files import write_atomic
from layerpeel.outcome import Outcome
from layerpeel.records.folder import claim, command, held_record, release
from layerpeel.records.provenance import provenance
from layerpeel.records.store import Record, write_record

__all__ = ["Conducted", "conduct"]

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINTS = "checkpoint*.safetensors"
"""An experiment of several runs has more than one."""


@dataclass(frozen=True, eq=False)
class Conducted:
    """A record, where it is kept, and the text that describes it; ``leads``: not one of the other ranks' copies."""

    folder: Path
    record: Record
    text: str
    leads: bool = True

    @property
    def outcome(self) -> str:
        """Name of the outcome."""
        return str(self.record.summary["outcome"]["name"])


def conduct(
    experiment: Experiment,
    folder: Path,
    *,
    resume: bool = False,
    progress: bool = True,
    announce: Callable[[str], None] = lambda text: None,
) -> Conducted:
    """Run ``experiment`` into ``folder``, or with ``resume`` finish what is there.

    ``announce`` gets the text of what was found before it is written: a disk that does not take it does not take that.

    Raises:
        ValueError: for a folder in use without ``resume``, or that holds a run with other settings; for several
            processes where the experiment takes one.
        OSError: as the operating system says it; a checkpoint, where the experiment has one, holds what was computed.
    """
    config = {"experiment": experiment.name, **experiment.settings()}
    leads = _leads(experiment)
    made = not folder.exists()
    if leads:
        claim(folder, config, resume=resume)
    record = _finished(folder)
    if record is not None:
        return _announced(Conducted(folder, record, str(record.summary["text"]), leads), announce)
    started = datetime.now(UTC)
    try:
        finding = experiment.run(folder / CHECKPOINT, progress=progress)
    except Exception:
        if leads:
            release(folder, made=made)
        raise
    conducted = _announced(Conducted(folder, _recorded(config, started, finding), finding.text, leads), announce)
    if leads:
        _keep(conducted, finding.files)
    return conducted


def _announced(conducted: Conducted, announce: Callable[[str], None]) -> Conducted:
    if conducted.leads:
        announce(conducted.text)
    return conducted


def _leads(experiment: Experiment) -> bool:
    """Whether this process writes."""
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    if not (alone or experiment.parallel):
        raise ValueError(f"need one process for {experiment.name}, got several (torchrun)")
    return alone or os.environ.get("RANK", "0") == "0"


def _finished(folder: Path) -> Record | None:
    """The record of a run that has nothing left to do."""
    record = held_record(folder)
    return None if record is None or _interrupted(record) else record


def _interrupted(record: Record) -> bool:
    return bool(record.summary["outcome"]["name"] == Outcome.INTERRUPTED.name)


def _recorded(config: dict[str, Any], started: datetime, finding: Finding) -> Record:
    summary = {
        "command": command(),
        "started": started.isoformat(timespec="seconds"),
        **finding.summary,
        "text": finding.text,
        **provenance(),
    }
    return Record(config, summary, finding.metrics, dict(finding.arrays))


def _keep(conducted: Conducted, files: Mapping[str, bytes]) -> None:
    """Write the record, then what is beside it; checkpoints stay while there is something to go on with."""
    write_record(conducted.folder, conducted.record)
    for name, content in files.items():
        _write_beside(conducted.folder / name, content)
    if not _interrupted(conducted.record):
        for checkpoint in conducted.folder.glob(CHECKPOINTS):
            checkpoint.unlink(missing_ok=True)


def _write_beside(path: Path, content: bytes) -> None:
    """Write a file that the record does without; a disk that does not take it gives a warning."""
    try:
        write_atomic(path, content)
    except OSError as error:
        warnings.warn(f"could not write {path} ({error.strerror}); the record is whole without it", stacklevel=3)
