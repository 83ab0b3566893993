"""The loss that is trained on, and its logarithm, which no length of training underflows.

With logits z [K] and label y, for one sample:

    cross-entropy             l = log(1 + e^s),   s = log sum_{j != y} e^(z_j - z_y)
    with label smoothing a    (1 - a) l + (a/K) sum_k (l + z_y - z_k)
    mse                       (1/K) sum_k (z_k - [k = y])^2

The loss of a set is the mean over its samples. In the terminal phase l is e^-100 and less: :func:`log_losses` gives
log l = log log(1 + e^s), which is s itself there, instead of a difference that rounds to zero.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.nn import functional

__all__ = ["log_losses", "training_loss"]

FAR = -36.0
"""Below, log(1 + e^s) = e^s in float64."""


def training_loss(kind: str, label_smoothing: float) -> Callable[[Tensor, Tensor], Tensor]:
    """(logits (B, K), labels (B,)) -> mean loss, to be differentiated."""
    if kind == "mse":
        return lambda z, y: functional.mse_loss(z, functional.one_hot(y, z.shape[1]).to(z.dtype))
    return lambda z, y: functional.cross_entropy(z, y, label_smoothing=label_smoothing)


def log_losses(
    logits: Float64[Tensor, "B K"], labels: Int64[Tensor, "B"], *, kind: str, label_smoothing: float
) -> Float64[Tensor, "B"]:
    """log of the loss of each sample; nan where a logit is not finite."""
    if kind == "mse":
        errors = logits - functional.one_hot(labels, logits.shape[1])
        return errors.square().mean(dim=1).log()
    own = logits.gather(1, labels[:, None])
    s = (logits - own).scatter(1, labels[:, None], -torch.inf).logsumexp(dim=1)
    if not label_smoothing:
        return torch.where(s < FAR, s, functional.softplus(s).log())
    return _smoothed(functional.softplus(s), own - logits, label_smoothing).log()


def _smoothed(losses: Float64[Tensor, "B"], leads: Float64[Tensor, "B K"], amount: float) -> Float64[Tensor, "B"]:
    return (1 - amount) * losses + amount * (losses[:, None] + leads).mean(dim=1)
