"""Ranks: the processes that train one network together, one by default, several under torchrun.

Every rank holds the same network and the whole image set, and takes its share of every batch and of every walk.
What all of them must agree on (the loss of an epoch, a report) is merged in the order of the ranks, so that all get
the same bits and go the same way. Rank 0 alone reads and writes files.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed
from jaxtyping import Shaped
from torch import Tensor

from layerpeel.collapse.pool import Pool
from layerpeel.networks.measuring.process_pool import ProcessPool

__all__ = ["Ranks", "joined", "lost_rank"]

PATIENCE = timedelta(minutes=10)
"""How long a rank waits for the others before it gives up: longer than anything that only one of them does."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run; ``rank`` and ``size`` hold after its end too."""

    pool: Pool
    rank: int
    size: int
    device: torch.device

    @classmethod
    def here(cls, device: torch.device) -> "Ranks":
        """Those of the process group, or this process alone."""
        pool = ProcessPool()
        return cls(pool, pool.rank, pool.size, device)

    @property
    def leads(self) -> bool:
        """Whether this one writes files and shows progress."""
        return self.rank == 0

    def share(self, samples: Shaped[Tensor, "B *rest"]) -> Shaped[Tensor, "C *rest"]:
        """The part of the samples that is this rank's: C is B / size, rounded up or down."""
        return samples.tensor_split(self.size)[self.rank]


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """The ranks of this run: those of a process group that is there, those that torchrun started, or one alone.

    Raises:
        ValueError: for cuda where there is none.
    """
    started = torch.distributed.is_available() and torch.distributed.is_initialized()
    if started or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks.here(_device(device))
        return
    here = _device(device)
    torch.distributed.init_process_group("nccl" if here.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Ranks.here(here)
    finally:
        torch.distributed.destroy_process_group()


def lost_rank(error: RuntimeError) -> bool:
    """Whether ``error`` says that another rank is gone.

    NCCL raises a DistError; gloo (torch 2.13) a plain RuntimeError that names its source file, as in
    "[.../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer".
    """
    return isinstance(error, torch.distributed.DistError) or "gloo/" in str(error)


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
