"""Several processes train what one would, and a process that dies ends the run in words, with nothing lost."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from ranks import run_ranks
from tiny_training import one_thread, tiny_images, tiny_network, tiny_plan

from layerpeel.networks.training import train

__all__ = ["one_thread"]


def outcome(plan, checkpoint=None):
    done = train(tiny_images(), tiny_network, plan, seeds=[3, 4], record=4, checkpoint=checkpoint)
    fields = {str(name): value.values for name, value in done.metrics.items()}
    return fields, {name: value.numpy() for name, value in done.weights.items()}, done.ranks.size


PLANS = {
    "float64": (tiny_plan(precision="float64", epochs=4, learning_rate=0.02), 1e-10),
    "float32": (tiny_plan(epochs=4, learning_rate=0.02), 1e-4),
}


def in_rank(rank):
    with pytest.raises(ValueError, match="need batches of at least one sample a rank, got 2 ranks for batches of 1"):
        outcome(tiny_plan(batch=1))
    return {precision: outcome(plan) for precision, (plan, _) in PLANS.items()}


@pytest.fixture(scope="module")
def two_processes():
    return run_ranks(2, in_rank)


@pytest.mark.parametrize("precision", PLANS)
def test_two_processes_train_what_one_does(precision, two_processes):
    """Batch norm, uneven batches and uneven shares: 61 samples in batches of 15 and 16."""
    plan, tolerance = PLANS[precision]
    fields, weights, size = outcome(plan)
    first, second = (results[precision] for results in two_processes)
    assert (size, first[2], second[2]) == (1, 2, 2)
    for name, values in fields.items():
        np.testing.assert_array_equal(first[0][name], second[0][name])
        np.testing.assert_allclose(first[0][name], values, rtol=tolerance, atol=tolerance, err_msg=name)
    for name, value in weights.items():
        np.testing.assert_array_equal(first[1][name], second[1][name])
        np.testing.assert_allclose(first[1][name], value, rtol=tolerance, atol=tolerance, err_msg=name)


RANK = """
import os, signal, sys
from pathlib import Path
import torch
from tiny_training import one_thread, tiny_images, tiny_network, tiny_plan
from layerpeel.networks import course
from layerpeel.networks.training import train
torch.set_num_threads(1)
course.SECONDS_A_CHECKPOINT = 0.0
step, steps = course.Trainee._step, []
def step_and_die(*arguments):
    steps.append(arguments)
    if len(steps) == 14 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    step(*arguments)
course.Trainee._step = step_and_die
try:
    train(tiny_images(), tiny_network, tiny_plan(), seeds=[3], record=4, checkpoint=Path(sys.argv[1]))
except OSError as error:
    sys.exit(str(error))
"""


def start_rank(rank, port, checkpoint):
    torchrun = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    environment = os.environ | {name: str(value) for name, value in torchrun.items()}
    command = [sys.executable, "-c", RANK, str(checkpoint)]
    return subprocess.Popen(command, cwd=Path(__file__).parent, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_run_with_a_sentence_and_the_checkpoint_goes_on(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    ranks = [start_rank(rank, port, tmp_path / "checkpoint") for rank in range(2)]
    complaints = [rank.communicate(timeout=100)[1] for rank in ranks]
    assert ranks[1].returncode == -signal.SIGKILL
    assert ranks[0].returncode == 1
    assert "need all 2 ranks to the end of the run, lost one after epoch 3" in complaints[0], complaints[0]
    assert time.monotonic() - began < 60
    plan = tiny_plan()
    resumed = train(tiny_images(), tiny_network, plan, seeds=[3], record=4, checkpoint=tmp_path / "checkpoint")
    whole = train(tiny_images(), tiny_network, plan, seeds=[3], record=4)
    for name, value in whole.weights.items():
        torch.testing.assert_close(resumed.weights[name], value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(resumed.metrics.loss, whole.metrics.loss, rtol=1e-4)
