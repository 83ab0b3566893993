"""Images in the memory of the device, as bytes; a batch is an index into them, normalised on the way out.

Invariant: what a batch holds depends on the index alone: (pixel - mean) / std with the mean and the standard deviation
of all TRAINING pixels, for training and test images alike. No loader processes, no augmentation.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from layerpeel.networks.data.image_set import ImageSet
from layerpeel.networks.training.ranks import Ranks

__all__ = ["Resident", "epoch_order", "resident"]

WALKED = {"cpu": 128, "cuda": 4096}
"""Images of a batch that is only looked at: on a CPU so many stay in its cache, a GPU wants more."""


@dataclass(frozen=True)
class Resident:
    """N images with their labels on a device; iterating walks over them in their order, in batches (x, y)."""

    images: UInt8[Tensor, "N 1 h w"]
    labels: Int64[Tensor, "N"]
    centre: float
    spread: float
    dtype: torch.dtype
    memory_format: torch.memory_format

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Int64[Tensor, "B"]) -> tuple[Float[Tensor, "B 1 h w"], Int64[Tensor, "B"]]:
        """The images and labels of that index."""
        return self._normalised(self.images.index_select(0, index)), self.labels.index_select(0, index)

    def share(self, ranks: Ranks) -> "Resident":
        """The images of this rank in a walk of all ranks."""
        return replace(self, images=ranks.share(self.images), labels=ranks.share(self.labels))

    def __iter__(self) -> Iterator[tuple[Float[Tensor, "B 1 h w"], Int64[Tensor, "B"]]]:
        size = WALKED[self.labels.device.type]
        for images, labels in zip(self.images.split(size), self.labels.split(size), strict=True):
            yield self._normalised(images), labels

    def _normalised(self, images: UInt8[Tensor, "B 1 h w"]) -> Float[Tensor, "B 1 h w"]:
        x = images.to(self.dtype).sub_(self.centre).div_(self.spread)
        return x.contiguous(memory_format=self.memory_format)


def resident(
    images: ImageSet, device: torch.device, *, dtype: torch.dtype, channels_last: bool
) -> tuple[Resident, Resident]:
    """The training and the test images on ``device``."""
    pixels = images.train_images
    centre, spread = float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))

    def placed(grey: UInt8[np.ndarray, "N h w"], labels: Int64[np.ndarray, "N"]) -> Resident:
        return Resident(
            images=torch.from_numpy(grey.copy())[:, None].to(device),
            labels=torch.from_numpy(labels.copy()).to(device),
            centre=centre,
            spread=spread or 1.0,
            dtype=dtype,
            memory_format=torch.channels_last if channels_last else torch.contiguous_format,
        )

    return placed(pixels, images.train_labels), placed(images.test_images, images.test_labels)


def epoch_order(samples: int, *, seed: int, epoch: int) -> Int64[Tensor, "N"]:
    """The order of the samples in that epoch: a function of the seed and the epoch, so that nothing has to be kept."""
    return torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(samples))
