"""Named arrays in files from anywhere: .npz, .npy, .safetensors, .parquet, .pt.

:func:`open_arrays` lists a file's arrays and defers the reading of each, so that only what is wanted is loaded;
.npy and .safetensors are memory-mapped. A file with one array and no names holds it under the name "".

Invariant: a file is data. Nothing is ever unpickled (a .pt file goes through torch's reader of tensors alone),
and whatever a damaged or hostile file makes its reader raise comes out as one sentence.
"""

import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.lib.format import open_memmap
from numpy.lib.npyio import NpzFile
from safetensors import safe_open

from layerpeel.rings import MissingRing, require

__all__ = ["UNNAMED", "Arrays", "open_arrays"]

UNNAMED = ""
Arrays = Mapping[str, Callable[[], np.ndarray]]
"""Name of an array -> what reads it."""


def open_arrays(path: str | os.PathLike[str]) -> Arrays:
    """The arrays in the file ``path``, by name; its extension says what it is.

    Raises (each call that reads an array as well):
        FileNotFoundError, PermissionError: as they say.
        ValueError: for a folder, another extension, or a file that is not what its extension says.
        MissingRing: for .pt without torch, .parquet without pyarrow.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    _check_readable(path)
    if reader is None:
        raise ValueError(f"need a file with extension {', '.join(_READERS)}, got {path}")
    found = _read(path, partial(reader, path))
    return {name: partial(_read, path, read) for name, read in found.items()}


def _check_readable(path: Path) -> None:
    try:
        if not path.exists():
            raise FileNotFoundError(f"there is no file {path}")
        if not path.is_file():
            raise ValueError(f"need a file, got {'the folder' if path.is_dir() else 'something else:'} {path}")
        path.open("rb").close()
    except PermissionError:
        raise PermissionError(f"need permission to read {path}, got none") from None


def _read(path: Path, read: Callable[[], Any]) -> Any:
    """``read()``; parsers of untrusted bytes raise nearly anything, of which the first line is kept."""
    try:
        return read()
    except MissingRing:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"need a whole {path.suffix} file of plain arrays, got {path} ({lines[0][:200]})") from None


def _npy(path: Path) -> Arrays:
    array = open_memmap(path, mode="r")
    return {UNNAMED: lambda: array}


def _npz(path: Path) -> Arrays:
    def member(name: str) -> np.ndarray:
        with path.open("rb") as stream, NpzFile(stream, allow_pickle=False) as archive:
            array = archive[name]
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name} is no array")
        return array

    with path.open("rb") as stream, NpzFile(stream, allow_pickle=False) as archive:
        return {name: partial(member, name) for name in archive.files}


_SAFETENSORS_TYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "?"},
    **{"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"},
    **{"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1"},
}


def _safetensors(path: Path) -> Arrays:
    with safe_open(path, framework="numpy"):  # checks the header: sizes, offsets, nothing beside or beyond
        pass
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
    header.pop("__metadata__", None)
    return {name: partial(_tensor, path, 8 + size, entry) for name, entry in header.items()}


def _tensor(path: Path, start: int, entry: Mapping[str, Any]) -> np.ndarray:
    shape, kind = tuple(entry["shape"]), entry["dtype"]
    if kind not in _SAFETENSORS_TYPES:
        raise ValueError(f"entries of type {kind} are not supported")
    dtype = np.dtype(_SAFETENSORS_TYPES[kind])
    if 0 in shape:
        return np.zeros(shape, np.float32 if kind == "BF16" else dtype)
    bits = np.memmap(path, dtype, mode="r", offset=start + entry["data_offsets"][0], shape=shape)
    return _from_bfloat16(bits) if kind == "BF16" else bits


def _from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """A bfloat16 is the upper half of the float32 of the same value."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _parquet(path: Path) -> Arrays:
    parquet = require("pyarrow.parquet")
    names = parquet.ParquetFile(path).schema_arrow.names
    return {name: partial(_column, path, name) for name in names}


def _column(path: Path, name: str) -> np.ndarray:
    column = require("pyarrow.parquet").ParquetFile(path).read(columns=[name]).column(name)
    chunks = [_chunk(chunk, name) for chunk in column.chunks if len(chunk)]
    return np.concatenate(chunks) if chunks else np.zeros((0, 0) if _is_list(column.type) else 0)


def _is_list(arrow_type: Any) -> bool:
    types = require("pyarrow").types
    return any(is_(arrow_type) for is_ in (types.is_fixed_size_list, types.is_list, types.is_large_list))


def _chunk(chunk: Any, name: str) -> np.ndarray:
    """One piece of a column of numbers [N], or of lists of d numbers each [N, d]."""
    values = chunk.flatten() if _is_list(chunk.type) else chunk
    if chunk.null_count or values.null_count:
        raise ValueError(f"column {name} has nulls")
    numbers = cast(np.ndarray, values.to_numpy(zero_copy_only=False))
    if values is chunk:
        return numbers
    lengths = np.unique(require("pyarrow.compute").list_value_length(chunk).to_numpy())
    if len(lengths) > 1:
        raise ValueError(f"the lists in column {name} differ in length, {lengths[0]} to {lengths[-1]}")
    return numbers.reshape(len(chunk), -1)


def _pt(path: Path) -> Arrays:
    torch = require("torch")
    try:
        with catch_warnings():
            simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise ValueError("it holds more than tensors, or is no torch file, and is not unpickled") from None
    named = content if isinstance(content, Mapping) else {UNNAMED: content}
    tensors = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    return {str(name): partial(_torch_array, tensor) for name, tensor in tensors.items()}


def _torch_array(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    kept = tensor.float() if tensor.dtype == require("torch").bfloat16 else tensor
    return cast(np.ndarray, kept.numpy())


_READERS: dict[str, Callable[[Path], Arrays]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".safetensors": _safetensors,
    ".parquet": _parquet,
    ".pt": _pt,
}
