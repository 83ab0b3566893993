"""The folder of a run that goes on: whose it is, whether it can be resumed, and how it is given back.

A run takes its folder by writing ``config.toml`` before its first step, so that a full or forbidden disk, and a folder
that holds something else, are found at once. It is resumed with the settings it began with, or not at all.
"""

import shlex
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from layerpeel.files import write_atomic
from layerpeel.records.store import FORMATS, SUMMARY, Record, read_record

__all__ = ["RUN", "Tenant", "claim", "command", "held_record", "release"]

CONFIG = FORMATS["config"][0]
FILES = (*(name for name, _, _ in FORMATS.values()), SUMMARY)
"""The names that a record needs for itself."""


@dataclass(frozen=True)
class Tenant:
    """Who takes a folder.

    Attributes:
        noun: what it keeps there.
        option: what its user says to go on with that.
        same: the settings that must not change when it goes on; None for all.
        alone: whether the folder may hold nothing else at the start.
    """

    noun: str
    option: str
    same: Sequence[str] | None = None
    alone: bool = True


RUN = Tenant("run", "--resume")


def claim(folder: Path, config: Mapping[str, Any], *, resume: bool, tenant: Tenant = RUN) -> None:
    """Make ``folder`` ours by writing ``config`` into it; with ``resume`` it may be ours already.

    Raises:
        ValueError: for a folder in use without ``resume``, with it one of other settings; for one that is somebody
            else's.
        OSError: as the operating system says it.
    """
    if not (folder / CONFIG).exists():
        _take(folder, config, tenant)
        return
    if not resume:
        raise ValueError(
            f"need a new folder, or {tenant.option} to go on with the {tenant.noun} in {folder}, got one in use"
        )
    held = _read_config(folder / CONFIG)
    names = sorted(config.keys() | held.keys()) if tenant.same is None else tenant.same
    other = ", ".join(f"{name}={held.get(name)!r}" for name in names if held.get(name) != config.get(name))
    if other and tenant.same is None:
        raise ValueError(f"need the settings of the {tenant.noun} in {folder} to resume it ({other}), got others")
    if other:
        raise ValueError(f"need the run of the {tenant.noun} in {folder} to resume it ({other}), got another")


def held_record(folder: Path) -> Record | None:
    """The record in ``folder``, None where there is no whole one yet.

    Raises:
        ValueError, FileNotFoundError: for a damaged one, as :func:`~layerpeel.records.store.read_record` does.
    """
    return read_record(folder) if (folder / SUMMARY).exists() else None


def release(folder: Path, *, made: bool) -> None:
    """Give up a folder in which nothing was computed; it goes if it was ``made`` for the run."""
    if {path.name for path in folder.iterdir()} == {CONFIG}:
        (folder / CONFIG).unlink()
        if made:
            folder.rmdir()


def command() -> str:
    """The command line of this process; ``layerpeel`` without the place where it is installed."""
    program = Path(sys.argv[0])
    ours = "layerpeel" in (program.stem, program.parent.name if program.name == "__main__.py" else "")
    return shlex.join(["layerpeel" if ours else sys.argv[0], *sys.argv[1:]])


def _take(folder: Path, config: Mapping[str, Any], tenant: Tenant) -> None:
    taken = any((folder / name).exists() for name in FILES)
    if tenant.alone and folder.exists():
        taken = not folder.is_dir() or any(folder.iterdir())
    if taken:
        raise ValueError(f"need a new or empty folder for the {tenant.noun}, got {folder}, which holds something else")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / CONFIG, tomli_w.dumps(dict(config)).encode())


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise ValueError(f"need a readable {path} to resume, got a damaged file") from None
