"""A run's folder: what was asked, what came out, and with which software, in four standard files.

====================  ==================================================================================
``config.toml``       the options of the run; with them the run can be repeated
``metrics.nc``        the records, dims (seed, record), as netCDF4
``state.safetensors`` the last state, an array a name
``summary.json``      versions, hardware, seeds, outcome, timings, command, last values, and the checksums
====================  ==================================================================================

Invariant: a folder whose ``summary.json`` agrees with the three other files holds one whole record. All four
are first written in full beside the old ones; only then the old summary goes, the three are renamed, and the new
summary last. So a full disk leaves the old record as it was, and a kill leaves a whole record or no summary.

Not guaranteed: that a checksum proves who wrote a file. Nothing here unpickles, so that a foreign file can be
wrong but cannot run code. TOML knows no null and gives tuples back as lists; JSON's nan and infinities are
written as Python writes them (NaN, Infinity).
"""

import hashlib
import json
import os
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tomli_w
import xarray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from layerpeel.files import write_atomic

__all__ = ["Record", "read_record", "write_record"]

SUMMARY = "summary.json"
CHECKSUMS = "sha256"
# What the three formats, and HDF5 below one of them, raise on a damaged file.
DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    SafetensorError,
)


@dataclass(frozen=True, eq=False)
class Record:
    """One run, kept.

    Attributes:
        config: the options of the run, in types that TOML has.
        summary: :func:`~layerpeel.records.provenance.provenance`, and the run's own seeds, outcome (name,
            sentence), started (ISO), wall seconds, command, last values.
        metrics: the records, dims (seed, record), coords step, log_time, loglog_time.
        arrays: the last state, an array a name (``W``, ``H``, ``b``).
    """

    config: dict[str, Any]
    summary: dict[str, Any]
    metrics: xarray.Dataset
    arrays: dict[str, npt.NDArray[Any]]


def write_record(folder: str | os.PathLike[str], record: Record) -> Path:
    """Keep ``record`` in ``folder`` (made if need be), in place of the record that was there.

    Raises:
        ValueError: the folder is a file, or a part holds what its file format cannot (``None`` in TOML).
        OSError: as the operating system says it (no space, no permission); the old record is then as it was.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"need a folder to keep the record in, got the file {folder}")
    contents = _contents(record)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".record.", suffix=".part") as stage:
        for name, data in contents.items():
            write_atomic(Path(stage, name), data)
        (folder / SUMMARY).unlink(missing_ok=True)
        for name in contents:
            os.replace(Path(stage, name), folder / name)
    return folder


def read_record(folder: str | os.PathLike[str]) -> Record:
    """The record that :func:`write_record` kept in ``folder``, exactly: nan, inf, every bit of a float.

    Raises:
        FileNotFoundError: the folder or one of its four files is missing.
        ValueError: a file is truncated, damaged, edited since, or none of ours; the sentence names it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"need the folder of a run, got {folder}, which is none")
    summary, checksums = _parse(folder / SUMMARY, _bytes(folder / SUMMARY), _read_summary)
    parts = {
        part: _parse(folder / name, _checked(folder / name, checksums.get(name)), read)
        for part, (name, _, read) in FORMATS.items()
    }
    return Record(summary=summary, **parts)


def _contents(record: Record) -> dict[str, bytes]:
    parts = {name: _serialise(name, write, getattr(record, part)) for part, (name, write, _) in FORMATS.items()}
    checksums = {name: _checksum(data) for name, data in parts.items()}
    return parts | {SUMMARY: _serialise(SUMMARY, _write_summary, (record.summary, checksums))}


def _serialise(name: str, write: Callable[[Any], bytes], part: Any) -> bytes:
    try:
        return write(part)
    except (TypeError, ValueError, SafetensorError) as error:
        raise ValueError(f"need a record that {name} can hold, got: {_first_line(error)}") from error


def _parse(path: Path, data: bytes, read: Callable[[bytes], Any]) -> Any:
    try:
        return read(data)
    except DAMAGE as error:
        raise ValueError(f"need a readable {path.name}, got a damaged one at {path}: {_first_line(error)}") from error


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"need a whole record in {path.parent}, got a folder without {path.name}")
    return path.read_bytes()


def _checked(path: Path, checksum: object) -> bytes:
    # Before any parser sees the bytes: HDF5 can loop without end on a damaged file.
    data = _bytes(path)
    if _checksum(data) != checksum:
        raise ValueError(f"need the {path.name} that {SUMMARY} vouches for, got a damaged or edited one at {path}")
    return data


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _write_toml(config: Mapping[str, Any]) -> bytes:
    return tomli_w.dumps(config).encode()


def _read_toml(data: bytes) -> dict[str, Any]:
    return tomllib.loads(data.decode())


def _write_summary(summary_and_checksums: tuple[dict[str, Any], dict[str, str]]) -> bytes:
    summary, checksums = summary_and_checksums
    if CHECKSUMS in summary:
        raise ValueError(f"the key {CHECKSUMS!r}, which the store writes itself")
    return _json(summary | {CHECKSUMS: checksums | {SUMMARY: _checksum(_json(summary))}})


def _read_summary(data: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    summary = json.loads(data.decode())
    checksums = summary.pop(CHECKSUMS)
    if checksums[SUMMARY] != _checksum(_json(summary)):
        raise ValueError("its checksum is another")
    return summary, checksums


def _json(summary: Mapping[str, Any]) -> bytes:
    return (json.dumps(summary, indent=2, ensure_ascii=False, default=_plain) + "\n").encode()


def _plain(value: object) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"JSON has no {type(value).__name__}")


def _write_netcdf(metrics: xarray.Dataset) -> bytes:
    return bytes(metrics.to_netcdf(engine="h5netcdf"))


def _read_netcdf(data: bytes) -> xarray.Dataset:
    return xarray.load_dataset(data, engine="h5netcdf")


def _write_safetensors(arrays: Mapping[str, Any]) -> bytes:
    return save({name: np.asarray(array, order="C") for name, array in arrays.items()})


FORMATS: dict[str, tuple[str, Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    "config": ("config.toml", _write_toml, _read_toml),
    "metrics": ("metrics.nc", _write_netcdf, _read_netcdf),
    "arrays": ("state.safetensors", _write_safetensors, load),
}
"""Part of a record -> its file, its writer and its reader."""
