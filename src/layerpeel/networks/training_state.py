"""What a training run has come to after an epoch, and its checkpoint: one safetensors file, written atomically.

The file holds the tensors that the next epoch depends on, the records of all seeds so far, and the signature of the
run: its settings, and a checksum of its images. Nothing in it is executed.
"""

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from layerpeel.files import write_atomic
from layerpeel.networks.data import ImageSet

__all__ = ["TrainingState", "digest", "pack", "unpack", "write_checkpoint"]

FORMAT = "layerpeel-training-1"


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingState:
    """A run between two epochs.

    Attributes:
        number: which of its seeds is under way.
        epoch: epochs that seed has behind it; -1 before its first record.
        tensors: all that its next epoch depends on (``weight/``, ``momentum/``, ``random/``), and the head and
            class means of its last record (``head/``).
        rows: for each seed its records, field -> value, at the first of the recorded epochs.
        ends: for each seed that has ended why it ended early, or "".
        epochs: trained by all seeds together.
        seconds: wall time spent.
        measuring_seconds: of which for records.
    """

    number: int = 0
    epoch: int = -1
    tensors: dict[str, Tensor] = field(default_factory=dict)
    rows: tuple[tuple[dict[str, float], ...], ...] = ((),)
    ends: tuple[str, ...] = ()
    epochs: int = 0
    seconds: float = 0.0
    measuring_seconds: float = 0.0

    def next_seed(self) -> "TrainingState":
        """The state before the first record of the next seed."""
        return replace(self, number=len(self.ends), epoch=-1, tensors={}, rows=(*self.rows, ()))

    def with_row(self, row: dict[str, float]) -> "TrainingState":
        """The state with one more record of the seed under way."""
        return replace(self, rows=(*self.rows[:-1], (*self.rows[-1], row)))

    def named(self, prefix: str) -> dict[str, Tensor]:
        """The tensors of that prefix, without it."""
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}


def digest(images: ImageSet) -> str:
    """A checksum of the images and labels."""
    sums = hashlib.sha256()
    for array in (images.train_images, images.train_labels, images.test_images, images.test_labels):
        sums.update(array.tobytes())
    return sums.hexdigest()


def write_checkpoint(path: Path, state: TrainingState, signature: dict[str, Any]) -> None:
    """Write atomically; a full disk or a missing permission is a warning, and the run goes on without."""
    try:
        write_atomic(path, pack(state, signature))
    except OSError as error:
        warnings.warn(f"could not write the checkpoint {path}: {error.strerror}; the run goes on", stacklevel=2)


def pack(state: TrainingState, signature: dict[str, Any]) -> bytes:
    """The content of a checkpoint; JSON keeps every bit of a float."""
    about = asdict(replace(state, tensors={})) | {"names": list(state.tensors)}
    tensors = {name: value.contiguous().cpu() for name, value in state.tensors.items()}
    metadata = {"format": FORMAT, "about": json.dumps(about), "signature": json.dumps(signature, sort_keys=True)}
    return safetensors.torch.save(tensors, metadata=metadata)


def unpack(path: Path, data: bytes, signature: dict[str, Any]) -> TrainingState:
    """The inverse of :func:`pack`, for the run with that signature; ``path`` is for the messages.

    Raises:
        ValueError: when the content is not a whole checkpoint, or that of another run.
    """
    try:
        about, kept = _metadata(data)
        tensors = safetensors.torch.load(data)
        about["tensors"] = {name: tensors[name] for name in about.pop("names")}
        rows = tuple(map(tuple, about.pop("rows")))
        state = TrainingState(rows=rows, ends=tuple(about.pop("ends")), **about)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError):
        raise ValueError(f"need {path} to be a layerpeel checkpoint, got a damaged or foreign file") from None
    other = sorted(name for name in signature.keys() | kept.keys() if signature.get(name) != kept.get(name))
    if other:
        raise ValueError(f"need {path} to be a checkpoint of this very run, got one with another {', '.join(other)}")
    return state


def _metadata(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metadata of a safetensors file in memory: JSON after its length, 8 bytes, little-endian."""
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    if metadata["format"] != FORMAT:
        raise KeyError(metadata["format"])
    return json.loads(metadata["about"]), json.loads(metadata["signature"])
