"""What is finished of a study outlives an interrupt and a kill, and the study goes on to the same bits."""

import os
import signal
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
from pressing import pressed

import layerpeel as lp
from layerpeel.experiments import (
    Acceleration,
    DeepFeatures,
    LossComparison,
    MinorityCollapse,
    SphereCodes,
    cases,
    conduct,
)
from layerpeel.experiments.cases import Answer, solve_cases
from layerpeel.outcome import Outcome

BAR = "layerpeel.experiments.cases.progress_bar"
STUDIES = [
    Acceleration(K=3, n=2, d=4, steps=20, seeds=2, records=5, optimizers="plain,adam:0.01"),
    LossComparison(losses="cross-entropy,hinge", steps=20, seeds=2, records=5),
    DeepFeatures(classes="4", depths="2,3", scales="0.3", seeds=2),
    SphereCodes(classes="3", starts=2, code_starts=1),
    MinorityCollapse(K=3, majorities="1", d=3, E_H=1.0, ratios=2, steps=30, seeds=2, learning_rate=1.0),
]
"""Of two cases each."""


def same(one, other):
    equal = [np.array_equal(one.arrays[name], other.arrays[name], equal_nan=True) for name in one.arrays]
    return one.metrics.identical(other.metrics) and one.arrays.keys() == other.arrays.keys() and all(equal)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_a_study_that_was_interrupted_ends_in_the_record_of_one_that_was_not(study, tmp_path, monkeypatch):
    with pressed(BAR, at=1):
        part = conduct(study, tmp_path / "run", progress=False)
    assert part.outcome == Outcome.INTERRUPTED.name
    shown = []
    monkeypatch.setattr(cases, "progress_bar", lambda *a, **k: nullcontext(shown.append))
    resumed = conduct(study, tmp_path / "run", resume=True, progress=False)
    assert shown == [1, 2]  # the first is done from the start on
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
    whole = conduct(study, tmp_path / "whole", progress=False)
    assert resumed.outcome == whole.outcome == Outcome.COMPLETED.name
    assert same(resumed.record, whole.record)
    assert resumed.text == whole.text


KILLED = """
import os, signal, sys
from pathlib import Path
from layerpeel.experiments import DeepFeatures, conduct, deep_features
search, calls = deep_features._search, []
def killed(*arguments):
    calls.append(arguments)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return search(*arguments)
deep_features._search = killed
conduct(DeepFeatures(classes="4", depths="2,3", scales="0.3", seeds=2), Path(sys.argv[1]), progress=False)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_study_that_was_killed_goes_on_behind_its_finished_cases(tmp_path, monkeypatch):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "run")], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["checkpoint.safetensors", "config.toml"]
    whole = conduct(STUDIES[2], tmp_path / "whole", progress=False)
    shown = []
    monkeypatch.setattr(cases, "progress_bar", lambda *a, **k: nullcontext(shown.append))
    resumed = conduct(STUDIES[2], tmp_path / "run", resume=True, progress=False)
    assert shown == [1, 2]
    assert same(resumed.record, whole.record)


def odd(case):
    """An answer with everything that could lose a bit."""
    numbers = {
        "float": np.array([0.1, -0.0, np.nan, np.inf, 5e-324]),
        "turned": np.arange(6.0).reshape(2, 3).T,
        "whole": np.int64(2**62 + case),
        "truth": [True, False],
        "single": 1 / 3,
        "a/b c": np.float32(0.1),
    }
    return Answer(numbers, Outcome.NONFINITE if case == 1 else Outcome.COMPLETED)


def test_answers_are_handed_back_bit_for_bit(tmp_path):
    path = tmp_path / "checkpoint"
    solved = solve_cases([0, 1, 2], odd, path, progress=False)
    again = solve_cases([0, 1, 2], lambda case: pytest.fail("solved again"), path, progress=False)
    assert solved.outcome is again.outcome is Outcome.NONFINITE
    assert solved.seconds == again.seconds
    for case, numbers in solved.numbers.items():
        assert list(numbers) == list(again.numbers[case])
        for name, values in numbers.items():
            held = again.numbers[case][name]
            assert (values.dtype, values.shape, values.tobytes()) == (held.dtype, held.shape, held.tobytes())


def test_a_case_that_was_under_way_is_no_finished_one(tmp_path):
    def solve(case):
        return odd(case) if case == 0 else Answer({"part": 1.0}, Outcome.INTERRUPTED)

    solved = solve_cases([0, 1, 2], solve, tmp_path / "checkpoint", progress=False)
    assert list(solved.numbers) == [0]
    assert solved.outcome is Outcome.INTERRUPTED
    assert solved.ending["outcome"]["name"] == "INTERRUPTED"


def test_an_interrupt_before_anything_is_finished_is_one(tmp_path):
    def solve(case):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve_cases([0, 1], solve, tmp_path / "checkpoint", progress=False)
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:-1], lambda whole: b"thesis" * 100])
def test_a_damaged_checkpoint_is_one_sentence(damage, tmp_path):
    path = tmp_path / "checkpoint"
    solve_cases([0], odd, path, progress=False)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"^need .* to be a layerpeel checkpoint, got a damaged or foreign file$"):
        solve_cases([0, 1], odd, path, progress=False)


def test_a_checkpoint_of_something_else_is_one_sentence(tmp_path):
    path, problem = tmp_path / "checkpoint", lp.ulpm(3, 2, 4)
    lp.descend(problem, problem.init(0), lp.normalized(0.1), 5, checkpoint=path)
    with pytest.raises(ValueError, match=r"^need .* to be a checkpoint of this very run, got one of other cases$"):
        solve_cases([0, 1], odd, path, progress=False)
    solve_cases([0], odd, tmp_path / "other", progress=False)
    with pytest.raises(ValueError, match="of this very run"):
        solve_cases([1, 0], odd, tmp_path / "other", progress=False)
