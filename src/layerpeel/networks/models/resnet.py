"""ResNet-18 for small images (He et al. 2016): a stem of 3 x 3 pixels with stride 1, no max-pooling.

Four stages of two residual blocks, the last three of which halve the side, rounding up: 28 -> 14 -> 7 -> 4.
The mean over what is left gives the features: 512 * width numbers, none negative.
"""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from layerpeel.networks.models.layers import kaiming, scaled

__all__ = ["resnet18"]

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels and stride of each stage."""


def resnet18(*, channels: int, image_size: int, width: float) -> tuple[nn.Sequential, int]:
    """The layers up to the features, and d, their number; they are the same for every ``image_size``."""
    before = scaled(STAGES[0][0], width)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        stem=nn.Sequential(_convolution(channels, before, 3, 1), nn.BatchNorm2d(before), nn.ReLU(inplace=True))
    )
    for number, (full, stride) in enumerate(STAGES, start=1):
        out = scaled(full, width)
        layers[f"stage{number}"] = nn.Sequential(ResidualBlock(before, out, stride), ResidualBlock(out, out, 1))
        before = out
    layers["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(layers), before


class ResidualBlock(nn.Module):
    """relu(f(x) + x), f two convolutions with batch normalisation; x by a 1 x 1 convolution where sizes change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _convolution(inputs, outputs, 3, stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            _convolution(outputs, outputs, 3, 1),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(_convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Float[Tensor, "B c h w"]) -> Float[Tensor, "B C H W"]:
        """The block's output."""
        return nn.functional.relu(self.residual(x) + self.shortcut(x))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    return kaiming(nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False))
