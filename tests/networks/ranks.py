"""Functions run in several processes of torch.distributed (gloo): ``run_ranks(4, function, argument)``.

The processes fork from a server that has imported what they need, so that many of them cost little.
"""

import multiprocessing
import tempfile
import traceback
from pathlib import Path

PRELOAD = ["torch", "torchmetrics", "layerpeel.networks.metric"]
SECONDS = 120


def run_ranks(world, function, *arguments):
    """What ``function(rank, *arguments)`` returns in each rank; the first failure is raised here."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    with tempfile.TemporaryDirectory() as folder:
        queue = context.SimpleQueue()
        store = f"file://{Path(folder) / 'store'}"
        processes = [
            context.Process(target=_run, args=(rank, world, store, queue, function, arguments)) for rank in range(world)
        ]
        for process in processes:
            process.start()
        results = dict(queue.get() for _ in processes)
        for process in processes:
            process.join(SECONDS)
            process.kill()
    failed = [result for result in results.values() if isinstance(result, _Failure)]
    assert not failed, failed[0].text
    return [results[rank] for rank in range(world)]


class _Failure:
    def __init__(self, text):
        self.text = text


def _run(rank, world, store, queue, function, arguments):
    import torch

    torch.set_num_threads(1)
    try:
        torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
        result = function(rank, *arguments)
        torch.distributed.barrier()
    except BaseException:
        result = _Failure(traceback.format_exc())
    queue.put((rank, result))
    torch.distributed.destroy_process_group()
