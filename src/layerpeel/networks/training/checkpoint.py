"""What a training run has come to after an epoch, and its checkpoint: one safetensors file, written atomically.

The file holds the tensors that the next epoch depends on, the records of all seeds so far, and the signature of the
run: its settings, and a checksum of its images. Nothing in it is executed.
"""

import hashlib
import json
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from layerpeel.files import write_atomic
from layerpeel.networks.data.image_set import ImageSet

__all__ = ["Snapshot", "TrainingState", "digest", "pack", "unpack", "write_checkpoint"]

FORMAT = "layerpeel-training-1"
PLACES = {"weights": "weight", "momenta": "momentum", "generators": "random"}
"""Field of a snapshot -> what the names of its tensors begin with in the file; those of the head with "head"."""
COUNTED = ("number", "epoch", "epochs", "seconds", "measuring_seconds")
"""The fields of a state that are numbers."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Snapshot:
    """A network between two epochs: all that its next epoch depends on, by name; empty before its first record.

    Attributes:
        weights: parameters and buffers.
        momenta: of the parameters; none before the first epoch.
        generators: states of torch's random numbers, ``cpu`` and, on a GPU, ``cuda``.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    momenta: dict[str, Tensor] = field(default_factory=dict)
    generators: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingState:
    """A run between two epochs.

    Attributes:
        number: which of its seeds is under way.
        epoch: epochs that seed has behind it; -1 before its first record.
        snapshot: of that seed's network.
        head: classifier, bias (if any) and class means of its last record.
        rows: for each seed its records, field -> value, at the first of the recorded epochs.
        ends: for each seed that has ended why it ended early, or "".
        epochs: trained by all seeds together.
        seconds: wall time spent.
        measuring_seconds: of which for records.
    """

    number: int = 0
    epoch: int = -1
    snapshot: Snapshot = field(default_factory=Snapshot)
    head: dict[str, Tensor] = field(default_factory=dict)
    rows: tuple[tuple[dict[str, float], ...], ...] = ((),)
    ends: tuple[str, ...] = ()
    epochs: int = 0
    seconds: float = 0.0
    measuring_seconds: float = 0.0

    def next_seed(self) -> "TrainingState":
        """The state before the first record of the next seed."""
        rows = (*self.rows, ())
        return replace(self, number=len(self.ends), epoch=-1, snapshot=Snapshot(), head={}, rows=rows)

    def with_row(self, row: dict[str, float]) -> "TrainingState":
        """The state with one more record of the seed under way."""
        return replace(self, rows=(*self.rows[:-1], (*self.rows[-1], row)))


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
    tensors = _flat(state)
    about = {name: getattr(state, name) for name in COUNTED} | {"rows": state.rows, "ends": state.ends}
    about["names"] = list(tensors)
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
        state = _state(about, {name: tensors[name] for name in about["names"]})
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError):
        raise ValueError(f"need {path} to be a layerpeel checkpoint, got a damaged or foreign file") from None
    other = sorted(name for name in signature.keys() | kept.keys() if signature.get(name) != kept.get(name))
    if other:
        raise ValueError(f"need {path} to be a checkpoint of this very run, got one with another {', '.join(other)}")
    return state


def _flat(state: TrainingState) -> dict[str, Tensor]:
    """The tensors of all dicts under one name each, on the CPU."""
    dicts = {"head": state.head} | {place: getattr(state.snapshot, part) for part, place in PLACES.items()}
    return {
        f"{place}/{name}": value.contiguous().cpu() for place, values in dicts.items() for name, value in values.items()
    }


def _state(about: dict[str, Any], tensors: dict[str, Tensor]) -> TrainingState:
    """The inverse of :func:`_flat`, with what else there is to a state."""

    def under(place: str) -> dict[str, Tensor]:
        start = f"{place}/"
        return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}

    return TrainingState(
        snapshot=Snapshot(**{part: under(place) for part, place in PLACES.items()}),
        head=under("head"),
        rows=tuple(map(tuple, about["rows"])),
        ends=tuple(about["ends"]),
        **{name: about[name] for name in COUNTED},
    )


def _metadata(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metadata of a safetensors file in memory: JSON after its length, 8 bytes, little-endian."""
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    if metadata["format"] != FORMAT:
        raise KeyError(metadata["format"])
    return json.loads(metadata["about"]), json.loads(metadata["signature"])
