"""The networks: sizes known from elsewhere, features without negatives, and initial weights that learn at any depth."""

import math

import pytest
import torch
from torch import nn

from layerpeel.networks.data.image_set import digits
from layerpeel.networks.measuring.head import find_head
from layerpeel.networks.measuring.tap import FeatureTap
from layerpeel.networks.models.build import MODELS, build_model
from layerpeel.networks.models.etf_classifier import ETFClassifier
from layerpeel.networks.models.layers import kaiming


def build(name, *, seed=0, **options):
    torch.manual_seed(seed)
    return build_model(name, **{"num_classes": 10, "image_size": 28, "width": 1 / 8, **options})


def entries(module):
    return sum(parameter.numel() for parameter in module.parameters())


KNOWN = {  # the convolutions of torchvision's VGGs, and the usual ResNet-18 for CIFAR-10 without its head
    "vgg11": 9_220_480,
    "vgg13": 9_404_992,
    "vgg16": 14_714_688,
    "vgg11-bn": 9_225_984,
    "vgg13-bn": 9_410_880,
    "vgg16-bn": 14_723_136,
    "resnet18": 11_173_962 - 5_130,
    "mlp": 3072 * 512 + 4 * 512 * 512 + 5 * 512,
}


@pytest.mark.parametrize("name", MODELS)
def test_at_full_width_the_parameters_are_those_of_the_known_networks(name):
    with torch.device("meta"):
        model = build_model(name, num_classes=10, image_size=32, channels=3)
    assert entries(model.backbone) == KNOWN[name]
    assert entries(model.head) == 513 * 10


@pytest.mark.parametrize("image_size", [1, 2, 8, 28, 33])
@pytest.mark.parametrize("name", MODELS)
def test_features_of_any_image_size_are_not_negative_and_enter_the_head(name, image_size):
    model = build(name, image_size=image_size, channels=2, num_classes=7).eval()
    images = torch.randn(3, 2, image_size, image_size)
    with FeatureTap(model) as tap:
        logits = model(images)
        assert tap.name == "head"
        assert tap.features.shape == (3, 64)
        assert (tap.features >= 0).all()
        assert (tap.features > 0).any(dim=1).all()
        assert torch.equal(logits, nn.functional.linear(tap.features, tap.classifier, tap.bias))
    assert torch.equal(model.backbone(images), model[0](images))
    assert logits.shape == (3, 7)


@pytest.mark.parametrize("name", ["vgg13", "resnet18", "mlp"])
def test_half_the_width_is_half_the_features_and_about_a_quarter_of_the_parameters(name):
    full, half = build(name, width=0.5), build(name, width=0.25)
    assert full.head.in_features == 256
    assert half.head.in_features == 128
    if name != "mlp":  # whose first layer holds a fixed number of pixels
        assert entries(full.backbone) / entries(half.backbone) == pytest.approx(4, rel=0.02)
    assert build(name, width=1e-6).head.in_features == 1


@pytest.mark.parametrize("image_size", [4, 8, 28])
@pytest.mark.parametrize("name", ["vgg11", "vgg13", "vgg16", "mlp"])
def test_without_normalisation_the_size_of_the_activations_survives_all_layers(name, image_size):
    model = build(name, image_size=image_size, width=1 / 4)
    with torch.no_grad():
        mean_square = model.backbone(torch.randn(64, 1, image_size, image_size)).square().mean().item()
    assert 1 / 8 < mean_square < 64  # by all 9 taps VGG-13 has 0.07 at side 28, 3e-4 at 8


@pytest.mark.parametrize("name", MODELS)
def test_the_first_loss_is_that_of_guessing(name):
    loss = nn.functional.cross_entropy(build(name)(torch.randn(32, 1, 28, 28)), torch.arange(32) % 10)
    assert loss.item() == pytest.approx(math.log(10), abs=0.3)


@pytest.mark.parametrize("name", MODELS)
def test_the_seed_of_torch_decides_the_weights_and_a_fixed_head_leaves_the_backbone_alone(name):
    first, second, other = build(name, seed=1), build(name, seed=1), build(name, seed=2)
    fixed = build(name, seed=1, fixed_etf=True)
    weights = dict(first.named_parameters())
    assert all(torch.equal(weight, weights[key]) for key, weight in second.named_parameters())
    assert not all(
        torch.equal(weight, weights[key]) for key, weight in other.backbone.named_parameters(prefix="backbone")
    )
    assert isinstance(find_head(fixed)[1], ETFClassifier)
    assert all(torch.equal(weight, weights[key]) for key, weight in fixed.named_parameters())


def losses_on_digits(model, *, steps=60, rate=0.01):
    sample = digits().subset(64)
    images = torch.from_numpy(sample.train_pixels()).reshape(-1, 1, 8, 8)
    images = (images - images.mean()) / images.std()
    labels = torch.from_numpy(sample.train_labels)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


@pytest.mark.parametrize(("name", "rate"), [("vgg13", 0.002), ("vgg13-bn", 0.01), ("resnet18", 0.01), ("mlp", 0.01)])
def test_a_few_steps_learn_a_batch(name, rate):
    first, *_, last = losses_on_digits(build(name, image_size=8), rate=rate)
    assert last < 0.5 * first


def test_vgg_without_normalisation_would_not_learn_if_taps_on_the_padding_counted():
    model = build("vgg13", image_size=8)
    for layer in model.backbone:
        if isinstance(layer, nn.Conv2d):
            kaiming(layer)
    first, *_, last = losses_on_digits(model)
    assert last > 0.95 * first


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": "vgg14"}, "need one of the models vgg11, vgg13, .*, mlp, got 'vgg14'"),
        ({"num_classes": 1}, "need num_classes >= 2, got num_classes=1"),
        ({"image_size": 0}, "need image_size > 0, got image_size=0"),
        ({"channels": 0}, "need channels > 0, got channels=0"),
        ({"width": 0.0}, "need width > 0, got width=0.0"),
        ({"width": float("nan")}, "need width > 0, got width=nan"),
    ],
)
def test_wrong_options_say_what_was_needed_and_got(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        build(**{"name": "vgg11", **options})
