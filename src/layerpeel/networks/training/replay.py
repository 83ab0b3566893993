"""Replay: a step of training as one CUDA graph, repeated without Python between its kernels.

    call 1, 2, 3 with a batch of some size: step(batch);   call 4: recorded;   from call 4 on: the record is repeated

A batch is an index of so many samples; each size has a record of its own. The first calls compile, choose algorithms
and make the optimiser's buffers, which a record cannot; they are steps like all others, so that a run with replay
takes the steps of one without.

Invariant: a record works on the tensors that the step used when it was recorded. Whatever lives on from step to step
(parameters, momenta, rates, sums) must change in place, and the step must not ask for a value on the host.
"""

from collections import Counter
from collections.abc import Callable

import torch
from jaxtyping import Int64
from torch import Tensor

__all__ = ["Replay"]

WARM = 3
"""Steps of a size before it is recorded."""


class Replay:
    """``step`` from an index (B,) on a CUDA device, replayed once it is warm."""

    def __init__(self, step: Callable[[Tensor], None], device: torch.device) -> None:
        self._step = step
        self._stream = torch.cuda.Stream(device)
        """The stream of all steps that are not replays: autograd remembers where it first accumulated a gradient."""
        self._taken: Counter[int] = Counter()
        self._records: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}

    def __call__(self, batch: Int64[Tensor, "B"]) -> None:
        """Take the step."""
        size = len(batch)
        if size not in self._records and self._taken[size] < WARM:
            self._taken[size] += 1
            self._plain(batch)
            return
        if size not in self._records:
            self._records[size] = self._recorded(batch)
        graph, index = self._records[size]
        index.copy_(batch)
        graph.replay()

    def _plain(self, batch: Tensor) -> None:
        here = torch.cuda.current_stream(batch.device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            self._step(batch)
        here.wait_stream(self._stream)

    def _recorded(self, batch: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """The graph of a step, which is not taken by it, and the index it reads."""
        graph, index = torch.cuda.CUDAGraph(), batch.clone()
        with torch.cuda.graph(graph, stream=self._stream):
            self._step(index)
        return graph, index
