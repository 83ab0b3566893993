"""A flow that stops, by Ctrl-C or a kill, keeps what it has and goes on from its checkpoint."""

import os
import signal
import subprocess
import sys
import threading
from functools import partial
from unittest import mock

import numpy as np
import pytest
from pressing import pressed

import layerpeel as lp
from layerpeel.dynamics.single_flow import SingleFlow

interrupted = partial(pressed, "layerpeel.dynamics.flow.progress_bar")
PROBLEM = lp.ulpm(3, (2, 1, 3), 3, reduction="sum")
START = PROBLEM.init(seed=2, scale=0.4)


def test_ctrl_c_keeps_and_shows_what_there_is():
    problem = lp.ulpm(4, 3, 5)
    with interrupted(at=7):
        run = lp.flow(problem, problem.init(0), log_time=1e4, record=20)
    assert run.outcome is lp.Outcome.INTERRUPTED
    assert run.metrics.sizes["record"] == 7
    assert "interrupted" in str(run)
    assert np.isfinite(run.metrics.log_loss).all()


def test_ctrl_c_among_seeds_keeps_the_finished_ones():
    problem = lp.ulpm(4, 3, 5)
    with interrupted(at=27):
        run = lp.flow(problem, problem.init(range(3)), log_time=100.0, record=20)
    assert run.outcome is lp.Outcome.INTERRUPTED
    assert np.isfinite(run.metrics.log_loss.values).sum(axis=1).tolist() == [20, 7, 0]
    assert run.state.W.shape == (3, 4, 5)


@pytest.mark.parametrize("seeds", [0, range(3)])
def test_an_interrupted_flow_goes_on_from_its_checkpoint(tmp_path, seeds):
    problem = lp.ulpm(4, 3, 5)
    start, file = problem.init(seeds), tmp_path / "flow.safetensors"
    whole = lp.flow(problem, start, log_time=100.0, record=20, keep_states=True)
    with interrupted(at=7 if seeds == 0 else 27):
        broken = lp.flow(problem, start, log_time=100.0, record=20, keep_states=True, checkpoint=file)
    assert broken.outcome is lp.Outcome.INTERRUPTED
    begun = []
    with mock.patch.object(SingleFlow, "_integrator", autospec=True, side_effect=SingleFlow._integrator) as integrator:
        run = lp.flow(problem, start, log_time=100.0, record=20, keep_states=True, checkpoint=file)
        begun = [call.args[1][-1] for call in integrator.call_args_list]
    assert run.outcome is lp.Outcome.REACHED
    assert begun[0] > 0  # not from its start
    assert len(begun) == (1 if seeds == 0 else 2)  # the first seed was there
    np.testing.assert_allclose(run.state.W, whole.state.W, rtol=1e-6)
    np.testing.assert_allclose(run.metrics.margin_ratio, whole.metrics.margin_ratio, rtol=1e-6)
    np.testing.assert_array_equal(run.metrics.log_loss.values[..., :7], whole.metrics.log_loss.values[..., :7])
    assert run.states.W.shape == whole.states.W.shape
    assert run.seconds > broken.seconds
    again = lp.flow(problem, start, log_time=100.0, record=20, keep_states=True, checkpoint=file)
    np.testing.assert_array_equal(again.state.W, run.state.W)


def test_a_flow_to_zero_goes_on_with_the_tolerance_of_its_start(tmp_path):
    problem, file = lp.ufm(3, 2, 4, 1.0, 1.0), tmp_path / "flow.safetensors"
    start, times = problem.init(0), np.log(np.linspace(1.0, 40.0, 20)).tolist()
    whole = lp.flow(problem, start, time=40.0, record=times)
    with interrupted(at=10):
        lp.flow(problem, start, time=40.0, record=times, checkpoint=file)
    run = lp.flow(problem, start, time=40.0, record=times, checkpoint=file)
    np.testing.assert_allclose(run.state.W, whole.state.W, rtol=1e-6)
    assert run.outcome is whole.outcome is lp.Outcome.REACHED


def test_a_checkpoint_of_another_flow_is_refused(tmp_path):
    file = tmp_path / "flow.safetensors"
    lp.flow(PROBLEM, START, log_time=5.0, checkpoint=file)
    for other in ({"log_time": 6.0}, {"log_time": 5.0, "rtol": 1e-8}, {"log_time": 5.0, "state": 2.0 * START}):
        with pytest.raises(ValueError, match="to be a checkpoint of this very run"):
            lp.flow(PROBLEM, **({"state": START} | other), checkpoint=file)
    with pytest.raises(ValueError, match="need an existing folder for the checkpoint"):
        lp.flow(PROBLEM, START, log_time=5.0, checkpoint=tmp_path / "not" / "there")


def test_ctrl_c_while_the_first_step_compiles_is_heard_when_it_has():
    """In a process of its own, where nothing is compiled yet."""
    script = """
import os, signal, threading
import layerpeel as lp
problem = lp.ulpm(5, 10, 20)
threading.Timer(DELAY, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    run = lp.flow(problem, problem.init(0), log_time=1e6, rtol=1e-13, atol=1e-15, record=4000)
    print(run.outcome.name)
except KeyboardInterrupt:
    print("KeyboardInterrupt")
"""
    for delay in (0.1, 0.5, 1.0):
        done = subprocess.run(
            [sys.executable, "-c", script.replace("DELAY", str(delay))], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() in ("INTERRUPTED", "KeyboardInterrupt")


def test_ctrl_c_keeps_what_every_process_has():
    """The signal goes to this process alone; the flows of the others end after the step they are at."""
    problem = lp.ulpm(5, 10, 20)
    starts = problem.init(range(4), scale=0.1)
    timer = threading.Timer(6.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        run = lp.flow(problem, starts, log_time=1e6, rtol=1e-11, atol=1e-13, record=4_000, workers=2)
    finally:
        timer.cancel()
    assert run.outcome is lp.Outcome.INTERRUPTED
    records = np.isfinite(run.metrics["loss"].values).sum(1)
    assert (records > 0).sum() >= 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_while_a_flow_rests_keeps_its_records():
    problem = lp.ufm(3, 2, 3, 0.02, 0.02)

    def show(done):
        if done == 30:
            raise KeyboardInterrupt

    flow = SingleFlow(problem, np.linspace(0.0, 20.0, 40), since=-np.inf, rtol=1e-8, atol=1e-10, keep_states=False)
    found = flow.follow(problem.init(0), show)
    assert found.outcome is lp.Outcome.INTERRUPTED
    assert found.records == 30
