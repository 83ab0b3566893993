"""A perceptron on the pixels: five ReLU layers of 512 * width units each, the last of which gives the features."""

from torch import nn

from layerpeel.networks.models.layers import kaiming, scaled

__all__ = ["mlp"]

HIDDEN = 5
UNITS = 512


def mlp(*, channels: int, image_size: int, width: float) -> tuple[nn.Sequential, int]:
    """The layers up to the features, and d, their number."""
    units = scaled(UNITS, width)
    layers: list[nn.Module] = [nn.Flatten()]
    before = channels * image_size**2
    for _ in range(HIDDEN):
        layers += [kaiming(nn.Linear(before, units)), nn.ReLU(inplace=True)]
        before = units
    return nn.Sequential(*layers), units
