"""What measuring costs a training: VGG-13 with batch norm at 1/8 of its width, real images, batches of 128.

An epoch of training and a record (every metric on the whole training set, loss and accuracy on it and on a test set of
a sixth of its size) are timed in one run; the share is that of the default schedule, 40 records in 600 epochs.
"""

from collections.abc import Iterator
from functools import partial

from benchmarks.row import Row, Target

__all__ = ["rows"]

EPOCHS, RECORDS = 600, 40
"""The default schedule of ``layerpeel run network``."""


def rows(*, quick: bool) -> Iterator[Row]:
    """Percent of a training's time."""
    from layerpeel.networks import images
    from layerpeel.networks.models.build import build_model
    from layerpeel.networks.training.plan import Plan
    from layerpeel.networks.training.train import train

    epochs = 2 if quick else 12
    found = images()
    chosen = found.subset(100 if quick else 6_000).test_subset(1_000)
    side = chosen.train_images.shape[1]
    build = partial(build_model, "vgg13-bn", num_classes=chosen.num_classes, image_size=side, width=1 / 8)
    trained = train(chosen, build, Plan(epochs=epochs, learning_rate=0.05), record=range(epochs + 1))
    record = trained.measuring_seconds / (epochs + 1)
    epoch = (trained.seconds - trained.measuring_seconds) / epochs
    share = 100 * RECORDS * record / (RECORDS * record + EPOCHS * epoch)
    what = f"measuring, {RECORDS} records in {EPOCHS} epochs, {len(chosen.train_labels):,} images of {found.name}"
    note = f"means over {epochs} epochs, each with a record"
    yield Row("training", what, f"{record:.3g} s a record", f"{epoch:.3g} s an epoch", share, "%", Target(5, "%"), note)
