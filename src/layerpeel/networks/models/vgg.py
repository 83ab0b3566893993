"""VGG for small images (Simonyan and Zisserman 2015): 3 x 3 convolutions with ReLU in five blocks, then the mean.

A block halves the side by max-pooling while there is more than one pixel: 28 -> 14 -> 7 -> 3 -> 1. The mean over
what is left gives the features: 512 * width numbers, none negative. One linear layer follows, instead of the three
of the original, which are made for 7 x 7 pixels and 1,000 classes.

On small images most of a kernel may lie on the padding: at side s an average of (3 - 2/s)^2 of its 9 taps meet the
image, and only the middle one at s = 1. The initial weights count those alone. By the usual count of all 9 the
features of VGG-13 start 21 times too small, and without normalisation it does not learn for many epochs.
"""

from collections.abc import Iterator

from torch import nn

from layerpeel.networks.models.layers import kaiming, scaled

__all__ = ["VGG_LAYERS", "vgg"]

CHANNELS = (64, 128, 256, 512, 512)
VGG_LAYERS = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3)}
"""Name -> convolutions in each of the five blocks; the number in the name counts the original's linear layers too."""


def vgg(
    layers: tuple[int, ...], *, channels: int, image_size: int, width: float, batch_norm: bool
) -> tuple[nn.Sequential, int]:
    """The layers up to the features, and d, their number."""
    modules: list[nn.Module] = []
    side = image_size
    for number, full in zip(layers, CHANNELS, strict=True):
        for _ in range(number):
            modules += _convolution(channels, scaled(full, width), side, batch_norm)
            channels = scaled(full, width)
        if side > 1:
            modules.append(nn.MaxPool2d(2))
            side //= 2
    return nn.Sequential(*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten()), channels


def _convolution(inputs: int, outputs: int, side: int, batch_norm: bool) -> Iterator[nn.Module]:
    yield kaiming(nn.Conv2d(inputs, outputs, 3, padding=1), fan_in=inputs * (3 - 2 / side) ** 2)
    if batch_norm:
        yield nn.BatchNorm2d(outputs)
    yield nn.ReLU(inplace=True)
