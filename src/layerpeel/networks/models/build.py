"""Networks for images of about 28 x 28 pixels, each a ``backbone`` x -> h and a ``head`` h -> W h + b.

Invariant: the features h [B, d] that enter the head are the output of a ReLU or a mean of such, so none is negative.
The initial weights are drawn from torch's global generator (``torch.manual_seed`` before :func:`build_model`), the
head's last, so that the backbone is the same with a fixed head. Convolutions start as :func:`kaiming` draws them,
normalisations as the identity, a learned head near zero.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from torch import nn

from layerpeel.networks.models.etf_classifier import ETFClassifier
from layerpeel.networks.models.mlp import mlp
from layerpeel.networks.models.resnet import resnet18
from layerpeel.networks.models.vgg import VGG_LAYERS, vgg

__all__ = ["MODELS", "Architecture", "architecture", "build_model"]


@dataclass(frozen=True)
class Architecture:
    """A kind of network.

    Attributes:
        title: what figures call it.
        about: its layers, in a few words.
        backbone: (channels, image_size, width), by keyword -> the layers up to the features, and d, their number.
    """

    title: str
    about: str
    backbone: Callable[..., tuple[nn.Sequential, int]]


def _vgg(name: str, *, batch_norm: bool) -> Architecture:
    layers = VGG_LAYERS[name]
    title = name.upper().replace("VGG", "VGG-")
    return Architecture(
        title=f"{title} with batch normalisation" if batch_norm else title,
        about=f"{sum(layers)} convolutions" + ("" if batch_norm else ", no normalisation"),
        backbone=partial(vgg, layers, batch_norm=batch_norm),
    )


MODELS = MappingProxyType(
    {
        **{name: _vgg(name, batch_norm=False) for name in VGG_LAYERS},
        **{f"{name}-bn": _vgg(name, batch_norm=True) for name in VGG_LAYERS},
        "resnet18": Architecture("ResNet-18 with a 3 x 3 stem and no max-pooling", "17 convolutions", resnet18),
        "mlp": Architecture("perceptron with 5 ReLU layers of 512 units", "no normalisation", mlp),
    }
)
"""Name -> what it is."""


def architecture(name: str) -> Architecture:
    """The entry ``name`` of :data:`MODELS`.

    Raises:
        ValueError: for another name.
    """
    if name not in MODELS:
        raise ValueError(f"need one of the models {', '.join(MODELS)}, got {name!r}")
    return MODELS[name]


def build_model(
    name: str,
    *,
    num_classes: int,
    image_size: int,
    channels: int = 1,
    width: float = 1.0,
    fixed_etf: bool = False,
) -> nn.Sequential:
    """The network ``name`` of :data:`MODELS` for images (B, channels, image_size, image_size), freshly initialised.

    Args:
        name: one of :data:`MODELS`.
        num_classes: K.
        image_size: side of the images in pixels; at least 1.
        channels: of the images.
        width: scales the channels of all layers, so about width^2 the parameters.
        fixed_etf: take an :class:`ETFClassifier` as the head.

    Raises:
        ValueError: for another name, or a size that is not positive.
    """
    kind = architecture(name)
    _check(num_classes=num_classes, image_size=image_size, channels=channels, width=width)
    backbone, features = kind.backbone(channels=channels, image_size=image_size, width=width)
    head = ETFClassifier(features, num_classes) if fixed_etf else _learned(features, num_classes)
    return nn.Sequential(OrderedDict(backbone=backbone, head=head))


def _learned(features: int, num_classes: int) -> nn.Linear:
    """A head that starts near zero: the first loss is about log K at any width, the first steps do not overshoot."""
    head = nn.Linear(features, num_classes)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    return head


def _check(**sizes: int | float) -> None:
    for size, value in sizes.items():
        least = 2 if size == "num_classes" else 0
        if not (value >= least and value > 0):
            raise ValueError(f"need {size} {f'>= {least}' if least else '> 0'}, got {size}={value}")
