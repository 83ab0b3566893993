"""Conduct: run an experiment into a folder, so that whatever stops it, nothing is lost.

The folder gets ``config.toml`` before the first step (a full or forbidden disk is found at once), a checkpoint
while running, and the whole record at the end, of an interrupted or diverged run too. ``resume`` goes on from the
checkpoint, or hands back a finished record as it is.

Under torchrun every rank conducts the same experiment; rank 0 alone writes, and the others must see its folder.
"""

import os
import shlex
import sys
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli_w

from layerpeel.experiments.experiment import Experiment, Finding
from layerpeel.files import write_atomic
from layerpeel.records.provenance import provenance
from layerpeel.records.store import Record, read_record, write_record

__all__ = ["Conducted", "conduct"]

CHECKPOINT = "checkpoint.safetensors"


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


def conduct(experiment: Experiment, folder: Path, *, resume: bool = False, progress: bool = True) -> Conducted:
    """Run ``experiment`` into ``folder``, or with ``resume`` finish what is there.

    Raises:
        ValueError: for a folder in use without ``resume``, or that holds a run with other settings; for several
            processes where the experiment takes one.
        OSError: as the operating system says it; a checkpoint, where the experiment has one, holds what was computed.
    """
    config = {"experiment": experiment.name, **experiment.settings()}
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    if not (alone or experiment.parallel):
        raise ValueError(f"need one process for {experiment.name}, got several (torchrun)")
    leads = alone or os.environ.get("RANK", "0") == "0"
    made = not folder.exists()
    if leads:
        _claim(folder, config, resume=resume)
    if (folder / "summary.json").exists():
        record = read_record(folder)
        if record.summary["outcome"]["name"] != "INTERRUPTED":
            return Conducted(folder, record, str(record.summary["text"]), leads)
    started = datetime.now(UTC)
    try:
        finding = experiment.run(folder / CHECKPOINT, progress=progress)
    except (ValueError, ImportError, MemoryError):
        if leads:
            _release(folder, made=made)
        raise
    record = Record(
        config=config,
        summary={
            "command": _command(),
            "started": started.isoformat(timespec="seconds"),
            **_summary(finding),
        },
        metrics=finding.metrics,
        arrays=dict(finding.arrays),
    )
    if not leads:
        return Conducted(folder, record, finding.text, leads)
    for name, content in finding.files.items():
        write_atomic(folder / name, content)
    write_record(folder, record)
    conducted = Conducted(folder, record, finding.text)
    if conducted.outcome != "INTERRUPTED":
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return conducted


def _claim(folder: Path, config: dict[str, Any], *, resume: bool) -> None:
    """Make the folder ours by writing its config, unless it is somebody else's."""
    path = folder / "config.toml"
    if path.exists():
        if not resume:
            raise ValueError(f"need a new folder, or --resume to go on with the run in {folder}, got one in use")
        try:
            held = tomllib.loads(path.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            raise ValueError(f"need a readable {path} to resume, got a damaged file") from None
        other = sorted(name for name in config.keys() | held.keys() if config.get(name) != held.get(name))
        if other:
            differences = ", ".join(f"{name}={held.get(name)!r}" for name in other)
            raise ValueError(f"need the settings of the run in {folder} to resume it ({differences}), got others")
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"need a new or empty folder for the run, got {folder}, which holds something else")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, tomli_w.dumps(config).encode())


def _release(folder: Path, *, made: bool) -> None:
    """Give up a folder in which impossible settings or a missing package computed nothing."""
    if {path.name for path in folder.iterdir()} == {"config.toml"}:
        (folder / "config.toml").unlink()
        if made:
            folder.rmdir()


def _summary(finding: Finding) -> dict[str, Any]:
    return {**finding.summary, "text": finding.text, **provenance()}


def _command() -> str:
    return shlex.join(["layerpeel", *sys.argv[1:]])
