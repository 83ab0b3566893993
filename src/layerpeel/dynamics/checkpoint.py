"""Checkpoints of a run: one safetensors file, written atomically, from which the run goes on.

It holds the leaves of everything that the next step depends on, the records so far, and a signature of the run it
belongs to, numbers that tell it from others. Descent goes on bit for bit; its signature is the state after the first
two steps, which tells loss, initial state, step size and noise apart, not what an optimiser does only later, as a
schedule. A flow goes on within its tolerances (:mod:`layerpeel.dynamics.flow_checkpoint`). Nothing in it is executed.
"""

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Float

from layerpeel.files import write_atomic

__all__ = [
    "SECONDS_A_CHECKPOINT",
    "Checkpoint",
    "checkpoint_path",
    "fold",
    "read_checkpoint",
    "restore",
    "to_array",
    "write_checkpoint",
]

FORMAT = "layerpeel-checkpoint-1"

SECONDS_A_CHECKPOINT = 10.0
"""Wall time between two checkpoints of a run."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A run between two steps.

    Attributes:
        step: steps taken.
        seconds: wall time spent.
        leaves: arrays that the next step depends on, in the order of the run's pytree.
        records: named arrays of what was recorded.
        signature: numbers that identify the run.
    """

    step: int
    seconds: float
    leaves: Sequence[np.ndarray]
    records: dict[str, np.ndarray]
    signature: np.ndarray


def checkpoint_path(path: str | Path | None) -> Path | None:
    """Where a run's checkpoint is kept, if it has one.

    Raises:
        ValueError: for a folder that does not exist.
    """
    if path is None:
        return None
    if not Path(path).absolute().parent.is_dir():
        raise ValueError(f"need an existing folder for the checkpoint, got {path}")
    return Path(path)


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically; a full disk or a missing permission is a warning, and the run goes on without."""
    tensors = {f"leaf/{i}": np.asarray(leaf, order="C") for i, leaf in enumerate(checkpoint.leaves)}
    tensors |= {f"record/{name}": np.asarray(values, order="C") for name, values in checkpoint.records.items()}
    tensors["signature"] = checkpoint.signature
    about: dict[str, Any] = {"step": checkpoint.step, "seconds": checkpoint.seconds, "leaves": len(checkpoint.leaves)}
    about["records"] = list(checkpoint.records)  # safetensors keeps no order
    data = safetensors.numpy.save(tensors, metadata={"format": FORMAT, "about": json.dumps(about)})
    try:
        write_atomic(path, data)
    except OSError as error:
        warnings.warn(f"could not write the checkpoint {path}: {error.strerror}; the run goes on", stacklevel=2)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`write_checkpoint` wrote.

    Raises:
        ValueError: when the file is not a whole checkpoint.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if metadata["format"] != FORMAT:
            raise KeyError(metadata["format"])
        about = json.loads(metadata["about"])
        return Checkpoint(
            step=about["step"],
            seconds=about["seconds"],
            leaves=[tensors[f"leaf/{i}"] for i in range(about["leaves"])],
            records={name: tensors[f"record/{name}"] for name in about["records"]},
            signature=tensors["signature"],
        )
    except (safetensors.SafetensorError, KeyError, TypeError, json.JSONDecodeError):
        raise ValueError(f"need {path} to be a layerpeel checkpoint, got a damaged or foreign file") from None


def restore(path: Path, template: Any, signature: np.ndarray) -> tuple[Checkpoint, Any]:
    """The checkpoint at ``path`` and its leaves in the structure of ``template``.

    Raises:
        ValueError: when it is damaged, or belongs to a run with another signature or structure.
    """
    checkpoint = read_checkpoint(path)
    leaves, tree = jax.tree.flatten(template)
    same_shapes = [x.shape for x in checkpoint.leaves] == [np.shape(to_array(x)) for x in leaves]
    same_run = checkpoint.signature.shape == signature.shape and np.allclose(
        checkpoint.signature, signature, rtol=1e-9, atol=0, equal_nan=True
    )
    if not (same_shapes and same_run):
        raise ValueError(
            f"need {path} to be a checkpoint of this very run, got one with another start, step or records"
        )
    return checkpoint, tree.unflatten([_like(old, new) for old, new in zip(leaves, checkpoint.leaves, strict=True)])


def fold(arrays: Iterable[np.ndarray]) -> Float[np.ndarray, "m"]:
    """Two numbers an array that tell it from others."""
    return np.ravel([[np.sum(x), np.vdot(x, np.cos(np.arange(x.size)))] for x in arrays])


def to_array(leaf: Any) -> np.ndarray:
    """A leaf as a numpy array; typed random keys as their words."""
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def _like(old: Any, new: np.ndarray) -> Any:
    if isinstance(old, jax.Array) and jax.dtypes.issubdtype(old.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jax.numpy.asarray(new), impl=jax.random.key_impl(old))
    return jax.numpy.asarray(new)
