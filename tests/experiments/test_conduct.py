"""A run's folder loses nothing: not to an interrupt, a second run, other settings, or a full disk."""

import re
import resource
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from layerpeel.experiments import UlpmDynamics, conduct
from layerpeel.outcome import Outcome
from layerpeel.records import read_record

SMALL = UlpmDynamics(K=3, n=2, d=3, steps=200, seeds=2, records=8)


def test_a_finished_run_leaves_a_whole_record_and_no_checkpoint(tmp_path):
    done = conduct(SMALL, tmp_path / "run", progress=False)
    assert done.outcome == "COMPLETED"
    record = read_record(tmp_path / "run")
    assert record.metrics.identical(done.record.metrics)
    assert record.config == {"experiment": "ulpm-dynamics", **SMALL.settings()}
    assert record.summary["seeds"] == [0, 1]
    assert record.summary["versions"]["layerpeel"]
    assert record.arrays["W"].shape == (2, 3, 3)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "config.toml",
        "metrics.nc",
        "state.safetensors",
        "summary.json",
    ]


def test_resuming_a_finished_run_hands_its_record_back(tmp_path, monkeypatch):
    first = conduct(SMALL, tmp_path / "run", progress=False)
    monkeypatch.setattr(UlpmDynamics, "run", lambda *a, **k: pytest.fail("computed again"))
    again = conduct(SMALL, tmp_path / "run", resume=True, progress=False)
    assert again.text == first.text
    assert again.record.metrics.identical(first.record.metrics)


def test_an_interrupted_run_is_kept_and_resumed_to_the_same_bits(tmp_path, ctrl_c):
    whole = conduct(SMALL, tmp_path / "whole", progress=False)

    with ctrl_c(at=20):
        part = conduct(SMALL, tmp_path / "run", progress=False)
    assert part.outcome == Outcome.INTERRUPTED.name
    assert read_record(tmp_path / "run").metrics.sizes["record"] < 8
    resumed = conduct(SMALL, tmp_path / "run", resume=True, progress=False)
    assert resumed.outcome == "COMPLETED"
    assert resumed.record.metrics.identical(whole.record.metrics)
    np.testing.assert_array_equal(resumed.record.arrays["H"], whole.record.arrays["H"])


def test_a_folder_in_use_is_refused(tmp_path):
    conduct(SMALL, tmp_path / "run", progress=False)
    with pytest.raises(ValueError, match=r"need a new folder, or --resume to go on"):
        conduct(SMALL, tmp_path / "run", progress=False)
    other = UlpmDynamics(K=4, n=2, d=3, steps=200, seeds=2, records=8)
    with pytest.raises(ValueError, match=r"need the settings of the run in .* to resume it \(K=3\), got others"):
        conduct(other, tmp_path / "run", resume=True, progress=False)


def test_a_folder_of_somebody_else_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="which holds something else"):
        conduct(SMALL, tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("settings", [{"K": 1}, {"optimizer": "magic"}, {"seeds": 0}, {"learning_rate": 0.0}])
def test_impossible_settings_leave_no_folder_behind(settings, tmp_path):
    with pytest.raises(ValueError, match=r"^need "):
        conduct(UlpmDynamics(**settings), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_divergence_is_recorded(tmp_path):
    done = conduct(
        UlpmDynamics(K=3, n=2, d=3, steps=200, seeds=2, learning_rate=1e300), tmp_path / "run", progress=False
    )
    assert done.outcome == "NONFINITE"
    assert read_record(tmp_path / "run").summary["outcome"]["name"] == "NONFINITE"


FULL_DISK = """
import resource, sys
from pathlib import Path
from layerpeel.experiments import UlpmDynamics, conduct
experiment = UlpmDynamics(K=3, n=2, d=3, steps=200, seeds=2, records=8)
run = UlpmDynamics.run
def run_on_a_disk_that_fills(self, checkpoint, **options):
    finding = run(self, checkpoint, **options)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))
    return finding
UlpmDynamics.run = run_on_a_disk_that_fills
conduct(experiment, Path(sys.argv[1]), progress=False, announce=print)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs limits on file sizes")
def test_a_disk_that_fills_at_the_end_loses_nothing(tmp_path):
    folder = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(folder)], capture_output=True, text=True)
    assert re.search(r"File too large: '.*metrics.nc'\n$", done.stderr)
    assert "The run took all the steps" in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.safetensors", "config.toml"]
    resumed = conduct(SMALL, folder, resume=True, progress=False)
    assert resumed.record.metrics.identical(conduct(SMALL, tmp_path / "whole", progress=False).record.metrics)


def test_a_folder_that_was_there_before_impossible_settings_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match=r"^need K >= 2"):
        conduct(UlpmDynamics(K=1), tmp_path / "mine", progress=False)
    assert list(tmp_path.iterdir()) == [tmp_path / "mine"]


class Bulky(UlpmDynamics):
    """Leaves a file that no disk takes."""

    def run(self, checkpoint, *, progress):
        finding = super().run(checkpoint, progress=progress)
        return replace(finding, files={"there is no such folder/model": b"weights"})


def test_a_file_that_does_not_fit_does_not_take_the_record_with_it(tmp_path):
    bulky = Bulky(K=3, n=2, d=3, steps=200, seeds=2, records=8)
    with pytest.warns(UserWarning, match="could not write .*model .*the record is whole without it"):
        done = conduct(bulky, tmp_path / "run", progress=False)
    assert read_record(done.folder).summary["outcome"]["name"] == "COMPLETED"


def test_whatever_goes_wrong_before_anything_is_computed_gives_the_folder_back(tmp_path):
    class Lost(UlpmDynamics):
        def run(self, checkpoint, *, progress):
            raise FileNotFoundError("fashion-mnist was found nowhere")

    with pytest.raises(FileNotFoundError):
        conduct(Lost(), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
