"""Features that were saved by some training script: which array of a file is which.

An array has a role: features h_i, labels y_i, and where there is one the head W, b. Scripts name them differently;
the names known are :data:`NAMES`. Exactly one known name may be in the file for a role, else the user says which:
a guess between two arrays would be a wrong number without a warning. Shapes are judged by the measurement.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from layerpeel.records.array_files import UNNAMED, Arrays, open_arrays

__all__ = ["NAMES", "SavedFeatures", "read_features"]

NAMES = {
    "features": ("features", "feat_list", "feats", "embeddings", "X", "h"),
    "labels": ("labels", "label_list", "targets", "label", "y"),
    "classifier": ("weight", "W", "fc.weight", "head.weight"),
    "bias": ("bias", "b", "fc.bias", "head.bias"),
}
"""Role -> the names it goes by, most explicit first."""

_LISTED = 20  # names that a sentence spells out


@dataclass(frozen=True)
class SavedFeatures:
    """Arrays as they were saved, and ``keys``: role -> name of the array in its file."""

    features: np.ndarray
    labels: np.ndarray
    classifier: np.ndarray | None
    bias: np.ndarray | None
    keys: Mapping[str, str]


def read_features(
    path: str | os.PathLike[str],
    *,
    labels_path: str | os.PathLike[str] | None = None,
    features_key: str | None = None,
    labels_key: str | None = None,
    classifier_key: str | None = None,
    bias_key: str | None = None,
) -> SavedFeatures:
    """Features, labels and where it is there the head from a .npz, .npy, .safetensors, .parquet or .pt file.

    Labels come from ``labels_path`` when it is given. A bias without a classifier is no head and is left out.

    Raises:
        FileNotFoundError, PermissionError: as they say.
        ValueError: when a file is damaged or of another kind, or an array is not there, not the only candidate,
            or not of numbers; with what the file holds.
        MissingRing: for .pt without torch, .parquet without pyarrow.
    """
    held = _open(path, "features")
    beside = held if labels_path is None else _open(labels_path, "labels")
    features = _needed("features", features_key, held)
    labels = _needed("labels", labels_key, beside)
    classifier = _choose("classifier", classifier_key, held)
    bias = _choose("bias", bias_key, held) if classifier or bias_key else None
    keys = {"features": features, "labels": labels, "classifier": classifier, "bias": bias}
    return SavedFeatures(
        _numbers(features, held),
        _numbers(labels, beside),
        _numbers(classifier, held) if classifier else None,
        _numbers(bias, held) if bias else None,
        {role: key for role, key in keys.items() if key},
    )


@dataclass(frozen=True)
class _Source:
    path: Path
    arrays: Arrays

    def __str__(self) -> str:
        return f"{self.path}, which holds {_listing(self.arrays)}"


def _open(path: str | os.PathLike[str], role: str) -> _Source:
    """The arrays of a file; the only one of a file without names is called after the role it is opened for."""
    arrays = open_arrays(path)
    return _Source(Path(path), {name if name != UNNAMED else role: read for name, read in arrays.items()})


def _needed(role: str, key: str | None, source: _Source) -> str:
    found = _choose(role, key, source)
    if found is None:
        raise ValueError(f"need {role} under one of the names {', '.join(NAMES[role])} in {source}")
    return found


def _choose(role: str, key: str | None, source: _Source) -> str | None:
    if key is not None:
        if key not in source.arrays:
            raise ValueError(f"need {role} under the name {key!r} in {source}")
        return key
    found = [name for name in NAMES[role] if name in source.arrays]
    if len(found) > 1:
        raise ValueError(f"need a choice between {' and '.join(found)} for the {role} in {source}")
    return found[0] if found else None


def _numbers(key: str, source: _Source) -> np.ndarray:
    array = source.arrays[key]()
    if array.dtype.kind not in "fiub":
        raise ValueError(f"need real numbers in {key} of {source.path}, got entries of type {array.dtype}")
    return array


def _listing(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return (", ".join(known[:_LISTED]) + more) or "no array"
