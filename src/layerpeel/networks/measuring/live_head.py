"""A head that goes on training while a metric refers to it."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from layerpeel.collapse.decision import Head, read_head
from layerpeel.networks.measuring.head import find_head, weight_and_bias

__all__ = ["LiveHead"]


class LiveHead:
    """The last layer as it is at the moment: a reference, no part of the metric's own modules and states.

    A copy of the metric shares it; a pickle has it as it then was.
    """

    def __init__(self, module: Any, bias: Any) -> None:
        if isinstance(module, np.ndarray):
            module = torch.from_numpy(module)
        if bias is not None and not isinstance(module, Tensor):
            raise ValueError("need the weight as a tensor with a bias of its own, or a layer with both")
        if not (module is None or isinstance(module, Tensor | nn.Module)):
            raise ValueError(f"need a layer or its weight (K, d) as the classifier, got {type(module).__name__}")
        self.module = find_head(module, module)[1] if isinstance(module, nn.Module) else module
        self.bias = bias

    def read(self) -> Head | None:
        """W and b as they are now."""
        return read_head(*self._tensors())

    def state(self, like: Any) -> list[Any] | None:
        """What changes when W, b, or the features' dtype or device do; None without a head.

        It holds sums over the numbers, for not every change counts as one in torch (``fused`` optimisers).
        """
        tensors = [tensor.detach() for tensor in self._tensors() if tensor is not None]
        if not tensors:
            return None
        sums = [float(fold) for tensor in tensors for fold in (tensor.sum(), torch.linalg.vector_norm(tensor))]
        return [*sums, like.dtype, like.device]

    def _tensors(self) -> tuple[Any, Any]:
        if self.module is None or isinstance(self.module, Tensor):
            return self.module, self.bias
        return weight_and_bias(self.module)

    def __deepcopy__(self, memo: Any) -> "LiveHead":
        return self

    def __reduce__(self) -> Any:
        tensors = [None if tensor is None else tensor.detach().clone() for tensor in self._tensors()]
        return LiveHead, tuple(tensors)
