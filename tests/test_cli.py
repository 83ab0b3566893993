"""The shell command as a user meets it: what it prints, its exit code, and one sentence for wrong input."""

import json
import pickle
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from shell import layerpeel

from layerpeel.collapse import METRICS, measure

SMALL = ["ulpm-dynamics", "--set", "K=3", "--set", "n=2", "--set", "d=3", "--set", "steps=300", "--seeds", "2"]


def test_the_installed_command_exits_with_its_code():
    done = subprocess.run([Path(sys.executable).parent / "layerpeel", "frobnicate"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("layerpeel: Unknown command")


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("saved") / "saved.npz"
    y = np.repeat(np.arange(3), 10)
    np.savez(
        path, features=rng.normal(size=(30, 5)) + 3 * np.eye(5)[y], labels=y, weight=np.eye(3, 5), bias=np.zeros(3)
    )
    return path


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    done = layerpeel("run", *SMALL, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_run_prints_its_end_its_exponents_and_where_its_figures_are(small_run):
    folder, done = small_run
    assert done.stdout.startswith("The run took all the steps it was asked for.")
    assert "margin_gap" in done.stdout
    for name in ("collapse.png", "margin.png"):
        assert f"figure: {folder / 'figures' / name}" in done.stdout
        assert (folder / "figures" / name).read_bytes().startswith(b"\x89PNG")


def test_figure_redraws_the_same_bytes_without_computing(small_run, tmp_path):
    folder, _ = small_run
    done = layerpeel("figure", folder, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "collapse.png").read_bytes() == (folder / "figures" / "collapse.png").read_bytes()


def test_running_into_the_same_folder_is_refused_and_resume_shows_it_again(small_run):
    folder, first = small_run
    refused = layerpeel("run", *SMALL, "--out", folder)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    assert layerpeel("run", *SMALL, "--out", folder, "--resume").stdout == first.stdout


def test_measure_prints_the_report(features):
    done = layerpeel("measure", features)
    assert done.returncode == 0, done.stderr
    for line in METRICS:
        assert line.field in done.stdout


def test_measure_json_is_the_library_s_report(features):
    saved = np.load(features)
    report = measure(
        saved["features"], saved["labels"], classifier=saved["weight"], bias=saved["bias"], preset="zhu2021"
    )
    done = layerpeel("measure", features, "--json", "--preset", "zhu2021")
    found = json.loads(done.stdout)
    assert found["preset"] == "zhu2021"
    assert found["metrics"] == pytest.approx(report.asdict(), nan_ok=True)


def test_measure_csv_has_a_line_a_field(features):
    lines = layerpeel("measure", features, "--csv").stdout.splitlines()
    assert lines[0] == "field,value"
    assert len(lines) == 1 + len(METRICS)


@pytest.mark.parametrize(("limit", "code"), [("nc1=1000", 0), ("nc1=1e-9", 1)])
def test_fail_above_is_for_scripts(features, limit, code):
    assert layerpeel("measure", features, "--fail-above", limit).returncode == code


class Malicious:
    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return (open, (self.witness, "w"))


def hostile_files(folder):
    """Name -> a file that must be refused."""
    (folder / "empty.npz").write_bytes(b"")
    (folder / "text.npz").write_text("no archive")
    (folder / "half.npz").write_bytes(b"PK\x03\x04" + b"\0" * 100)
    (folder / "pickled.npz").write_bytes(pickle.dumps(Malicious(str(folder / "witness"))))
    np.savez(folder / "objects.npz", features=np.array([Malicious(str(folder / "witness"))], dtype=object), labels=[0])
    (folder / "half.safetensors").write_bytes(b"\xff" * 20)
    (folder / "notes.txt").write_text("features")
    np.savez(folder / "nothing.npz", a=np.ones(3))
    np.savez(folder / "nan.npz", features=np.full((4, 2), np.nan), labels=[0, 1, 0, 1])
    np.savez(folder / "labels.npz", features=np.ones((4, 2)), labels=[0, 1, 0])
    np.savez(folder / "negative.npz", features=np.ones((4, 2)), labels=[0, 1, 0, -1])
    return sorted(folder.iterdir())


def test_hostile_and_damaged_files_are_one_sentence_and_exit_code_2(tmp_path):
    for path in [*hostile_files(tmp_path), tmp_path / "absent.npz", tmp_path]:
        done = layerpeel("measure", path)
        assert done.returncode == 2, path
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("layerpeel: ")
    assert not (tmp_path / "witness").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["frobnicate"], "Unknown command"),
        (["run", "nope"], "need an experiment (ulpm-dynamics, images, network, acceleration, "),
        (["run", "ulpm-dynamics", "--set", "K=1"], "need K >= 2 and an integer, got K=1"),
        (["run", "ulpm-dynamics", "--set", "d=0"], "need d >= 1 and an integer, got d=0"),
        (["run", "ulpm-dynamics", "--set", "Q=1"], "need a setting of ulpm-dynamics"),
        (["run", "ulpm-dynamics", "--set", "K"], "need a setting as NAME=VALUE, got 'K'"),
        (["run", "ulpm-dynamics", "--frobnicate", "1"], "need a setting of ulpm-dynamics (K, "),
        (["run", "ulpm-dynamics", "--frobnicate"], "--frobnicate requires an argument"),
        (["run", "images", "--set", "data=cifar"], "need one of the image sets"),
        (["measure"], "need a FILE of saved features or --images, got neither"),
        (["measure", "FEATURES", "--preset", "mine"], "preset"),
        (["measure", "FEATURES", "--json", "--csv"], "need one of --json and --csv, got both"),
        (["measure", "FEATURES", "--fail-above", "nc9=1"], "need --fail-above FIELD=NUMBER"),
        (["measure", "FEATURES", "--num-classes", "2"], "labels 0 <= y < K"),
        (["figure", "nowhere"], "got nowhere, which is none"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(arguments, sentence, features, tmp_path):
    arguments = [str(features) if word == "FEATURES" else word for word in arguments]
    if arguments[0] == "run":
        arguments += ["--out", str(tmp_path / "run")]
    done = layerpeel(*arguments)
    assert done.returncode == 2, done.stdout
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert sentence in done.stderr
    assert not (tmp_path / "run").exists()


def test_conventions_list_and_doctor_say_what_they_announce():
    assert "papyan2020" in layerpeel("conventions").stdout
    assert "learning_rate: step size" in layerpeel("list").stdout
    doctor = layerpeel("doctor").stdout
    for topic in ("versions", "machine", "rings", "devices", "image sets"):
        assert topic in doctor


@pytest.mark.parametrize("command", ["run", "measure", "data", "figure", "conventions", "list", "doctor"])
def test_every_command_has_help(command):
    done = layerpeel(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: layerpeel")


def test_an_interrupted_run_prints_the_command_that_goes_on(tmp_path, small_run, ctrl_c):
    _, whole = small_run
    with ctrl_c(at=100):
        part = layerpeel("run", *SMALL, "--out", tmp_path / "run")
    assert part.returncode == 130
    command = part.stderr.splitlines()[-1].removeprefix("go on with: layerpeel ")
    resumed = layerpeel(*command.split())
    assert resumed.returncode == 0, resumed.stderr
    tables = [done.stdout.partition("\n\n")[2].partition("record:")[0] for done in (whole, resumed)]
    assert tables[0] == tables[1]


def test_every_setting_is_a_flag(tmp_path):
    settings = ["--K", "3", "--n", "[2,2,1]", "--learning-rate", "2", "--steps", "20"]
    done = layerpeel("run", "ulpm-dynamics", *settings, "--no-figures", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert (config["K"], config["n"], config["learning_rate"], config["steps"]) == (3, [2, 2, 1], 2.0, 20)
    wrong = layerpeel("run", "ulpm-dynamics", "--stepz", "20", "--out", tmp_path / "other")
    assert wrong.returncode == 2
    assert "got 'stepz'" in wrong.stderr
