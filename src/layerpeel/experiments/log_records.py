"""The records of an experiment that are even in log step."""

import numpy as np

__all__ = ["log_records"]


def log_records(steps: int, records: int) -> list[int]:
    """0, then from 1 to ``steps`` evenly in log step, each whole step once: at most ``records``.

    Raises:
        ValueError: unless steps >= 10 and records >= 4.
    """
    if steps < 10 or records < 4:
        raise ValueError(f"need steps >= 10 and records >= 4, got steps={steps}, records={records}")
    return [0, *np.unique(np.geomspace(1, steps, records - 1).round().astype(int)).tolist()]
