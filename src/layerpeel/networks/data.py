"""Image sets: FashionMNIST where it is found, the digits embedded in scikit-learn everywhere else.

FashionMNIST is looked for in the folder given, in ``$LAYERPEEL_DATA`` and in the user's cache, in this order;
in each it may be the folder itself or its subfolder ``fashion-mnist``. Its four files are checked byte by byte.

Invariant: an :class:`ImageSet` says in ``name`` and ``source`` what it really is, so that digits are never
taken for FashionMNIST. Nothing here downloads.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from layerpeel.networks.idx import read_idx
from layerpeel.rings import require

__all__ = ["ImageSet", "digits", "find_images", "images", "search_path"]

FASHION_MNIST = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""File -> SHA-256 of its uncompressed bytes."""

FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


@dataclass(frozen=True)
class ImageSet:
    """Grey images of K classes for training (N) and for test (T): entries 0 .. ``levels``, labels 0 .. K-1."""

    name: str
    source: str
    train_images: UInt8[np.ndarray, "N h w"]
    train_labels: Int64[np.ndarray, "N"]
    test_images: UInt8[np.ndarray, "T h w"]
    test_labels: Int64[np.ndarray, "T"]
    class_names: tuple[str, ...]
    levels: int = 255

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.class_names)

    def train_pixels(self) -> Float32[np.ndarray, "N p"]:
        """Train images as vectors with entries in [0, 1]: the features of no network at all."""
        return _pixels(self.train_images, self.levels)

    def test_pixels(self) -> Float32[np.ndarray, "T p"]:
        """Test images as vectors with entries in [0, 1]."""
        return _pixels(self.test_images, self.levels)

    def subset(self, samples: int, *, seed: int = 0) -> "ImageSet":
        """The same set with ``samples`` random train images in random order (all if there are fewer)."""
        if samples < 1:
            raise ValueError(f"need samples >= 1, got samples={samples}")
        chosen = np.random.default_rng(seed).permutation(len(self.train_labels))[:samples]
        return replace(self, train_images=self.train_images[chosen], train_labels=self.train_labels[chosen])


def images(name: str | None = None, *, data_dir: str | os.PathLike[str] | None = None) -> ImageSet:
    """The image set called ``name``; without a name FashionMNIST if it is found, else digits.

    A ``data_dir`` given by hand and found empty is an error, never a silent step back to digits.

    Raises:
        FileNotFoundError: as :func:`find_images`.
        ValueError: for another name, or files that are not what they should be.
    """
    if name == "digits":
        return digits()
    if name is None and data_dir is None and _folder(None) is None:
        return digits()
    return find_images(name or "fashion-mnist", data_dir=data_dir)


def find_images(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> ImageSet:
    """The image set ``fashion-mnist``, read from the first folder of the search order that has it.

    Raises:
        FileNotFoundError: when no folder has it, with the folders.
        ValueError: for another name, or files that are missing, cut short or altered.
    """
    if name != "fashion-mnist":
        raise ValueError(f"need one of the image sets 'fashion-mnist' and 'digits', got {name!r}")
    folder = _folder(data_dir)
    if folder is None:
        looked = ", ".join(str(root) for root in search_path(data_dir))
        raise FileNotFoundError(f"fashion-mnist was found in none of {looked}: give its folder or set LAYERPEEL_DATA")
    return _fashion_mnist(folder)


def digits() -> ImageSet:
    """The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn carries, a fixed quarter for test.

    Raises:
        MissingRing: without scikit-learn.
    """
    bunch = require("sklearn.datasets").load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    test, train = np.split(order, [len(order) // 4])
    grey, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
    return ImageSet(
        name="digits",
        source="8 x 8 handwritten digits of scikit-learn (UCI, Alpaydin and Kaynak 1998; not MNIST)",
        train_images=grey[train],
        train_labels=labels[train],
        test_images=grey[test],
        test_labels=labels[test],
        class_names=tuple(str(name) for name in bunch.target_names),
        levels=16,
    )


def search_path(data_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """Folders in which image sets are looked for: ``data_dir``, ``$LAYERPEEL_DATA``, the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "layerpeel"
    wanted = [data_dir, os.environ.get("LAYERPEEL_DATA"), cache]
    return [Path(folder).expanduser() for folder in wanted if folder]


def _folder(data_dir: str | os.PathLike[str] | None) -> Path | None:
    candidates = (folder for root in search_path(data_dir) for folder in (root, root / "fashion-mnist"))
    return next((folder for folder in candidates if any(_files(folder))), None)


def _files(folder: Path) -> Iterator[bool]:
    return ((folder / name).is_file() for name in FASHION_MNIST)


def _fashion_mnist(folder: Path) -> ImageSet:
    missing = [name for name, there in zip(FASHION_MNIST, _files(folder), strict=True) if not there]
    if missing:
        raise ValueError(f"need all {len(FASHION_MNIST)} files of fashion-mnist in {folder}, got no {missing[0]}")
    train_images, train_labels, test_images, test_labels = (
        read_idx(folder / name, ndim=3 if "images" in name else 1, sha256=sha256)
        for name, sha256 in FASHION_MNIST.items()
    )
    return ImageSet(
        name="fashion-mnist",
        source="FashionMNIST, 28 x 28 articles of clothing (Xiao, Rasul and Vollgraf 2017; MIT, Zalando SE)",
        train_images=train_images,
        train_labels=train_labels.astype(np.int64),
        test_images=test_images,
        test_labels=test_labels.astype(np.int64),
        class_names=FASHION_CLASSES,
    )


def _pixels(images: UInt8[np.ndarray, "N h w"], levels: int) -> Float32[np.ndarray, "N p"]:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(levels)
