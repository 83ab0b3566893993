"""Gradient descent on the model the usual way: PyTorch autograd and torch.optim.SGD, float64."""

from typing import Any

import numpy as np
import torch

__all__ = ["descend"]

Array = np.ndarray[Any, Any]


def descend(W: Array, H: Array, labels: Array, *, rate: float, steps: int) -> tuple[Array, Array]:
    """W [K, d] and H [d, N] after ``steps`` steps on the mean cross-entropy of W H."""
    weights, features = torch.tensor(W, requires_grad=True), torch.tensor(H, requires_grad=True)
    targets = torch.tensor(labels)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD([weights, features], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        criterion((weights @ features).T, targets).backward()
        optimizer.step()
    return weights.detach().numpy(), features.detach().numpy()
