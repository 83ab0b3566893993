"""Several processes train what one would, and a process that dies ends the run in words, with nothing lost."""

import signal

import numpy as np
import pytest
import torch
from networks.ranks import run_ranks
from networks.training.dying_training import complaints, start
from networks.training.tiny_training import tiny_images, tiny_network, tiny_plan

from layerpeel.networks.training.batch_norm import synchronised
from layerpeel.networks.training.train import train


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
    norm = synchronised(torch.nn.BatchNorm1d(2), torch.device("cpu"))
    with pytest.raises(ValueError, match="need at least two values per channel to normalise a batch, got 1"):
        norm(torch.ones(1 - rank, 2))
    assert norm.running_var.equal(torch.ones(2))
    norm(torch.tensor([[3.0 * rank, 1.0]]))
    torch.testing.assert_close(norm.running_var, torch.tensor([0.9 + 0.1 * 4.5, 0.9]))
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


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_run_with_a_sentence_and_the_checkpoint_goes_on(tmp_path):
    into_the_fourth = 3 * 4 + 1  # three epochs of four batches, and a batch
    ranks = [
        start(tmp_path / "checkpoint", seeds=[3], rank=rank, steps=steps)
        for rank, steps in enumerate([0, into_the_fourth])
    ]
    said = complaints(*ranks)
    assert ranks[1].returncode == -signal.SIGKILL, said[1]
    assert ranks[0].returncode == 1, said[0]
    assert "need all 2 ranks to the end of the run, lost one after epoch 3" in said[0], said[0]
    plan = tiny_plan()
    resumed = train(tiny_images(), tiny_network, plan, seeds=[3], record=4, checkpoint=tmp_path / "checkpoint")
    whole = train(tiny_images(), tiny_network, plan, seeds=[3], record=4)
    for name, value in whole.weights.items():
        torch.testing.assert_close(resumed.weights[name], value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(resumed.metrics.loss, whole.metrics.loss, rtol=1e-4)
