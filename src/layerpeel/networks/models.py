"""Networks for images of about 28 x 28 pixels, each a ``backbone`` x -> h and a ``head`` h -> W h + b.

Invariant: the features h [B, d] that enter the head are the output of a ReLU or a mean of such, so none is negative.
The initial weights are drawn from torch's global generator (``torch.manual_seed`` before :func:`build_model`), the
head's last, so that the backbone is the same with a fixed head. Convolutions start as :func:`kaiming` draws them,
normalisations as the identity, a learned head near zero.
"""

from collections import OrderedDict
from types import MappingProxyType

from torch import nn

from layerpeel.networks.etf_classifier import ETFClassifier
from layerpeel.networks.mlp import mlp
from layerpeel.networks.resnet import resnet18
from layerpeel.networks.vgg import VGG_LAYERS, vgg

__all__ = ["MODELS", "build_model"]

MODELS = MappingProxyType(
    {
        "vgg11": "VGG-11: 8 convolutions, no normalisation",
        "vgg13": "VGG-13: 10 convolutions, no normalisation",
        "vgg16": "VGG-16: 13 convolutions, no normalisation",
        "vgg11-bn": "VGG-11 with batch normalisation",
        "vgg13-bn": "VGG-13 with batch normalisation",
        "vgg16-bn": "VGG-16 with batch normalisation",
        "resnet18": "ResNet-18 with a 3 x 3 stem and no max-pooling",
        "mlp": "perceptron with 5 ReLU layers of 512 units",
    }
)
"""Name -> what it is."""


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
    _check(name, num_classes=num_classes, image_size=image_size, channels=channels, width=width)
    backbone, features = _backbone(name, channels, image_size, width)
    head = ETFClassifier(features, num_classes) if fixed_etf else _learned(features, num_classes)
    return nn.Sequential(OrderedDict(backbone=backbone, head=head))


def _learned(features: int, num_classes: int) -> nn.Linear:
    """A head that starts near zero: the first loss is about log K at any width, the first steps do not overshoot."""
    head = nn.Linear(features, num_classes)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    return head


def _backbone(name: str, channels: int, image_size: int, width: float) -> tuple[nn.Sequential, int]:
    if name == "mlp":
        return mlp(channels=channels, image_size=image_size, width=width)
    if name == "resnet18":
        return resnet18(channels=channels, width=width)
    kind, _, norm = name.partition("-")
    return vgg(VGG_LAYERS[kind], channels=channels, image_size=image_size, width=width, batch_norm=norm == "bn")


def _check(name: str, **sizes: int | float) -> None:
    if name not in MODELS:
        raise ValueError(f"need one of the models {', '.join(MODELS)}, got {name!r}")
    for size, value in sizes.items():
        least = 2 if size == "num_classes" else 0
        if not (value >= least and value > 0):
            raise ValueError(f"need {size} {f'>= {least}' if least else '> 0'}, got {size}={value}")
