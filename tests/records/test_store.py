"""A run's folder: exact round trips, and no way to lose or to misread a record."""

import hashlib
import json
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import xarray

from layerpeel.records.provenance import provenance
from layerpeel.records.store import Record, read_record, write_record

FILES = ["config.toml", "metrics.nc", "state.safetensors", "summary.json"]


def example(seed: int = 0) -> Record:
    rng = np.random.default_rng(seed)
    gap = rng.random((2, 4))
    gap[0, :3] = np.nan, np.inf, 5e-324
    metrics = xarray.Dataset(
        {"duality_gap": (("seed", "record"), gap), "loss": (("seed", "record"), -gap)},
        coords={
            "seed": [3, 4],
            "step": ("record", [0, 1, 10, 100]),
            "log_time": ("record", [-np.inf, 0.0, np.log(10), np.log(100)]),
            "loglog_time": ("record", [np.nan, np.nan, 0.8, 1.5]),
        },
        attrs={"title": "Entpellung – γ ≥ 0 漢", "time": "steps", "lr": 5.0, "K": 5, "empty": ""},
    )
    metrics["duality_gap"].attrs["unit"] = "‖·‖"
    return Record(
        config={
            "seed": seed,
            "K": 5,
            "lr": 0.1,
            "sizes": [1, 2],
            "name": "ü",
            "cut": float("inf"),
            "inner": {"on": True},
        },
        summary={"seeds": [3, 4], "outcome": "COMPLETED", "last": {"loss": float("-inf")}, "γ": 1 / 3},
        metrics=metrics,
        arrays={
            "W": rng.standard_normal((2, 5, 7)),
            "H": np.asfortranarray(rng.standard_normal((7, 3))),
            "scale": np.array(-0.0),
            "none": np.zeros((0, 3), dtype=np.float32),
        },
    )


def assert_same(got: Record, wanted: Record) -> None:
    assert got.config == wanted.config
    assert got.summary == wanted.summary
    xarray.testing.assert_identical(got.metrics, wanted.metrics)
    assert got.arrays.keys() == wanted.arrays.keys()
    for name, array in wanted.arrays.items():
        assert (got.arrays[name].dtype, got.arrays[name].shape) == (array.dtype, array.shape)
        assert got.arrays[name].tobytes() == array.tobytes()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_record_comes_back_bit_for_bit(tmp_path):
    folder = write_record(tmp_path / "deep" / "run", example())
    assert_same(read_record(folder), example())
    assert names(folder) == FILES


def test_nan_in_the_summary_and_config_comes_back_as_nan(tmp_path):
    record = Record({"x": float("nan")}, {"x": np.float64("nan")}, example().metrics, {})
    back = read_record(write_record(tmp_path, record))
    assert np.isnan(back.config["x"])
    assert np.isnan(back.summary["x"])


def test_numpy_scalars_in_the_summary_become_plain_numbers(tmp_path):
    record = Record({}, {"n": np.int64(3), "last": np.array([1.5, 2.5])}, example().metrics, {})
    assert read_record(write_record(tmp_path, record)).summary == {"n": 3, "last": [1.5, 2.5]}


def test_the_same_record_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_record(tmp_path / name, example())
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in FILES)


def test_a_record_replaces_the_old_one_and_leaves_other_files_alone(tmp_path):
    write_record(tmp_path, example(0))
    (tmp_path / "figure.png").write_bytes(b"kept")
    write_record(tmp_path, example(1))
    assert_same(read_record(tmp_path), example(1))
    assert names(tmp_path) == sorted([*FILES, "figure.png"])


def test_provenance_names_versions_and_hardware_in_json_types():
    found = json.loads(json.dumps(provenance()))
    assert found["versions"]["numpy"] == np.__version__
    assert {"layerpeel", "python", "xarray"} <= found["versions"].keys()
    assert found["cores"] >= 1
    assert found["platform"]
    assert found["processor"]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"config": {"x": None}}, "config.toml"),
        ({"summary": {"x": object()}}, "summary.json"),
        ({"arrays": {"W": np.array(["text"])}}, "state.safetensors"),
        ({"metrics": xarray.Dataset(attrs={"x": {"a": 1}})}, "metrics.nc"),
        ({"summary": {"sha256": {}}}, "summary.json"),
    ],
)
def test_what_a_format_cannot_hold_is_one_sentence_and_leaves_the_old_record(tmp_path, changes, name):
    write_record(tmp_path, example())
    with pytest.raises(ValueError, match=f"^need .*{name}.*, got[^\n]*$"):
        write_record(tmp_path, Record(**(vars(example()) | changes)))
    assert_same(read_record(tmp_path), example())
    assert names(tmp_path) == FILES


def test_a_file_in_place_of_the_folder_is_one_sentence(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(ValueError, match=r"need a folder to keep the record in, got the file .*run$"):
        write_record(tmp_path / "run", example())
    with pytest.raises(FileNotFoundError, match=r"need the folder of a run, got .*run, which is none$"):
        read_record(tmp_path / "run")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path, name):
    write_record(tmp_path, example())
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"^need a whole record in .*, got a folder without {name}$"):
        read_record(tmp_path)


DAMAGES = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "two bytes short": lambda data: data[:-2],
    "one byte changed": lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
    "pickled": lambda data: pickle.dumps({"W": [1, 2]}),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_one_sentence_that_names_it(tmp_path, name, damage):
    path = write_record(tmp_path, example()) / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"^need [^\n]*{name}[^\n]*, got [^\n]*$"):
        read_record(tmp_path)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "foreign", [b"", b"not this \xff format", pickle.dumps(print), b"\x89HDF\r\n\x1a\n" + b"\xff" * 99]
)
@pytest.mark.parametrize("name", FILES[:3])
def test_a_foreign_file_with_a_forged_checksum_is_one_sentence_too(tmp_path, name, foreign):
    folder = write_record(tmp_path, example())
    (folder / name).write_bytes(foreign)
    summary = json.loads((folder / "summary.json").read_text())
    summary["sha256"][name] = hashlib.sha256(foreign).hexdigest()
    (folder / "summary.json").write_text(json.dumps(summary))
    if (name, foreign) == ("config.toml", b""):
        assert read_record(folder).config == {}  # no option at all is TOML
        return
    with pytest.raises(ValueError, match=f"^need a readable {name}, got a damaged one at [^\n]*$"):
        read_record(folder)


@pytest.mark.parametrize("edit", [lambda _: [], lambda _: {}, lambda summary: summary | {"outcome": "better"}])
def test_a_summary_without_checksums_or_with_another_outcome_is_refused(tmp_path, edit):
    path = write_record(tmp_path, example()) / "summary.json"
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=r"^need a readable summary.json, got a damaged one at [^\n]*$"):
        read_record(tmp_path)


def in_a_child(tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run ``body`` in a fresh interpreter that has ``folder`` and ``example`` at hand."""
    head = f"""
        import sys; from pathlib import Path; sys.path.insert(0, {str(Path(__file__).parent)!r})
        import os, resource, signal; from test_store import example, read_record, write_record
        folder = Path({str(tmp_path)!r})
    """
    script = textwrap.dedent(head) + textwrap.dedent(body)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_leaves_the_old_record_and_no_temporary_file(tmp_path):
    write_record(tmp_path, example(0))
    # Python ignores SIGXFSZ, so that the write itself fails; config.toml still fits, metrics.nc does not.
    child = in_a_child(
        tmp_path,
        """
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))
        try:
            write_record(folder, example(1))
        except OSError as error:
            print(error.errno, flush=True)
        """,
    )
    assert child.stdout.strip() == "27", child.stderr  # EFBIG
    assert names(tmp_path) == FILES
    assert_same(read_record(tmp_path), example(0))


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_kill_between_two_renames_is_never_read_as_a_record(tmp_path):
    folders = [write_record(tmp_path / str(renames), example(0)) for renames in range(5)]
    child = in_a_child(
        tmp_path,
        """
        from layerpeel.records import store
        def dies_after(renames, rename=os.replace):
            def replace(old, new):
                nonlocal renames
                renames -= Path(new).parent.parent == folder
                os.kill(os.getpid(), signal.SIGKILL) if renames < 0 else rename(old, new)
            return replace
        for renames in range(5):
            if os.fork() == 0:
                store.os.replace = dies_after(renames)
                write_record(folder / str(renames), example(1))
                os._exit(0)
            print(os.waitstatus_to_exitcode(os.wait()[1]))
        """,
    )
    assert child.stdout.split() == ["-9"] * 4 + ["0"], child.stderr
    for mixed in folders[:4]:
        with pytest.raises(FileNotFoundError, match=r"got a folder without summary.json$"):
            read_record(mixed)
    assert_same(read_record(folders[4]), example(1))
