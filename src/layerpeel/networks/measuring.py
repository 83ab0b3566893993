"""Collapse of a model on its data, in one call: the features are taken, ``lp.measure`` does the rest."""

from collections.abc import Callable
from typing import Any

from layerpeel.collapse import CollapseReport, Convention, measure
from layerpeel.collapse.measure import Pool, alone
from layerpeel.networks.walk import FeatureBatches

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
    pool: Pool = alone,
) -> CollapseReport:
    """Measure the last-layer features of ``model`` on ``batches`` (in eval mode) against its last linear layer.

    The model walks the batches once where their features fit in 1 GiB, else twice. The arguments are those of
    :class:`~layerpeel.networks.walk.FeatureBatches` and of :func:`layerpeel.measure`.

    Raises:
        ValueError: as these two do.
    """
    walk = FeatureBatches(model, batches, head=head, forward=forward, device=device)
    kept: list[Any] = []
    pool(lambda: kept.append(walk.kept()))  # in the pool, so that no rank waits for one whose batches are refused
    return measure(
        kept[0],
        classifier=walk.classifier,
        bias=walk.bias,
        num_classes=num_classes,
        ignore_index=ignore_index,
        preset=preset,
        allow_nonfinite=allow_nonfinite,
        pool=pool,
    )
