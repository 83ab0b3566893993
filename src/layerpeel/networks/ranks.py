"""Ranks: the processes that train one network together, one by default, several under torchrun.

Every rank holds the same network and the whole image set, and takes its share of every batch and of every walk.
What all of them must agree on (the loss of an epoch, a report) is merged in the order of the ranks, so that all get
the same bits and go the same way. Rank 0 alone reads and writes files.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed
from jaxtyping import Shaped
from torch import Tensor

from layerpeel.networks.pool import ProcessPool

__all__ = ["Ranks", "joined", "lost_rank"]

PATIENCE = timedelta(minutes=10)
"""How long a rank waits for the others before it gives up: longer than anything that only one of them does."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this one writes files and shows progress."""
        return self.rank == 0

    def share(self, samples: Shaped[Tensor, "B *rest"]) -> Shaped[Tensor, "C *rest"]:
        """The part of the samples that is this rank's: C is B / size, rounded up or down."""
        return samples.tensor_split(self.size)[self.rank]

    def pool(self, part: Callable[[], Any]) -> list[Any]:
        """What ``part()`` gives in each rank, in their order, for all."""
        return [part()] if self.size == 1 else ProcessPool()(part)


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """The ranks of this run: those of a process group that is there, those that torchrun started, or one alone.

    Raises:
        ValueError: for cuda where there is none.
    """
    if torch.distributed.is_initialized():
        yield _ranks(device)
        return
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks(0, 1, _device(device))
        return
    here = _device(device)
    torch.distributed.init_process_group("nccl" if here.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield _ranks(device)
    finally:
        torch.distributed.destroy_process_group()


def lost_rank(error: RuntimeError) -> bool:
    """Whether ``error`` says that another rank is gone: what gloo and nccl raise, which have no common class."""
    known = isinstance(error, torch.distributed.DistError)
    return known or any(word in str(error) for word in ("gloo", "NCCL", "Connection closed", "Timed out"))


def _ranks(device: str) -> Ranks:
    return Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size(), _device(device))


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError("need a CUDA device that torch can use, got none: set device to cpu or auto")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device
