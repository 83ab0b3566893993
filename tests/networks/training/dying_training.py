"""A tiny training that is killed (SIGKILL) right after so many of its steps, in a process of its own.

``start(...)`` starts it, alone or as one of two ranks; ``complaints(...)`` waits for its end.
"""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import torch
from networks.training.tiny_training import tiny_images, tiny_network, tiny_plan

from layerpeel.networks.training import course
from layerpeel.networks.training.train import train
from layerpeel.networks.training.trainee import Trainee

TESTS = Path(__file__).parents[2]
SECONDS = 240
"""Far more than the training takes, its imports included."""


def start(checkpoint, *, seeds, steps=0, rank=None):
    """A process that dies after ``steps`` of its steps (0: never); two ranks meet beside the checkpoint."""
    ranked = () if rank is None else (rank, f"file://{checkpoint}-store")
    arguments = map(str, (checkpoint, ",".join(map(str, seeds)), steps, *ranked))
    command = [sys.executable, "-m", "networks.training.dying_training", *arguments]
    return subprocess.Popen(command, cwd=TESTS, stderr=subprocess.PIPE, text=True)


def complaints(*processes):
    """What each printed to stderr by its end; none of them is left behind."""
    try:
        return [process.communicate(timeout=SECONDS)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait(SECONDS)


def _main(checkpoint, seeds, steps, rank=None, store=None):
    torch.set_num_threads(1)
    if rank is not None:
        patience = timedelta(seconds=SECONDS)
        torch.distributed.init_process_group("gloo", init_method=store, rank=int(rank), world_size=2, timeout=patience)
    course.SECONDS_A_CHECKPOINT = 0.0
    Trainee._step = _dying_after(int(steps))
    seeds = [int(seed) for seed in seeds.split(",")]
    try:
        train(tiny_images(), tiny_network, tiny_plan(), seeds=seeds, record=4, checkpoint=Path(checkpoint))
    except OSError as error:
        sys.exit(str(error))
    finally:
        if rank is not None:
            torch.distributed.destroy_process_group()


def _dying_after(steps):
    step, taken = Trainee._step, []

    def step_and_die(*arguments):
        step(*arguments)
        taken.append(arguments)
        if len(taken) == steps:
            os.kill(os.getpid(), signal.SIGKILL)

    return step_and_die


if __name__ == "__main__":
    _main(*sys.argv[1:])
