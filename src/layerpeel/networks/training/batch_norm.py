"""Batch normalisation over the batch of all ranks, so that several processes compute what one would.

    m = (1/M) sum x,   v = (1/M) sum (x - m)^2,   y = weight (x - m) / sqrt(v + eps) + bias

over the M entries that a channel has in all ranks together, with unequal parts of the batch. The sums over ranks are
differentiated: as every rank's loss depends on every rank's x, the gradient of a sum is the sum of the gradients.

``torch.nn.SyncBatchNorm`` does the same on CUDA, and is taken there; on a CPU it refuses.
"""

from typing import Any

import torch
import torch.distributed
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["synchronised"]

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def synchronised(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with batch norms over all ranks: the same parameters, buffers and names."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if isinstance(model, BATCH_NORMS):
        return SyncedBatchNorm(model)
    for name, child in model.named_children():
        setattr(model, name, synchronised(child, device))
    return model


class SyncedBatchNorm(nn.Module):
    """A batch norm whose statistics are those of the batch of all ranks; it takes over the tensors of ``norm``."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.eps, self.momentum = norm.eps, norm.momentum
        for name in ("weight", "bias"):
            self.register_parameter(name, getattr(norm, name))
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))

    def forward(self, x: Float[Tensor, "B C *sides"]) -> Float[Tensor, "B C *sides"]:
        """y.

        Raises:
            ValueError: for fewer than two values per channel in all ranks together, as in torch: they have no variance.
        """
        if not self.training and self.running_mean is not None:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        entries = [0, *range(2, x.ndim)]
        column = (1, -1, *[1] * (x.ndim - 2))
        here = x.new_full((1,), x.numel() / x.shape[1])
        total, number = SumOverRanks.apply(torch.cat([x.sum(entries), here])).split([x.shape[1], 1])
        number = number.detach()
        if number < 2:
            raise ValueError(f"need at least two values per channel to normalise a batch, got {int(number)}")
        mean = total / number
        centred = x - mean.reshape(column)
        variance = SumOverRanks.apply(centred.square().sum(entries)) / number
        self._track(mean, variance, number)
        y = centred * (variance + self.eps).rsqrt().reshape(column)
        return y if self.weight is None else y * self.weight.reshape(column) + self.bias.reshape(column)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, number: Tensor) -> None:
        """Running averages, of the unbiased variance, as torch keeps them."""
        if self.running_mean is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (number / (number - 1)), share)


class SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over all ranks, given to each of them."""

    @staticmethod
    def forward(context: Any, part: Tensor) -> Tensor:
        """The sum of the parts."""
        return _summed(part)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """The sum of the gradients: the losses of all ranks depend on this rank's part."""
        return _summed(gradient)


def _summed(part: Tensor) -> Tensor:
    total = part.clone(memory_format=torch.contiguous_format)
    torch.distributed.all_reduce(total)
    return total
