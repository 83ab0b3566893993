"""Image sets: FashionMNIST where it is found, the digits embedded in scikit-learn everywhere else, or any MNIST-format.

FashionMNIST is looked for in the folder given, in ``$LAYERPEEL_DATA`` and in the user's cache, in this order;
in each it may be the folder itself or its subfolder ``fashion-mnist``. Its four files are checked byte by byte.
``mnist-format`` is whatever such files the folder given holds, called by the folder's name and checked for
agreement among themselves only.

Invariant: an :class:`ImageSet` says in ``name`` and ``source`` what it really is, so that digits or files of
unknown content are never taken for FashionMNIST. Nothing here downloads (:mod:`layerpeel.networks.data.fetch` does).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from layerpeel.networks.data.idx import Content
from layerpeel.networks.data.mnist_format import find_files, read_folder
from layerpeel.rings import require

__all__ = ["ImageSet", "digits", "find_images", "images", "is_searched", "search_path"]

FASHION_MNIST = {
    "train-images-idx3-ubyte.gz": Content(
        47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
    ),
    "train-labels-idx1-ubyte.gz": Content(60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "t10k-images-idx3-ubyte.gz": Content(7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "t10k-labels-idx1-ubyte.gz": Content(10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}
"""File -> its content, uncompressed."""

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

    def subset(self, samples: int, *, seed: int = 0, balanced: bool = False) -> "ImageSet":
        """The same set with ``samples`` random train images in random order (all if there are fewer).

        ``balanced`` takes equally many of every class, n = ``samples`` / K, as the theory of the ETF supposes;
        for the same seed a larger subset contains the smaller one, balanced or not.

        Raises:
            ValueError: for samples < 1; balanced, when K does not divide ``samples`` or a class has fewer than n.
        """
        if samples < 1:
            raise ValueError(f"need samples >= 1, got samples={samples}")
        order = np.random.default_rng(seed).permutation(len(self.train_labels))
        if balanced:
            n = _equal_share(samples, self._class_sizes())
            order = order[_first_of_each(self.train_labels[order], [n] * self.num_classes)]
        return self._chosen(order[:samples])

    def test_subset(self, samples: int, *, seed: int = 0) -> "ImageSet":
        """The same set with ``samples`` random test images (all if there are fewer).

        Raises:
            ValueError: for samples < 1.
        """
        if samples < 1:
            raise ValueError(f"need samples >= 1, got samples={samples}")
        order = np.random.default_rng(seed).permutation(len(self.test_labels))[:samples]
        return replace(self, test_images=self.test_images[order], test_labels=self.test_labels[order])

    def imbalanced(self, ratio: float | int, *, minority: int | None = None, seed: int = 0) -> "ImageSet":
        """The same set with step imbalance R = ``ratio``: n_B = round(n_A / R) train images in each minority class.

        The K_B = ``minority`` LAST classes (by default K // 2) are the minority; of the n_A images a minority class
        has, n_B >= 1 random ones stay. All others stay, in their order, so that R = 1 gives the set back; for the
        same seed a larger R keeps a part of what a smaller one keeps. The test set is unchanged.

        Take :meth:`subset` first and with ``balanced=True``, so that n_A is one number, as the theory supposes.

        Raises:
            ValueError: for R < 1 or not finite, or not 0 < minority < K.

        Source: Fang, He, Long and Su, "Exploring deep neural networks via layer-peeled model", PNAS 2021.
        """
        K = self.num_classes
        minority = K // 2 if minority is None else minority
        if not 1 <= ratio < np.inf:
            raise ValueError(f"need a finite imbalance ratio R >= 1, got ratio={ratio}")
        if not 0 < minority < K:
            raise ValueError(f"need 0 < minority < K = {K} classes, got minority={minority}")
        sizes = [n_A if k < K - minority else max(1, round(n_A / ratio)) for k, n_A in enumerate(self._class_sizes())]
        order = np.random.default_rng(seed).permutation(len(self.train_labels))
        kept = _first_of_each(self.train_labels[order], sizes)
        return self._chosen(np.sort(order[kept]))

    def _class_sizes(self) -> list[int]:
        return np.bincount(self.train_labels, minlength=self.num_classes).tolist()

    def _chosen(self, at: Int64[np.ndarray, "M"]) -> "ImageSet":
        return replace(self, train_images=self.train_images[at], train_labels=self.train_labels[at])


def images(name: str | None = None, *, data_dir: str | os.PathLike[str] | None = None) -> ImageSet:
    """The image set ``fashion-mnist``, ``digits`` or ``mnist-format``; by default FashionMNIST if found, else digits.

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
    """``fashion-mnist`` from the first folder of the search order that has it, or ``mnist-format`` from ``data_dir``.

    Raises:
        FileNotFoundError: when no folder has it, with the folders.
        ValueError: for another name, no ``data_dir`` for mnist-format, or files that are missing, cut short,
            altered, or that do not fit each other.
    """
    if name == "mnist-format":
        return _mnist_format(data_dir)
    if name != "fashion-mnist":
        raise ValueError(
            f"need one of the image sets 'fashion-mnist', 'digits' and 'mnist-format' (in a folder given), got {name!r}"
        )
    folder = _folder(data_dir)
    if folder is None:
        looked = ", ".join(str(root) for root in search_path(data_dir))
        raise FileNotFoundError(
            f"fashion-mnist was found in none of {looked}: give its folder, set LAYERPEEL_DATA, "
            "or download it with `layerpeel data fetch fashion-mnist`"
        )
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


def is_searched(folder: str | os.PathLike[str]) -> bool:
    """Whether the search order, without a folder given, looks into ``folder``."""
    looked = (place.resolve() for root in search_path() for place in (root, root / "fashion-mnist"))
    return Path(folder).resolve() in looked


def _folder(data_dir: str | os.PathLike[str] | None) -> Path | None:
    candidates = (folder for root in search_path(data_dir) for folder in (root, root / "fashion-mnist"))
    return next((folder for folder in candidates if find_files(folder)), None)


def _fashion_mnist(folder: Path) -> ImageSet:
    return ImageSet(
        name="fashion-mnist",
        source="FashionMNIST, 28 x 28 articles of clothing (Xiao, Rasul and Vollgraf 2017; MIT, Zalando SE)",
        class_names=FASHION_CLASSES,
        **vars(read_folder(folder, name="fashion-mnist", contents=FASHION_MNIST)),
    )


def _mnist_format(data_dir: str | os.PathLike[str] | None) -> ImageSet:
    """K = the largest label + 1; classes are called by their numbers."""
    if data_dir is None:
        raise ValueError("need data_dir, the folder of the four files, for mnist-format, got none")
    folder = Path(data_dir).expanduser().resolve()
    if not find_files(folder):
        raise FileNotFoundError(
            f"need the four files of mnist-format (train-images-idx3-ubyte.gz ...) in {folder}, got a folder without"
        )
    arrays = read_folder(folder, name="mnist-format")
    num_classes = 1 + int(max(arrays.train_labels.max(), arrays.test_labels.max()))
    known = folder.name in ("fashion-mnist", "digits")  # names that stand for a content that was not checked here
    return ImageSet(
        name=f"{folder.name} (mnist-format)" if known else folder.name or "mnist-format",
        source=f"MNIST-format files of {folder}, no checksum known",
        class_names=tuple(str(k) for k in range(num_classes)),
        **vars(arrays),
    )


def _equal_share(samples: int, class_sizes: Sequence[int]) -> int:
    """n = samples / K."""
    n, left = divmod(samples, len(class_sizes))
    if left:
        raise ValueError(f"need a multiple of K = {len(class_sizes)} samples for a balanced subset, got {samples}")
    smallest = int(np.argmin(class_sizes))
    if class_sizes[smallest] < n:
        raise ValueError(f"need {n} images of every class, got {class_sizes[smallest]} of class {smallest}")
    return n


def _first_of_each(labels: Int64[np.ndarray, "N"], sizes: Sequence[int]) -> Int64[np.ndarray, "M"]:
    """Positions, in their order, of the first sizes[k] samples of every class k."""
    return np.sort(np.concatenate([np.flatnonzero(labels == k)[:size] for k, size in enumerate(sizes)]))


def _pixels(images: UInt8[np.ndarray, "N h w"], levels: int) -> Float32[np.ndarray, "N p"]:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(levels)
