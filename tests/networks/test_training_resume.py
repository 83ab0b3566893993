"""Training that stops anywhere, by Ctrl-C, kill -9 or a full disk, goes on to the very same bits."""

import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from tiny_training import one_thread, tiny_images, tiny_network, tiny_plan

import layerpeel as lp
from layerpeel.networks import course
from layerpeel.networks.training import train

__all__ = ["one_thread"]

IMAGES = tiny_images()
SEEDS = (5, 6)


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
    """Ctrl-C when the progress bar shows so many epochs of all seeds; in the middle of one at half a number."""
    step = course.Trainee._step
    shown = []

    class Bar:
        def __enter__(self):
            return self.show

        def __exit__(self, *error):
            return False

        def show(self, done):
            shown.append(done)
            if done == moment:
                raise KeyboardInterrupt

    def pressing(self, batch, total):
        step(self, batch, total)
        if shown and shown[-1] + 0.5 == moment:
            raise KeyboardInterrupt

    return (
        mock.patch("layerpeel.networks.training.progress_bar", return_value=Bar()),
        mock.patch("layerpeel.networks.course.Trainee._step", pressing),
    )


@pytest.mark.parametrize("moment", [0, 0.5, 1, 3.5, 5, 6, 6.5, 11.5])
def test_interrupted_and_resumed_is_bitwise_the_uninterrupted_run(moment, tmp_path, whole):
    bar, step = pressed_at(moment)
    with bar, step:
        part = go(tmp_path / "checkpoint")
    assert part.outcome is lp.Outcome.INTERRUPTED
    assert part.epochs == int(moment)
    resumed = go(tmp_path / "checkpoint")
    assert resumed.outcome is lp.Outcome.COMPLETED
    assert resumed.epochs == 12
    assert_same(resumed, whole)


def test_what_an_interrupted_run_shows_is_the_beginning_of_the_whole(tmp_path, whole):
    bar, step = pressed_at(8)
    with bar, step:
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
    monkeypatch.setattr(course.Trainee, "train", lambda *a: pytest.fail("trained again"))
    assert_same(go(tmp_path / "checkpoint"), whole)


def test_random_numbers_inside_the_network_go_on_too(tmp_path):
    def dropping():
        return torch.nn.Sequential(torch.nn.Dropout(0.5), *tiny_network())

    bar, step = pressed_at(3.5)
    with bar, step:
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
    bar, step = pressed_at(1)
    with bar, step:
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
    bar, step = pressed_at(1)
    with bar, step:
        go(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="to be a layerpeel checkpoint, got a damaged or foreign file"):
        go(path)


def test_a_full_disk_at_a_checkpoint_is_a_warning_and_training_goes_on(tmp_path, monkeypatch, whole):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("layerpeel.networks.training_state.write_atomic", full)
    with pytest.warns(UserWarning, match="No space left on device; the run goes on"):
        assert_same(go(tmp_path / "checkpoint"), whole)


def test_checkpoints_are_written_at_records_and_when_the_last_is_old(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(course, "write_checkpoint", lambda path, state, signature: written.append(state.epoch))
    go(tmp_path / "checkpoint", seeds=[0], record=[2])
    assert written == [2, 6, 6]
    written.clear()
    monkeypatch.setattr(course, "SECONDS_A_CHECKPOINT", 0.0)
    go(tmp_path / "checkpoint", seeds=[0], record=[2])
    assert written == [0, 1, 2, 3, 4, 5, 6, 6]


KILLED = """
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
    step(*arguments)
    steps.append(arguments)
    if len(steps) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
course.Trainee._step = step_and_die
train(tiny_images(), tiny_network, tiny_plan(), seeds=(5, 6), record=4, checkpoint=Path(sys.argv[1]))
"""


def test_kill_9_loses_nothing_but_time(tmp_path, whole):
    steps = 4 * 6 + 4 * 2 + 1  # a seed of six epochs of four batches, two epochs more, and into the third
    command = [sys.executable, "-c", KILLED, str(tmp_path / "checkpoint"), str(steps)]
    assert subprocess.run(command, cwd=Path(__file__).parent).returncode == -signal.SIGKILL
    with mock.patch.object(course.Trainee, "train", autospec=True, side_effect=course.Trainee.train) as trained:
        assert_same(go(tmp_path / "checkpoint"), whole)
    assert [call.args[1] for call in trained.call_args_list] == [3, 4, 5, 6]
