"""5. The same on real networks.

    data       image sets                          models     networks for them
    measuring  collapse of any model               callbacks  along any training
    training   training past zero error            perceptron  a small network without torch (scikit-learn)

Imports point from the bottom of this list to its top. Only ``data`` and ``perceptron`` do without torch, and only they
are loaded with this package.
"""

from layerpeel.networks.data.fetch import fetch_images
from layerpeel.networks.data.image_set import ImageSet, digits, find_images, images
from layerpeel.networks.perceptron import TrainedHead, fit_mlp

__all__ = ["ImageSet", "TrainedHead", "digits", "fetch_images", "find_images", "fit_mlp", "images"]
