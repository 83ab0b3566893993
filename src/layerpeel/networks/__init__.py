"""Real inputs: image sets that are found or embedded, and the features of a network trained on them."""

from layerpeel.networks.data import ImageSet, digits, find_images, images
from layerpeel.networks.features import TrainedHead, fit_mlp
from layerpeel.networks.fetch import fetch_images

__all__ = ["ImageSet", "TrainedHead", "digits", "fetch_images", "find_images", "fit_mlp", "images"]
