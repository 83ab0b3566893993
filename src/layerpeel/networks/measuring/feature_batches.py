"""A model and its batches -> (features, labels), as often as they are asked for.

Features are what enters the last linear layer, h_i, in the dtype that the model computes in. For every batch the model
is in eval mode without gradients, and the flags of its modules are put back before the batch is handed out, so that
nothing of the measurement is left behind, however it ends.

A model wrapped for training is measured as the model inside: DistributedDataParallel would wait for ranks that have
fewer batches, and a compiled module would be compiled anew for the hook.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from layerpeel.networks.measuring.head import find_head, unwrapped, weight_and_bias
from layerpeel.networks.measuring.tap import FeatureTap

__all__ = ["FeatureBatches"]

MEMORY = 2**30
"""Bytes of features that are kept rather than computed again."""


class FeatureBatches:
    """An iterable of (features (B, d), labels (B,)) for ``lp.measure``; each walk runs the model over all batches.

    Args:
        model: any module with a linear layer at its end.
        batches: a DataLoader, a list, ... of (x, y) pairs, then ``model(x)`` is called; or of dicts with ``labels``,
            then ``model(**rest)``.
        head: the layer whose input the features are, by name or itself; the last linear one by default.
        forward: for other batches: calls the model on the batch and returns the labels, as many as feature vectors;
            or, where they depend on it, a function of the features as they came (B, ..., d) that returns them.
        device: where the batches go; by default where the model is.

    Raises:
        ValueError: for a model without a linear layer, a head that is not there, or an iterator, which can be walked
            only once.
    """

    def __init__(
        self,
        model: Any,
        batches: Any,
        *,
        head: Any = None,
        forward: Callable[[Any], Any] | None = None,
        device: Any = None,
    ) -> None:
        if isinstance(batches, Iterator) or not isinstance(batches, Iterable):
            raise ValueError(
                f"need batches to walk again and again (a DataLoader, a list), got {type(batches).__name__}"
            )
        self.model = unwrapped(model)
        self.head = find_head(self.model, head)[1]
        self.batches = batches
        self.forward = forward or self._call
        self.device = device

    @property
    def classifier(self) -> Any:
        """W (K, d), as it is now."""
        return weight_and_bias(self.head)[0]

    @property
    def bias(self) -> Any:
        """b (K,), as it is now, or None."""
        return weight_and_bias(self.head)[1]

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for batch in self.batches:
            yield self._features(self._moved(batch))

    def kept(self, *, memory: int = MEMORY) -> "list[tuple[Any, Any]] | FeatureBatches":
        """One walk, kept, if its features fit in ``memory`` bytes; else these batches, to walk as often as needed."""
        parts, left = [], memory
        for features, labels in self:
            left -= features.nbytes
            if left < 0:
                return self
            parts.append((features, labels))
        return parts

    def _features(self, batch: Any) -> tuple[Any, Any]:
        with _evaluating(self.model), torch.no_grad(), FeatureTap(self.model, self.head) as tap:
            labels = self.forward(batch)
            features = tap.features.clone()  # the model may go on with it in place
        labels = labels(features) if callable(labels) else labels
        if not isinstance(labels, torch.Tensor):
            raise ValueError(f"need labels as a tensor from every batch, got {type(labels).__name__}")
        return features.reshape(-1, features.shape[-1]), labels.reshape(-1)

    def _call(self, batch: Any) -> Any:
        if isinstance(batch, Mapping) and "labels" in batch:
            self.model(**{name: value for name, value in batch.items() if name != "labels"})
            return batch["labels"]
        if isinstance(batch, tuple | list) and len(batch) >= 2:
            self.model(batch[0])
            return batch[1]
        raise ValueError(f"need batches (x, y) or dicts with labels, or forward=, got a {type(batch).__name__}")

    def _moved(self, batch: Any) -> Any:
        device = self.device or _device(self.model)
        if hasattr(batch, "to"):  # tensors, and the batches of frameworks
            return batch.to(device)
        if isinstance(batch, Mapping):
            return {name: self._moved(value) for name, value in batch.items()}
        if isinstance(batch, tuple | list):
            parts = [self._moved(value) for value in batch]
            return type(batch)(*parts) if hasattr(batch, "_fields") else parts
        return batch


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Eval mode, and back to each module's own flag."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _device(model: Any) -> Any:
    tensor = next(iter([*model.parameters(), *model.buffers()]), None)
    return torch.device("cpu") if tensor is None else tensor.device
