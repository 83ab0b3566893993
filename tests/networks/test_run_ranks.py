"""The runner of several processes ends, and says why, whatever one of them does."""

import os
import signal
import time

import pytest
import torch
from networks.ranks import run_ranks


def _gathered(rank, factor):
    total = torch.tensor(factor * rank)
    torch.distributed.all_reduce(total)
    return rank, int(total)


def test_every_rank_answers_in_order():
    assert run_ranks(3, _gathered, 10) == [(0, 30), (1, 30), (2, 30)]


def _raises(rank):
    if rank == 1:
        raise RuntimeError("no more paper")
    torch.distributed.barrier()


def _dies(rank):
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    torch.distributed.barrier()


def _sleeps(rank):
    time.sleep(600 * rank)


@pytest.mark.parametrize(
    ("function", "seconds", "sentence"),
    [
        (_raises, 240, r"rank 1: Traceback[^$]*RuntimeError: no more paper"),
        (_dies, 240, "died with exit code -9 before it answered"),
        (_sleeps, 2, r"need an answer of ranks \[.*1\] within 2 s, got none"),
    ],
    ids=["raises", "dies", "sleeps"],
)
def test_a_rank_without_an_answer_ends_the_others_with_a_sentence(function, seconds, sentence):
    with pytest.raises(AssertionError, match=sentence):
        run_ranks(2, function, seconds=seconds)
