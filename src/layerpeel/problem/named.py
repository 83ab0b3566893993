"""The models of the literature, by their names."""

from collections.abc import Sequence
from typing import Literal

from layerpeel.problem.losses import CrossEntropy, Loss
from layerpeel.problem.problem import Problem

__all__ = ["ulpm"]


def ulpm(
    K: int,
    n: int | Sequence[int],
    d: int,
    *,
    loss: Loss | None = None,
    reduction: Literal["mean", "sum"] = "mean",
    bias: bool = False,
) -> Problem:
    """The unconstrained layer-peeled model, equation (4) of Ji et al. 2022: min sum_i CE(W h_i, y_i), nothing added.

    It has no minimum: the objective goes to 0 only as the norm goes to infinity. ``reduction="mean"`` is the
    paper's experiment, ``"sum"`` its theory; they differ by the factor N in the time of the flow.
    """
    return Problem(K=K, n=n, d=d, loss=loss or CrossEntropy(), reduction=reduction, bias=bias)
