"""The different minima among those that a search found."""

import numpy as np

__all__ = ["SAME", "distinct"]

SAME = 1e-6
"""Values within this part of each other count as equal."""


def distinct(values: np.ndarray, ranks: np.ndarray) -> list[tuple[float, int, int]]:
    """(value, rank, how often), ascending; values within SAME of the one before are one."""
    found: list[tuple[float, int, int]] = []
    for i in np.argsort(values):
        if found and values[i] <= found[-1][0] * (1 + SAME):
            found[-1] = (found[-1][0], found[-1][1], found[-1][2] + 1)
        else:
            found.append((float(values[i]), int(ranks[i]), 1))
    return found
