"""Penultimate features and head of a small network trained on images, with scikit-learn alone.

The network is a multilayer perceptron x -> h -> W h + b with ReLU layers; h [d] is what enters the last
linear layer, W [K, d] and b [K] are that layer. It is trained by the field's recipe (cross-entropy, SGD with
momentum 0.9, weight decay, the rate cut twice) to zero training error and on, where collapse becomes visible.
One thread, float32, and the same numbers for the same seed.

Depth is what shows collapse in so short a run (two layers keep 0.56 of the spread within classes on FashionMNIST,
five keep 0.33); much weight decay on a deep network favours features of low rank, not the ETF, hence so little.

Not a benchmark of accuracy: a few thousand images, no augmentation, no convolution.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int64
from threadpoolctl import threadpool_limits

from layerpeel.networks.data.image_set import ImageSet
from layerpeel.rings import require

__all__ = ["TrainedHead", "fit_mlp", "head", "penultimate"]

MOMENTUM = 0.9
BATCH = 64
WEIGHT_DECAY = 3e-4
RATE = 0.07
CUTS = (0.3, 0.09)
"""Factors of the rate from one third and from two thirds of the epochs on."""


@dataclass(frozen=True)
class TrainedHead:
    """What a trained network hands to the measurement: features h_i with their labels, and the head W, b."""

    about: str
    train_features: Float32[np.ndarray, "N d"]
    train_labels: Int64[np.ndarray, "N"]
    test_features: Float32[np.ndarray, "T d"]
    test_labels: Int64[np.ndarray, "T"]
    classifier: Float32[np.ndarray, "K d"]
    bias: Float32[np.ndarray, "K"]
    train_accuracy: float
    test_accuracy: float
    epochs: int


def fit_mlp(
    images: ImageSet,
    *,
    hidden: Sequence[int] = (128, 128, 128, 128, 128),
    samples: int = 5000,
    epochs: int = 100,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> TrainedHead:
    """Train a ReLU network on ``images.subset(samples, seed=seed)``; the last of ``hidden`` is d.

    ``progress(epoch, epochs)`` is called after every epoch.

    Raises:
        ValueError: for no hidden layer, an empty one, epochs < 1, or a class without an image.
        MissingRing: without scikit-learn.
    """
    _check(hidden, epochs)
    chosen = images.subset(samples, seed=seed)
    _check_classes(chosen)
    pixels = chosen.train_pixels()
    centre, spread = pixels.mean(), max(pixels.std(), np.finfo(np.float32).tiny)
    train, test = (pixels - centre) / spread, (chosen.test_pixels() - centre) / spread
    network = _train(train, chosen.train_labels, tuple(hidden), epochs, seed, progress)
    classifier, bias = head(network)
    train_accuracy = float(network.score(train, chosen.train_labels))
    test_accuracy = float(network.score(test, chosen.test_labels))
    return TrainedHead(
        about=_about(chosen, hidden, epochs, train_accuracy, test_accuracy),
        train_features=penultimate(network, train),
        train_labels=chosen.train_labels,
        test_features=penultimate(network, test),
        test_labels=chosen.test_labels,
        classifier=classifier,
        bias=bias,
        train_accuracy=train_accuracy,
        test_accuracy=test_accuracy,
        epochs=epochs,
    )


def penultimate(network: Any, inputs: Float[np.ndarray, "N p"]) -> Float[np.ndarray, "N d"]:
    """h_i: the output of the last hidden ReLU layer of a fitted MLPClassifier."""
    h = inputs
    for weights, offsets in zip(network.coefs_[:-1], network.intercepts_[:-1], strict=True):
        h = np.maximum(h @ weights + offsets, 0)
    return h


def head(network: Any) -> tuple[Float[np.ndarray, "K d"], Float[np.ndarray, "K"]]:
    """W and b of a fitted MLPClassifier: softmax(W h + b) is its ``predict_proba``.

    For K = 2 scikit-learn keeps one logit z; the two rows -z/2 and z/2 have the same probabilities.
    """
    classifier, bias = network.coefs_[-1].T, network.intercepts_[-1]
    if len(bias) == 1:
        return np.vstack([-classifier, classifier]) / 2, np.hstack([-bias, bias]) / 2
    return classifier.copy(), bias.copy()


def _train(
    inputs: Float32[np.ndarray, "N p"],
    labels: Int64[np.ndarray, "N"],
    hidden: tuple[int, ...],
    epochs: int,
    seed: int,
    progress: Callable[[int, int], object] | None,
) -> Any:
    batch = min(BATCH, len(labels))
    network = require("sklearn.neural_network").MLPClassifier(
        hidden,
        solver="sgd",
        momentum=MOMENTUM,
        alpha=WEIGHT_DECAY * batch,  # scikit-learn divides alpha by the batch size
        batch_size=batch,
        max_iter=1,
        warm_start=True,
        random_state=np.random.RandomState(seed),  # an int would repeat the same order in every epoch
    )
    with threadpool_limits(1):  # the matrices are too small to share
        for epoch in range(epochs):
            _one_epoch(network, inputs, labels, _new_rate(epoch, epochs))
            if progress is not None:
                progress(epoch + 1, epochs)
    return network


def _new_rate(epoch: int, epochs: int) -> float | None:
    """The learning rate where it changes: at the start, one third and two thirds."""
    phase = 3 * epoch // epochs
    changes = epoch == 0 or phase != 3 * (epoch - 1) // epochs
    return RATE * (1.0, *CUTS)[phase] if changes else None


def _one_epoch(network: Any, inputs: np.ndarray, labels: np.ndarray, new_rate: float | None) -> None:
    """``partial_fit`` keeps the optimiser; ``fit`` with max_iter = 1 and a warm start takes up a new rate."""
    if new_rate is None:
        network.partial_fit(inputs, labels)
        return
    with warnings.catch_warnings():  # of one epoch, scikit-learn says that it has not converged
        warnings.simplefilter("ignore", require("sklearn.exceptions").ConvergenceWarning)
        network.set_params(learning_rate_init=new_rate).fit(inputs, labels)


def _about(images: ImageSet, hidden: Sequence[int], epochs: int, train_accuracy: float, test_accuracy: float) -> str:
    layers = "-".join(str(width) for width in hidden)
    return (
        f"perceptron with ReLU layers {layers}, {epochs} epochs of SGD on {len(images.train_labels):,} images "
        f"of {images.name}: accuracy {train_accuracy:.2%} on them, {test_accuracy:.2%} on the test set"
    )


def _check(hidden: Sequence[int], epochs: int) -> None:
    if not hidden or min(hidden) < 1:
        raise ValueError(f"need at least one hidden layer, each of width >= 1, got hidden={tuple(hidden)}")
    if epochs < 1:
        raise ValueError(f"need epochs >= 1, got epochs={epochs}")


def _check_classes(images: ImageSet) -> None:
    counts = np.bincount(images.train_labels, minlength=images.num_classes)
    if not counts.all():
        raise ValueError(
            f"need an image of every class among the {len(images.train_labels)} to train on, "
            f"got none of class {int(np.argmin(counts))}"
        )
