"""The ranks of torch.distributed as a pool that measures as one process.

Moments and sums merge exactly (:mod:`layerpeel.collapse.moments`): the shards of the ranks must be disjoint and may be
uneven or empty, and every rank gets the report on all samples.
"""

from typing import Any

import torch.distributed

from layerpeel.collapse.pool import Pool

__all__ = ["ProcessPool"]


class ProcessPool(Pool):
    """``measure(features, labels, ..., pool=ProcessPool())``, called by every rank; alone, it is one process."""

    def __init__(self, group: Any = None) -> None:
        self.group = group

    @property
    def rank(self) -> int:
        """The rank of this process in the group, 0 without torch.distributed."""
        return torch.distributed.get_rank(self.group) if _started() else 0

    @property
    def size(self) -> int:
        """How many ranks the group has, 1 without torch.distributed."""
        return torch.distributed.get_world_size(self.group) if _started() else 1

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, pickled on the way."""
        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value, group=self.group)
        return values


def _started() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
