"""MNIST-format: images and labels, for training and for test, in four IDX files of fixed names.

    train-images-idx3-ubyte   train-labels-idx1-ubyte   t10k-images-idx3-ubyte   t10k-labels-idx1-ubyte

Each may end in ``.gz``, and have a dot for the dash before ``idx``; the ``.gz`` with the dash is preferred.

Invariant: as many labels as images, at least one of each, and the images of training and test are of one size.
Not guaranteed: that every class has an image, or that the pictures are what the folder's name says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from layerpeel.networks.data.idx import Content, read_idx

__all__ = ["FILES", "FourArrays", "find_files", "read_folder"]

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


@dataclass(frozen=True)
class FourArrays:
    """What the four files hold: N images for training, T for test, h x w, entries 0 .. 255, labels 0 .. 255."""

    train_images: UInt8[np.ndarray, "N h w"]
    train_labels: Int64[np.ndarray, "N"]
    test_images: UInt8[np.ndarray, "T h w"]
    test_labels: Int64[np.ndarray, "T"]


def find_files(folder: Path) -> dict[str, Path]:
    """Standard name -> the file there is for it in ``folder``; names without a file are left out."""
    found = ((name, next((p for p in _variants(folder, name) if p.is_file()), None)) for name in FILES)
    return {name: path for name, path in found if path is not None}


def read_folder(folder: Path, *, name: str, contents: Mapping[str, Content] | None = None) -> FourArrays:
    """Read the four files of ``folder``, checked against ``contents`` (standard name -> content) if given.

    Raises:
        ValueError: naming the file, when one of ``name`` is missing, cut short, altered, or does not fit the others.
    """
    paths = find_files(folder)
    missing = [file for file in FILES if file not in paths]
    if missing:
        raise ValueError(f"need all {len(FILES)} files of {name} in {folder}, got no {missing[0]}")
    train_images, train_labels, test_images, test_labels = (
        read_idx(path, ndim=3 if "images" in file else 1, content=contents[file] if contents else None)
        for file, path in paths.items()
    )
    _check(paths, (train_images, train_labels, test_images, test_labels))
    return FourArrays(train_images, train_labels.astype(np.int64), test_images, test_labels.astype(np.int64))


def _variants(folder: Path, name: str) -> tuple[Path, ...]:
    plain = name.removesuffix(".gz")
    dotted = plain.replace("-idx", ".idx")
    return tuple(folder / variant for variant in (name, plain, f"{dotted}.gz", dotted))


def _check(paths: Mapping[str, Path], arrays: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> None:
    files = [str(path) for path in paths.values()]
    for file, array in zip(files, arrays, strict=True):
        if not array.size:
            raise ValueError(f"need at least one entry in {file}, got sizes {array.shape}")
    for at in (0, 2):
        if len(arrays[at]) != len(arrays[at + 1]):
            counts = f"{len(arrays[at])} images and {len(arrays[at + 1])} labels"
            raise ValueError(f"need as many labels in {files[at + 1]} as images in {files[at]}, got {counts}")
    train, test = arrays[0].shape[1:], arrays[2].shape[1:]
    if train != test:
        raise ValueError(f"need images of one size in {files[0]} and {files[2]}, got {train} and {test}")
