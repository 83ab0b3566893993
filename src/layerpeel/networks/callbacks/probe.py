"""Probe: a model and the samples it is measured on, again and again while it trains.

Invariant: the training is the same, bit for bit, with a probe and without: modes, gradients and the global random
numbers are put back. Numbers that are not finite end nothing: the report is nan.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from layerpeel.collapse import CollapseReport, Convention, measure
from layerpeel.collapse import preset as named_convention
from layerpeel.collapse.assembly import BeyondFloat64
from layerpeel.collapse.pool import ALONE, Pool
from layerpeel.networks.callbacks.every_sample import every_sample
from layerpeel.networks.callbacks.undisturbed import undisturbed
from layerpeel.networks.measuring.feature_batches import FeatureBatches
from layerpeel.networks.measuring.head import find_head, unwrapped
from layerpeel.networks.measuring.measure_model import measure_model

__all__ = ["NONFINITE", "Probe"]

NONFINITE = "features or classifier have nan or inf"


class Probe:
    """Measures ``model`` on the samples of ``batches``; the first batch at once, to find out whether it can.

    Arguments are those of :class:`~layerpeel.networks.callbacks.monitor.CollapseMonitor`.

    Raises:
        ValueError: for a model, batches or options that cannot be.
    """

    def __init__(
        self,
        model: Any,
        batches: Any,
        *,
        head: Any = None,
        preset: str | Convention = "ji2022",
        forward: Callable[[Any], Any] | None = None,
        device: Any = None,
        ignore_index: int | None = None,
        pool: Pool = ALONE,
    ) -> None:
        self.convention = named_convention(preset)
        self._name, self.head = find_head(model, head)
        self.kind = type(unwrapped(model)).__name__
        self._model, self._batches, self._pool = model, every_sample(batches, pool), pool
        self._walk = {"head": head, "forward": forward, "device": device}
        self._counting: dict[str, Any] = {"preset": self.convention, "ignore_index": ignore_index}
        with undisturbed():
            if not any(pool(self._first_batch)):
                raise ValueError("need batches to measure, got none")

    @property
    def names(self) -> dict[str, str]:
        """What is measured, and how."""
        return {"model": self.kind, "head": self._name, "preset": self.convention.name}

    def report(self) -> CollapseReport:
        """The model as it is now; all nan, with a note, when its numbers are not finite.

        Raises:
            ValueError: for labels that do not fit the head.
        """
        with undisturbed(), _with_statistics_of_rank_0(self._model, self._pool):
            if not all(bool(torch.isfinite(tensor).all()) for tensor in self._tensors().values()):
                return self._undefined()
            try:
                return self._measure("raise")
            except BeyondFloat64:
                return self._undefined()
            except ValueError:
                self._measure("drop")  # which raises again what has another cause
                return self._undefined()

    def arrays(self) -> dict[str, Any]:
        """W (1, K, d) and b (1, K), as records have them: a seed in front."""
        return {name: tensor.double().cpu().numpy()[None] for name, tensor in self._tensors().items()}

    def _first_batch(self) -> bool:
        walk = FeatureBatches(self._model, self._batches, **self._walk)
        for batch in walk:
            measure([batch], classifier=walk.classifier, bias=walk.bias, **self._counting, allow_nonfinite="drop")
            return True
        return False

    def _measure(self, allow: str) -> CollapseReport:
        options = {**self._walk, **self._counting, "pool": self._pool}
        return measure_model(self._model, self._batches, **options, allow_nonfinite=allow)

    def _tensors(self) -> dict[str, Any]:
        bias = getattr(self.head, "bias", None)
        return {"W": self.head.weight.detach()} | ({} if bias is None else {"b": bias.detach()})

    def _undefined(self) -> CollapseReport:
        K, d = self.head.weight.shape
        return CollapseReport(preset=self.convention.name, num_classes=K, num_samples=0, dim=d, notes=(NONFINITE,))


@contextmanager
def _with_statistics_of_rank_0(model: Any, pool: Pool) -> Iterator[None]:
    """Batch norms as rank 0 has them, which are those that are saved; then each rank its own again.

    The weights of the ranks are equal, but their running statistics are not between two steps.
    """
    buffers = [] if pool.size == 1 else _running_statistics(model)
    own = [buffer.detach().clone() for buffer in buffers]
    try:
        _fill(buffers, pool(lambda: [buffer.cpu() for buffer in buffers])[0])
        yield
    finally:
        _fill(buffers, own)


def _running_statistics(model: Any) -> list[Any]:
    norms = [module for module in unwrapped(model).modules() if hasattr(module, "running_mean")]
    return [buffer for norm in norms for buffer in norm.buffers(recurse=False)]


def _fill(buffers: list[Any], values: list[Any]) -> None:
    for buffer, value in zip(buffers, values, strict=True):
        buffer.copy_(value)
