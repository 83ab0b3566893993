"""Training that stops anywhere, by Ctrl-C, kill -9 or a full disk, goes on to the very same bits."""

import itertools
import signal
from unittest import mock

import numpy as np
import pytest
import torch
from networks.training.dying_training import complaints, start
from networks.training.tiny_training import tiny_images, tiny_network, tiny_plan
from pressing import pressed

import layerpeel as lp
from layerpeel.networks.training import course
from layerpeel.networks.training.train import train
from layerpeel.networks.training.trainee import Trainee

IMAGES = tiny_images()
SEEDS = (5, 6)
BATCHES = 4
"""In an epoch: 61 samples, 16 at most in each."""


def go(checkpoint=None, *, plan=None, build=tiny_network, images=IMAGES, **options):
    return train(images, build, plan or tiny_plan(), **{"seeds": SEEDS, "record": 4} | options, checkpoint=checkpoint)


@pytest.fixture(scope="module")
def whole():
    return go()


def assert_same(found, expected):
    assert found.metrics.identical(expected.metrics)
    assert found.head.keys() == expected.head.keys()
    for name, value in expected.head.items():
        np.testing.assert_array_equal(found.head[name], value)
    for name, value in expected.weights.items():
        assert found.weights[name].equal(value), name


def pressed_at(moment):
    """Ctrl-C once so many epochs of all seeds are shown; after the first batch of the next one at half a number."""
    if moment == int(moment):
        return pressed("layerpeel.networks.training.train.progress_bar", at=moment)
    step, taken = Trainee._step, itertools.count(1)

    def pressing(*arguments):
        step(*arguments)
        if next(taken) == BATCHES * int(moment) + 1:
            raise KeyboardInterrupt

    return mock.patch.object(Trainee, "_step", pressing)


@pytest.mark.parametrize("moment", [0, 0.5, 1, 3.5, 5, 6, 6.5, 11.5])
def test_interrupted_and_resumed_is_bitwise_the_uninterrupted_run(moment, tmp_path, whole):
    with pressed_at(moment):
        part = go(tmp_path / "checkpoint")
    assert part.outcome is lp.Outcome.INTERRUPTED
    assert part.epochs == int(moment)
    resumed = go(tmp_path / "checkpoint")
    assert resumed.outcome is lp.Outcome.COMPLETED
    assert resumed.epochs == 12
    assert_same(resumed, whole)


def test_what_an_interrupted_run_shows_is_the_beginning_of_the_whole(tmp_path, whole):
    with pressed_at(8):
        part = go().metrics
    assert part.sizes == {"seed": 2, "record": 4}
    assert part.sel(seed=[5]).identical(whole.metrics.sel(seed=[5]))
    recorded = int((part.step <= 2).sum())
    assert part.loss[1, :recorded].equals(whole.metrics.loss[1, :recorded])
    assert np.isnan(part.loss[1, recorded:]).all()


def test_an_interrupt_before_the_first_record_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "evaluate", mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


def test_a_finished_run_comes_back_from_its_checkpoint_without_training(tmp_path, whole, monkeypatch):
    go(tmp_path / "checkpoint")
    monkeypatch.setattr(Trainee, "train", lambda *a: pytest.fail("trained again"))
    assert_same(go(tmp_path / "checkpoint"), whole)


def test_random_numbers_inside_the_network_go_on_too(tmp_path):
    def dropping():
        return torch.nn.Sequential(torch.nn.Dropout(0.5), *tiny_network())

    with pressed_at(3.5):
        go(tmp_path / "checkpoint", build=dropping)
    assert_same(go(tmp_path / "checkpoint", build=dropping), go(build=dropping))


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"plan": tiny_plan(learning_rate=0.04)}, "learning_rate"),
        ({"plan": tiny_plan(schedule="cosine", weight_decay=1e-4)}, "schedule, weight_decay"),
        ({"images": tiny_images(seed=1)}, "images"),
        ({"seeds": (5,)}, "seeds"),
        ({"record": 5}, "records"),
        ({"build": lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))}, "network"),
        ({"preset": "zhu2021"}, "preset"),
    ],
    ids=["rate", "schedule", "images", "seeds", "records", "network", "preset"],
)
def test_a_checkpoint_of_another_run_is_refused_by_what_differs(other, difference, tmp_path, whole):
    with pressed_at(1):
        go(tmp_path / "checkpoint")
    sentence = f"to be a checkpoint of this very run, got one with another {difference}$"
    with pytest.raises(ValueError, match=sentence):
        go(tmp_path / "checkpoint", **other)


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-50], lambda data: b"not a checkpoint", lambda data: b"", lambda data: data[:8] + data[9:]],
    ids=["cut", "foreign", "empty", "shifted"],
)
def test_a_damaged_checkpoint_is_refused_in_one_sentence(damage, tmp_path):
    path = tmp_path / "checkpoint"
    with pressed_at(1):
        go(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="to be a layerpeel checkpoint, got a damaged or foreign file"):
        go(path)


def test_a_full_disk_at_a_checkpoint_is_a_warning_and_training_goes_on(tmp_path, monkeypatch, whole):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("layerpeel.networks.training.checkpoint.write_atomic", full)
    with pytest.warns(UserWarning, match="No space left on device; the run goes on"):
        assert_same(go(tmp_path / "checkpoint"), whole)


def test_checkpoints_are_written_at_records_and_when_the_last_is_old(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(course, "write_checkpoint", lambda path, state, signature: written.append(state.epoch))
    go(tmp_path / "checkpoint", seeds=[0], record=[2])
    assert written == [2, 6]
    written.clear()
    monkeypatch.setattr(course, "SECONDS_A_CHECKPOINT", 0.0)
    go(tmp_path / "checkpoint", seeds=[0], record=[2])
    assert written == [0, 1, 2, 3, 4, 5, 6]


def test_kill_9_loses_nothing_but_time(tmp_path, whole):
    steps = BATCHES * 6 + BATCHES * 2 + 1  # a seed of six epochs, two epochs more, and into the third
    killed = start(tmp_path / "checkpoint", seeds=SEEDS, steps=steps)
    said = complaints(killed)
    assert killed.returncode == -signal.SIGKILL, said
    with mock.patch.object(Trainee, "train", autospec=True, side_effect=Trainee.train) as trained:
        assert_same(go(tmp_path / "checkpoint"), whole)
    assert [call.args[1] for call in trained.call_args_list] == [3, 4, 5, 6]
