"""Real images end to end: trained, measured, kept, drawn, and the kept features measured again to the same numbers."""

import contextlib
import io
import json
import sys
from unittest import mock

import pytest

from layerpeel.cli import main
from layerpeel.collapse import measure
from layerpeel.experiments import Images, conduct, draw
from layerpeel.records import read_features, read_record


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "run"
    return folder, conduct(Images(data="digits", samples=300, epochs=5), folder, progress=False)


def test_the_record_says_what_was_measured_on_what(kept):
    folder, done = kept
    record = read_record(folder)
    assert record.metrics.source.values.tolist() == ["pixels", "train features", "test features"]
    assert record.metrics.attrs["title"] == "collapse on digits"
    assert "not MNIST" in record.summary["source"]
    assert "digits, pixels" in done.text
    assert float(record.metrics.within_class_variation.sel(source="train features")) < float(
        record.metrics.within_class_variation.sel(source="pixels")
    )


def test_the_kept_features_are_the_measured_ones(kept):
    folder, done = kept
    saved = read_features(folder / "features.npz")
    again = measure(saved.features, saved.labels, classifier=saved.classifier, bias=saved.bias).asdict()
    recorded = {str(k): float(v) for k, v in done.record.metrics.sel(source="train features").data_vars.items()}
    assert recorded == pytest.approx(again, nan_ok=True)


def test_its_figure_is_drawn_from_the_record(kept, tmp_path):
    folder, _ = kept
    assert [path.name for path in draw(read_record(folder), tmp_path)] == ["comparison.png"]


def command(*arguments):
    out, err = io.StringIO(), io.StringIO()
    argv = mock.patch.object(sys, "argv", ["layerpeel", *map(str, arguments)])
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), argv, pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0, out.getvalue(), err.getvalue()


def test_the_command_measures_the_kept_features(kept):
    folder, done = kept
    code, out, _ = command("measure", folder / "features.npz", "--json")
    assert code == 0
    recorded = float(done.record.metrics.nc1.sel(source="train features"))
    assert json.loads(out)["metrics"]["nc1"] == pytest.approx(recorded)


@pytest.mark.parametrize("option", [["--json"], ["--fail-above", "nc1=0"], ["--ignore-index", "3"]])
def test_options_of_files_are_refused_for_images_not_ignored(option):
    code, out, err = command("measure", "--images", "digits", *option)
    assert (code, out) == (2, "")
    assert err.startswith(f"layerpeel: need a FILE of saved features for {option[0]}, got --images")
