"""A multilayer perceptron on the pixels: as many ReLU layers of equal width as make collapse visible."""

from torch import nn

from layerpeel.networks.layers import kaiming, scaled

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
