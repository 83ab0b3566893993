"""What the layers of all networks here share: how wide they are, and their initial weights."""

from typing import TypeVar

from torch import nn

__all__ = ["kaiming", "scaled"]

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def scaled(channels: int, width: float) -> int:
    """``width`` times so many channels, at least one."""
    return max(1, round(width * channels))


def kaiming(layer: Layer, *, fan_in: float | None = None) -> Layer:
    """The layer with normal weights of variance 2/fan_in and biases zero, before a ReLU (He et al. 2015).

    Then the mean square of the activations is the same in all layers, if ``fan_in`` is the number of inputs that
    an output really has: by default all that the weight has room for.
    """
    fan_in = fan_in or layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=(2 / fan_in) ** 0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
