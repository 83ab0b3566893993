"""Several processes of torch.distributed, each with its share of the samples, measure as one.

Moments and sums merge exactly (:mod:`layerpeel.collapse.moments`), so shards may be uneven, overlap-free and empty,
and every process gets the report of all samples. What crosses between the processes is K x d, never a sample.

Invariant: a ValueError in one process (a label out of range, features that are not finite) is raised in all of them,
with its rank; nobody is left waiting.
"""

from collections.abc import Callable
from typing import Any

import torch.distributed

__all__ = ["ProcessPool"]


class ProcessPool:
    """``measure(features, labels, ..., pool=ProcessPool())``, called by every rank; alone, it is one process."""

    def __init__(self, group: Any = None) -> None:
        self.group = group

    def __call__(self, part: Callable[[], Any]) -> list[Any]:
        """What ``part()`` returns in each process, in the order of the ranks.

        Raises:
            ValueError: where it raised one, in every process.
        """
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return [part()]
        parts: list[Any] = [None] * torch.distributed.get_world_size(self.group)
        torch.distributed.all_gather_object(parts, _attempt(part), group=self.group)
        for rank, (_, sentence) in enumerate(parts):
            if sentence is not None:
                raise ValueError(f"rank {rank}: {sentence}")
        return [value for value, _ in parts]


def _attempt(part: Callable[[], Any]) -> tuple[Any, str | None]:
    try:
        return part(), None
    except ValueError as error:
        return None, str(error)
