"""Every sample that a DataLoader draws from, once and in order: what is measured, whatever the training shuffles.

A training loader shuffles, drops the last batch, pads the shards of the ranks with duplicates, or draws with weights:
right for training, but means and scatters of it are those of other samples. Here the sampler only says which samples
there are. Over several processes rank r of R has the r-th, (r + R)-th, ... of them: uneven where R does not divide
their number, and nothing twice.

The loader itself is not touched: not its workers, nor its epoch, nor its random numbers.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    WeightedRandomSampler,
)

from layerpeel.collapse.pool import ALONE, Pool
from layerpeel.networks.callbacks.undisturbed import undisturbed

__all__ = ["every_sample", "is_stream"]

WHOLE = (SequentialSampler, RandomSampler, WeightedRandomSampler)
"""Samplers, with their subclasses, that draw from the whole data set."""
BATCH_SIZE = 32
"""Used where the loader has batches of no fixed size."""


def every_sample(batches: Any, pool: Pool = ALONE) -> Any:
    """A loader of each sample of the DataLoader ``batches`` once, this process's share of them.

    Anything else is handed back as it is: lists, streams (IterableDataset), a data set that makes its own batches, and
    a subclass with an iteration of its own.
    """
    loader = getattr(batches, "base_dataloader", batches)  # accelerate's wrapper has it
    if not isinstance(loader, DataLoader) or not _indexed(loader):
        return batches
    with undisturbed():
        known = pool(lambda: _samples(loader))
    samples = sorted(set(itertools.chain.from_iterable(known)))
    return _in_order(loader, samples[pool.rank :: pool.size])


def is_stream(batches: Any) -> bool:
    """Whether ``batches`` is a DataLoader whose samples cannot be named: there may be no end of them."""
    return isinstance(batches, DataLoader) and isinstance(batches.dataset, IterableDataset)


def _indexed(loader: DataLoader) -> bool:
    makes_batches = loader.batch_size is not None or loader.batch_sampler is not None
    return makes_batches and not is_stream(loader) and type(loader).__iter__ is DataLoader.__iter__


def _samples(loader: DataLoader) -> Sequence[int]:
    """The indices that this process's sampler may give; asked for only where its kind does not tell."""
    sampler = _innermost(loader)
    if type(sampler) is DistributedSampler or isinstance(sampler, WHOLE):
        return range(len(loader.dataset))
    return sorted(set(itertools.chain.from_iterable(sampler) if sampler is loader.batch_sampler else sampler))


def _innermost(loader: DataLoader) -> Any:
    """The sampler inside batch samplers, those of accelerate too; a batch sampler that has none."""
    sampler = loader.batch_sampler
    while isinstance(inner := getattr(sampler, "batch_sampler", None) or getattr(sampler, "sampler", None), Iterable):
        sampler = inner
    return sampler


def _in_order(loader: DataLoader, samples: Sequence[int]) -> DataLoader:
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None) or BATCH_SIZE
    return DataLoader(
        loader.dataset,
        batch_size=size,
        sampler=samples,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=torch.Generator().manual_seed(0),
    )
