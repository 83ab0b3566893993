"""A run that stops anywhere, by Ctrl-C, kill -9 or a full disk, goes on to the very same bits."""

import signal
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

import layerpeel as lp
from layerpeel.dynamics import loop

PROBLEM = lp.ulpm(K=4, n=3, d=5)
START = PROBLEM.init(seed=range(2), scale=0.3)
SCENARIOS = {
    "sgd": (optax.sgd(0.5), None),
    "adam": (optax.adam(1e-2), None),
    "noisy momentum": (optax.sgd(0.5, momentum=0.9), lp.GradientNoise(0.1, seed=3)),
    "random keys": (optax.chain(optax.add_noise(1e-3, 0.5, 0), optax.sgd(0.5)), None),
}


def go(optimizer, noise, **options):
    return lp.descend(PROBLEM, START, optimizer, steps=500, record=12, noise=noise, keep_states=True, **options)


@pytest.mark.parametrize(
    ("scenario", "step"), [("sgd", 1), ("sgd", 3), *((scenario, 60) for scenario in SCENARIOS)], ids=str
)
def test_interrupted_and_resumed_is_bitwise_the_uninterrupted_run(scenario, step, tmp_path, ctrl_c):
    optimizer, noise = SCENARIOS[scenario]
    whole = go(optimizer, noise)
    with ctrl_c(at=step):
        part = go(optimizer, noise, checkpoint=tmp_path / "checkpoint")
    assert part.outcome is lp.Outcome.INTERRUPTED
    assert part.metrics.step.values[-1] < 500
    resumed = go(optimizer, noise, checkpoint=tmp_path / "checkpoint")
    assert resumed.outcome is lp.Outcome.COMPLETED
    assert resumed.metrics.identical(whole.metrics)
    for a, b in zip(
        jax.tree.leaves((whole.state, whole.states)),
        jax.tree.leaves((resumed.state, resumed.states)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_a_finished_run_comes_back_from_its_checkpoint_at_once(tmp_path):
    first = go(optax.sgd(0.5), None, checkpoint=tmp_path / "checkpoint")
    again = go(optax.sgd(0.5), None, checkpoint=tmp_path / "checkpoint")
    assert again.metrics.identical(first.metrics)


@pytest.mark.parametrize(
    "other",
    [
        {"optimizer": optax.sgd(0.4), "noise": None},
        {"optimizer": optax.sgd(0.5, momentum=0.9), "noise": None},
        {"optimizer": optax.sgd(0.5), "noise": lp.GradientNoise(0.1)},
    ],
    ids=["another step", "another optimiser", "noise"],
)
def test_a_checkpoint_of_another_run_is_refused(other, tmp_path):
    go(optax.sgd(0.5), None, checkpoint=tmp_path / "checkpoint")
    with pytest.raises(ValueError, match="to be a checkpoint of this very run"):
        go(other["optimizer"], other["noise"], checkpoint=tmp_path / "checkpoint")


@pytest.mark.parametrize("damage", [lambda data: data[:-50], lambda data: b"not a checkpoint", lambda data: b""])
def test_a_damaged_checkpoint_is_refused_in_one_sentence(damage, tmp_path):
    path = tmp_path / "checkpoint"
    go(optax.sgd(0.5), None, checkpoint=path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="to be a layerpeel checkpoint, got a damaged or foreign file"):
        go(optax.sgd(0.5), None, checkpoint=path)


def test_a_full_disk_at_a_checkpoint_is_a_warning_and_the_run_ends_well(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("layerpeel.dynamics.checkpoint.write_atomic", full)
    with pytest.warns(UserWarning, match="No space left on device; the run goes on"):
        run = go(optax.sgd(0.5), None, checkpoint=tmp_path / "checkpoint")
    assert run.outcome is lp.Outcome.COMPLETED


KILLED = """
import os, signal, sys
import numpy as np, optax
import layerpeel as lp
from layerpeel.dynamics import loop
loop.SECONDS_A_CHECKPOINT = 0.0
checkpoint, result, kill_after = sys.argv[1], sys.argv[2], int(sys.argv[3])
write, written = loop.write_checkpoint, []
def write_and_die(path, content):
    write(path, content)
    written.append(content.step)
    if len(written) == kill_after:
        os.kill(os.getpid(), signal.SIGKILL)
loop.write_checkpoint = write_and_die
problem = lp.ulpm(K=4, n=3, d=5)
run = lp.descend(problem, problem.init(seed=0), optax.sgd(0.5), steps=2000, checkpoint=checkpoint)
np.save(result, run.state.H)
"""


def test_kill_9_loses_nothing_but_time(tmp_path):
    def start(checkpoint, result, kill_after):
        command = [sys.executable, "-c", KILLED, tmp_path / checkpoint, tmp_path / result, str(kill_after)]
        return subprocess.run(command).returncode

    assert start("checkpoint", "killed.npy", kill_after=9) == -signal.SIGKILL
    assert not (tmp_path / "killed.npy").exists()
    assert start("checkpoint", "resumed.npy", kill_after=0) == 0
    assert start("another", "fresh.npy", kill_after=0) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "resumed.npy"), np.load(tmp_path / "fresh.npy"))


def test_an_interrupt_before_the_first_record_is_passed_on_and_the_run_can_start_again(tmp_path, monkeypatch):
    def pressed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("layerpeel.dynamics.recorder.observe", pressed)
        with pytest.raises(KeyboardInterrupt):
            go(optax.sgd(0.5), None, checkpoint=tmp_path / "checkpoint")
    resumed = go(optax.sgd(0.5), None, checkpoint=tmp_path / "checkpoint")
    assert resumed.metrics.identical(go(optax.sgd(0.5), None).metrics)


def test_a_checkpoint_without_states_is_not_taken_for_one_with(tmp_path):
    lp.descend(PROBLEM, START, optax.sgd(0.5), steps=500, record=12, checkpoint=tmp_path / "checkpoint")
    with pytest.raises(ValueError, match="to be a checkpoint of this very run"):
        go(optax.sgd(0.5), None, checkpoint=tmp_path / "checkpoint")


@pytest.mark.parametrize("optimizer", [optax.sgd(0.5), optax.adam(1e-2)], ids=["sgd", "adam"])
def test_pieces_do_not_change_a_bit(optimizer, monkeypatch):
    whole = go(optimizer, None)
    monkeypatch.setattr(loop, "SECONDS_A_PIECE", 0.0)
    assert go(optimizer, None).metrics.identical(whole.metrics)


def test_a_checkpoint_into_a_missing_folder_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(ValueError, match="need an existing folder for the checkpoint"):
        go(optax.sgd(0.5), None, checkpoint=tmp_path / "nowhere" / "checkpoint")
