"""A training run of milliseconds: noisy images of three patterns, and a small network with batch norm."""

import numpy as np
import torch
from torch import nn

from layerpeel.networks.data.image_set import ImageSet
from layerpeel.networks.training.plan import Plan

K, SIDE = 3, 4


def tiny_images(train=61, test=20, *, seed=0):
    """Odd sizes, so that batches and shares of ranks are uneven."""
    rng = np.random.default_rng(seed)
    patterns = rng.integers(0, 128, size=(K, SIDE, SIDE))

    def draw(size):
        labels = rng.integers(0, K, size=size)
        noise = rng.integers(0, 128, size=(size, SIDE, SIDE))
        return (patterns[labels] + noise).astype(np.uint8), labels.astype(np.int64)

    return ImageSet("tiny", "noisy patterns", *draw(train), *draw(test), class_names=("a", "b", "c"))


def tiny_network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * SIDE**2, 5),
        nn.ReLU(),
        nn.Linear(5, K),
    )


def tiny_plan(**settings):
    return Plan(**{"epochs": 6, "batch": 16, "learning_rate": 0.05, "device": "cpu"} | settings)


def normalised(images, grey, dtype=torch.float64):
    pixels = images.train_images.astype(np.float64)
    return torch.from_numpy((grey - pixels.mean()) / pixels.std())[:, None].to(dtype)
