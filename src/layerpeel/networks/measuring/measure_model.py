"""Collapse of a model on its data, in one call: the features are taken, ``lp.measure`` does the rest."""

from collections.abc import Callable
from typing import Any

from layerpeel.collapse import CollapseReport, Convention, measure
from layerpeel.collapse.pool import ALONE, Pool
from layerpeel.networks.measuring.feature_batches import FeatureBatches

__all__ = ["measure_model"]


def measure_model(
    model: Any,
    batches: Any,
    *,
    head: Any = None,
    forward: Callable[[Any], Any] | None = None,
    device: Any = None,
    num_classes: int | None = None,
    ignore_index: int | None = None,
    preset: str | Convention = "ji2022",
    allow_nonfinite: str = "raise",
    pool: Pool = ALONE,
) -> CollapseReport:
    """Measure the last-layer features of ``model`` on ``batches`` (in eval mode) against its last linear layer.

    The model walks the batches once where their features fit in 1 GiB; where they do not it finds that out on the way
    and walks twice more. The arguments are those of
    :class:`~layerpeel.networks.measuring.feature_batches.FeatureBatches` and of :func:`layerpeel.measure`.

    Raises:
        ValueError: as these two do.
    """
    walk = FeatureBatches(model, batches, head=head, forward=forward, device=device)
    return measure(
        pool.checked(walk.kept),
        classifier=walk.classifier,
        bias=walk.bias,
        num_classes=num_classes,
        ignore_index=ignore_index,
        preset=preset,
        allow_nonfinite=allow_nonfinite,
        pool=pool,
    )
