"""Errors of a network: shares of wrong answers, from the accuracies in its record."""

from typing import Any

__all__ = ["with_errors"]

DIGITS = 12
"""Of a share; 1 - 0.9 is 0.09999999999999998, which a logarithmic axis takes for neither 0.1 nor less than that."""


def with_errors(metrics: Any) -> Any:
    """``metrics`` with ``train_error`` and ``test_error``, 1 - accuracy, where there is the accuracy."""
    known = [part for part in ("train", "test") if f"{part}_accuracy" in metrics]
    return metrics.assign({f"{part}_error": (1 - metrics[f"{part}_accuracy"]).round(DIGITS) for part in known})
