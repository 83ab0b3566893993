"""Features of a trained network: they and the head reproduce the network, and they are collapsed."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.neural_network import MLPClassifier

from layerpeel.networks import perceptron as features
from layerpeel.networks.data import image_set as data
from layerpeel.networks.data.image_set import ImageSet


@pytest.fixture(scope="module")
def digits():
    return data.digits()


@pytest.fixture(scope="module")
def trained(digits):
    return features.fit_mlp(digits)


def within_class_variation(vectors, labels):
    """Panel (b) of METRICS, straight from its formula."""
    means = np.stack([vectors[labels == k].mean(axis=0) for k in np.unique(labels)])
    within = np.linalg.norm(vectors - means[labels], axis=1).mean()
    return within / np.linalg.norm(vectors - means.mean(axis=0), axis=1).mean()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_classes", [2, 3, 5])
@pytest.mark.parametrize("hidden", [(6,), (9, 4)])
def test_head_applied_to_features_is_what_the_network_predicts(dtype, num_classes, hidden):
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(60, 8)).astype(dtype), np.arange(60) % num_classes
    network = MLPClassifier(hidden, solver="lbfgs", random_state=0, max_iter=15000).fit(inputs, labels)
    classifier, bias = features.head(network)
    probabilities = softmax(features.penultimate(network, inputs) @ classifier.T + bias, axis=1)
    assert classifier.shape == (num_classes, hidden[-1])
    np.testing.assert_allclose(probabilities, network.predict_proba(inputs), atol=1e-6)


def test_trained_head_classifies_its_features_with_the_accuracies_it_states(trained, digits):
    for part in ("train", "test"):
        h, labels = getattr(trained, f"{part}_features"), getattr(trained, f"{part}_labels")
        predicted = np.argmax(h @ trained.classifier.T + trained.bias, axis=1)
        assert np.mean(predicted == labels) == getattr(trained, f"{part}_accuracy")
        assert (h >= 0).all()
    assert np.array_equal(trained.train_labels, digits.subset(5000, seed=0).train_labels)
    assert np.array_equal(trained.test_labels, digits.test_labels)


def test_features_of_digits_are_collapsed_far_below_their_pixels(trained, digits):
    assert trained.train_accuracy == 1
    assert trained.test_accuracy > 0.95
    pixels = within_class_variation(digits.train_pixels(), digits.train_labels)
    assert within_class_variation(trained.train_features, trained.train_labels) < 0.5 * pixels
    assert within_class_variation(trained.test_features, trained.test_labels) < 0.5 * pixels
    assert trained.about == (
        "perceptron with ReLU layers 128-128-128-128-128, 100 epochs of SGD on 1,348 images of digits: "
        f"accuracy 100.00% on them, {trained.test_accuracy:.2%} on the test set"
    )


def test_training_is_reproducible_by_its_seed_and_reports_every_epoch(digits):
    done = []
    options = {"hidden": (8,), "samples": 200, "epochs": 4}
    first = features.fit_mlp(digits, **options, seed=1, progress=lambda *epoch: done.append(epoch))
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert first.train_features.shape == (200, 8)
    assert np.array_equal(first.train_features, features.fit_mlp(digits, **options, seed=1).train_features)
    assert not np.array_equal(first.classifier, features.fit_mlp(digits, **options, seed=2).classifier)


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 90])
def test_the_rate_changes_at_the_start_and_after_each_third(epochs):
    rates = [features._new_rate(epoch, epochs) for epoch in range(epochs)]
    changes = {epoch: rate for epoch, rate in enumerate(rates) if rate is not None}
    thirds = {-(-epochs * third // 3): features.RATE * (1.0, *features.CUTS)[third] for third in range(3)}
    assert changes == {epoch: rate for epoch, rate in thirds.items() if epoch < epochs}


def test_two_classes_and_constant_images_are_trained_on():
    images = np.zeros((8, 2, 2), np.uint8)
    labels = np.arange(8) % 2
    black = ImageSet("black", "nothing to see", images, labels, images, labels, ("even", "odd"))
    trained = features.fit_mlp(black, hidden=(3,), epochs=2)
    assert trained.classifier.shape == (2, 3)
    assert trained.train_accuracy == 0.5


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"hidden": ()}, r"need at least one hidden layer, each of width >= 1, got hidden=\(\)"),
        ({"hidden": (5, 0)}, r"need at least one hidden layer, each of width >= 1, got hidden=\(5, 0\)"),
        ({"epochs": 0}, "need epochs >= 1, got epochs=0"),
        ({"samples": 0}, "need samples >= 1, got samples=0"),
        ({"samples": 5}, "need an image of every class among the 5 to train on, got none of class"),
    ],
)
def test_wrong_options_say_what_was_needed_and_got(digits, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        features.fit_mlp(digits, **options)


@pytest.mark.slow
@pytest.mark.skipif(data._folder(None) is None, reason="FashionMNIST is not found by the search order")
def test_features_of_fashion_mnist_are_collapsed_below_half_of_their_pixels():
    fashion = data.find_images("fashion-mnist")
    trained = features.fit_mlp(fashion)
    chosen = fashion.subset(5000, seed=0)
    assert trained.train_accuracy > 0.999
    assert trained.test_accuracy > 0.82
    pixels = within_class_variation(chosen.train_pixels(), chosen.train_labels)
    assert within_class_variation(trained.train_features, trained.train_labels) < 0.5 * pixels
