"""Functions run in several processes of torch.distributed (gloo): ``run_ranks(4, function, argument)``.

The processes fork from a server that has imported what they need, so that many of them cost little. Whatever a rank
does, to raise, to die or to fall silent, the call ends, and none of its processes outlives it.
"""

import multiprocessing
import tempfile
import time
import traceback
from datetime import timedelta
from multiprocessing.connection import wait
from pathlib import Path

PRELOAD = ["torch", "torchmetrics", "layerpeel.networks.measuring.neural_collapse"]
SECONDS = 240
"""For all ranks together, the imports of the first call included: far more than a loaded machine needs."""


def run_ranks(world, function, *arguments, seconds=SECONDS):
    """What ``function(rank, *arguments)`` returns in each rank; an AssertionError says what one raised or died of."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    with tempfile.TemporaryDirectory() as folder:
        store = f"file://{Path(folder) / 'store'}"
        processes, answers = [], []
        try:
            for rank in range(world):
                answer, sender = context.Pipe(duplex=False)
                process = context.Process(target=_run, args=(rank, world, store, seconds, sender, function, arguments))
                processes.append(process)
                answers.append(answer)
                process.start()
                sender.close()  # so that the answer ends with its process
            return _collected(answers, processes, seconds)
        finally:
            _end(processes)
            for answer in answers:
                answer.close()


class _Failure:
    def __init__(self, text):
        self.text = text


def _collected(answers, processes, seconds):
    """The answer of every rank, or the complaints of those that are the first to fail."""
    found, silent = {}, {answer: rank for rank, answer in enumerate(answers)}
    until = time.monotonic() + seconds
    while silent:
        ready = wait(list(silent), max(0.0, until - time.monotonic()))
        assert ready, f"need an answer of ranks {sorted(silent.values())} within {seconds} s, got none"
        fresh = {silent[answer]: _answer(answer, processes[silent.pop(answer)]) for answer in ready}
        complaints = [answer.text for answer in fresh.values() if isinstance(answer, _Failure)]
        assert not complaints, "\n".join(complaints)
        found |= fresh
    return [found[rank] for rank in range(len(answers))]


def _answer(answer, process):
    try:
        return answer.recv()
    except EOFError:
        process.join(SECONDS)
        return _Failure(f"{process.name} died with exit code {process.exitcode} before it answered")


def _end(processes):
    for process in processes:
        if process.is_alive():
            process.kill()
            process.join(SECONDS)


def _run(rank, world, store, seconds, sender, function, arguments):
    """In the process of a rank: join the others, answer, and leave together."""
    import torch

    torch.set_num_threads(1)
    try:
        patience = timedelta(seconds=seconds)
        torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world, timeout=patience)
        sender.send(function(rank, *arguments))
        torch.distributed.barrier()
    except BaseException:
        sender.send(_Failure(f"rank {rank}: {traceback.format_exc()}"))
        time.sleep(seconds)  # until it is killed: were it gone, the others would complain of that before it was heard
    torch.distributed.destroy_process_group()
