"""On a GPU training takes the steps that it takes on a CPU, however it is made faster, and goes on to the same bits."""

from unittest import mock

import numpy as np
import pytest
import torch
from networks.ranks import run_ranks
from networks.training.tiny_training import SIDE, K, tiny_images, tiny_network, tiny_plan
from pressing import pressed

import layerpeel as lp
from layerpeel.networks.models.build import build_model
from layerpeel.networks.training.replay import WARM, Replay
from layerpeel.networks.training.train import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
IMAGES = tiny_images()


@pytest.fixture(autouse=True)
def compiled_anew():
    """A test compiles for itself: after eight variants of a network torch would run it uncompiled."""
    torch.compiler.reset()


def go(checkpoint=None, build=tiny_network, **settings):
    plan = tiny_plan(**{"device": "cuda", "learning_rate": 0.02} | settings)
    return train(IMAGES, build, plan, seeds=[3, 4], record=4, checkpoint=checkpoint)


def small_vgg():
    return build_model("vgg13-bn", num_classes=K, image_size=SIDE, width=0.25)


def assert_close(found, expected, tolerance):
    for name, value in expected.metrics.items():
        np.testing.assert_allclose(
            found.metrics[name], value, rtol=tolerance, atol=tolerance, err_msg=str(name), equal_nan=True
        )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"channels_last": False},
        {"deterministic": False},
        {"compile": True},
        {"compile": True, "schedule": "cosine", "weight_decay": 0.01},
        {"compile": True, "schedule": "step", "momentum": 0.0},
    ],
    ids=str,
)
def test_training_is_that_of_the_cpu(settings):
    """In float64, but for the rate of replayed steps, which is a float32 of the device."""
    expected = go(device="cpu", precision="float64", **settings | {"compile": False})
    found = go(precision="float64", **settings)
    assert found.ranks.device.type == "cuda"
    assert_close(found, expected, 1e-5 if settings.get("compile") else 1e-8)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_interrupted_and_resumed_is_bitwise_the_uninterrupted_run(compiled, precision, tmp_path):
    settings = {"compile": compiled, "precision": precision, "epochs": 8}
    whole = go(**settings)
    with pressed("layerpeel.networks.training.train.progress_bar", at=3):
        part = go(tmp_path / "checkpoint", **settings)
    assert part.outcome is lp.Outcome.INTERRUPTED
    resumed = go(tmp_path / "checkpoint", **settings)
    assert resumed.metrics.identical(whole.metrics)
    for name, value in whole.weights.items():
        assert resumed.weights[name].equal(value), name


def test_a_record_is_float32_whatever_the_training_is():
    """TF32 would show in the third digit or the fourth."""
    before, *others = (
        go(build=small_vgg, precision=precision, compile=compiled).metrics.isel(record=0)
        for precision, compiled in (("float32", False), ("tf32", False), ("bfloat16", False), ("bfloat16", True))
    )
    for other in others:
        assert other.drop_attrs().identical(before.drop_attrs())


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
@pytest.mark.parametrize("compiled", [False, True])
def test_fast_precisions_learn_as_float32_does(precision, compiled):
    slow, fast = (
        go(build=small_vgg, epochs=12, **how).metrics.isel(record=-1)
        for how in ({}, {"precision": precision, "compile": compiled})
    )
    assert float(slow.train_accuracy.min()) > 0.9
    assert float(fast.train_accuracy.min()) > 0.9


def test_a_replayed_step_is_the_step():
    """Two sizes in turn, an in-place state, and as many calls of Python as are needed."""
    device = torch.device("cuda")
    numbers = torch.arange(100, dtype=torch.float64, device=device)
    state = torch.zeros((), dtype=torch.float64, device=device)

    def step(batch):
        state.mul_(0.5).add_(numbers[batch].sum())

    batches = [torch.randperm(100, device=device)[: 5 + i % 2] for i in range(20)]
    for batch in batches:
        step(batch)
    expected = float(state)
    state.zero_()
    counted = mock.Mock(side_effect=step)
    replay = Replay(counted, device)
    for batch in batches:
        replay(batch)
    assert float(state) == pytest.approx(expected, rel=1e-14)
    assert counted.call_count == 2 * (WARM + 1)


def in_rank(rank):
    done = go(precision="float64")
    return {str(name): value.values for name, value in done.metrics.items()}, done.ranks.size


def test_two_processes_on_one_device_train_what_one_does():
    """DistributedDataParallel and SyncBatchNorm on CUDA tensors, over gloo, as NCCL wants a device a process."""
    expected = go(precision="float64")
    for fields, size in run_ranks(2, in_rank):
        assert size == 2
        for name, value in expected.metrics.items():
            np.testing.assert_allclose(fields[name], value, rtol=1e-6, atol=1e-8, err_msg=str(name))


def test_a_process_group_of_nccl_pools():
    torch.distributed.init_process_group("nccl", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        done = go()
    finally:
        torch.distributed.destroy_process_group()
    assert done.metrics.identical(go().metrics)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_features_on_the_device_measure_as_on_the_host(dtype):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(500) % 7
    features = (torch.randn(7, 40, generator=generator)[labels] + 0.1 * torch.randn(500, 40, generator=generator)).to(
        dtype
    )
    head = {"classifier": torch.randn(7, 40, generator=generator), "bias": torch.randn(7, generator=generator)}
    expected = lp.measure(features, labels, **head).asdict()
    found = lp.measure(features.cuda(), labels.cuda(), **{name: value.cuda() for name, value in head.items()}).asdict()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
