"""Saved features: every format round-trips, roles are found or asked for, and nothing hostile runs or crashes."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import safetensors.numpy

from layerpeel.records import read_features
from layerpeel.records.array_files import open_arrays
from layerpeel.rings import MissingRing

torch = pytest.importorskip("torch")
import safetensors.torch  # noqa: E402 (it imports torch)

N, D, K = 12, 5, 3


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "features": rng.normal(size=(N, D)).astype(np.float32),
        "labels": np.arange(N) % K,
        "fc.weight": rng.normal(size=(K, D)).astype(np.float32),
        "fc.bias": rng.normal(size=K).astype(np.float32),
    }


def tensors(arrays):
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def save(path, arrays):
    """``arrays`` written as a training script would write them."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".safetensors":
        safetensors.torch.save_file(tensors(arrays), path)
    elif path.suffix == ".pt":
        torch.save(tensors(arrays), path)
    elif path.suffix == ".parquet":
        features = arrays["features"]
        column = pa.FixedSizeListArray.from_arrays(features.ravel(), features.shape[1])
        table = pa.table({"features": column, "labels": arrays["labels"]})
        pyarrow.parquet.write_table(table, path, row_group_size=5)
    return path


class Bomb:
    """Creates a file if it is ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def refused(path, **options):
    """The sentence with which ``path`` is refused."""
    with pytest.raises(ValueError) as error:  # noqa: PT011
        read_features(path, **options)
    sentence = str(error.value)
    assert sentence.startswith("need ")
    assert "\n" not in sentence
    assert str(path) in sentence
    return sentence


# ---- formats ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_features_labels_and_head_come_back_as_they_were_saved(tmp_path, arrays, suffix):
    saved = read_features(save(tmp_path / f"run{suffix}", arrays))
    for array, name in (
        (saved.features, "features"),
        (saved.labels, "labels"),
        (saved.classifier, "fc.weight"),
        (saved.bias, "fc.bias"),
    ):
        assert np.array_equal(array, arrays[name])
        assert array.dtype == arrays[name].dtype
    assert saved.keys == {
        "features": "features",
        "labels": "labels",
        "classifier": "fc.weight",
        "bias": "fc.bias",
    }


def test_parquet_with_a_fixed_size_list_column_and_several_row_groups(tmp_path, arrays):
    saved = read_features(save(tmp_path / "run.parquet", arrays))
    assert np.array_equal(saved.features, arrays["features"])
    assert np.array_equal(saved.labels, arrays["labels"])
    assert saved.classifier is None
    assert saved.bias is None


def test_parquet_with_lists_of_equal_lengths_is_read_and_of_unequal_ones_refused(tmp_path):
    path = tmp_path / "run.parquet"
    pyarrow.parquet.write_table(pa.table({"X": [[1.0, 2.0], [3.0, 4.0]], "y": [0, 1]}), path)
    assert np.array_equal(read_features(path).features, [[1, 2], [3, 4]])
    pyarrow.parquet.write_table(pa.table({"X": [[1.0, 2.0], [3.0]], "y": [0, 1]}), path)
    assert "the lists in column X differ in length, 1 to 2" in refused(path)


@pytest.mark.parametrize("rows", [[[1.0, 2.0], None], [[1.0, 2.0], [None, 3.0]]])
def test_parquet_with_nulls_is_refused(tmp_path, rows):
    path = tmp_path / "run.parquet"
    pyarrow.parquet.write_table(pa.table({"X": pa.array(rows, pa.list_(pa.float32(), 2)), "y": [0, 1]}), path)
    assert "column X has nulls" in refused(path)


def test_two_npy_files_are_memory_mapped(tmp_path, arrays):
    np.save(tmp_path / "h.npy", arrays["features"])
    np.save(tmp_path / "y.npy", arrays["labels"])
    saved = read_features(tmp_path / "h.npy", labels_path=tmp_path / "y.npy")
    assert isinstance(saved.features, np.memmap)
    assert np.array_equal(saved.features, arrays["features"])
    assert np.array_equal(saved.labels, arrays["labels"])
    assert saved.classifier is None


def test_labels_may_lie_in_another_file_of_another_kind(tmp_path, arrays):
    np.save(tmp_path / "h.npy", arrays["features"])
    np.savez(tmp_path / "y.npz", targets=arrays["labels"], other=1)
    torch.save(torch.from_numpy(arrays["labels"]), tmp_path / "y.pt")
    for labels in ("y.npz", "y.pt"):
        saved = read_features(tmp_path / "h.npy", labels_path=tmp_path / labels)
        assert np.array_equal(saved.labels, arrays["labels"])


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_bfloat16_is_read_to_its_exact_values(tmp_path, arrays, suffix):
    half = {name: tensor.bfloat16() for name, tensor in tensors(arrays).items() if name != "labels"}
    kept = {**half, "labels": torch.from_numpy(arrays["labels"])}
    path = tmp_path / f"run{suffix}"
    safetensors.torch.save_file(kept, path) if suffix == ".safetensors" else torch.save(kept, path)
    saved = read_features(path)
    assert saved.features.dtype == np.float32
    assert np.array_equal(saved.features, half["features"].float())
    assert np.array_equal(saved.bias, half["fc.bias"].float())


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "i1", "u2", "i4", "u8"])
def test_safetensors_of_every_type_of_numbers(tmp_path, dtype):
    expected = {"X": np.arange(6).reshape(3, 2).astype(dtype), "y": np.arange(3).astype(dtype)}
    safetensors.numpy.save_file(expected, tmp_path / "run.safetensors", metadata={"made": "by hand"})
    saved = read_features(tmp_path / "run.safetensors")
    assert np.array_equal(saved.features, expected["X"])
    assert saved.features.dtype == np.dtype(dtype)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".pt", ".parquet"])
def test_an_empty_batch_is_read(tmp_path, suffix):
    empty = {"features": np.zeros((0, D), np.float32), "labels": np.zeros(0, np.int64)}
    path = save(tmp_path / f"run{suffix}", empty)
    if suffix == ".npy":
        np.save(path, empty["features"])
        np.save(tmp_path / "y.npy", empty["labels"])
    saved = read_features(path, labels_path=tmp_path / "y.npy" if suffix == ".npy" else None)
    assert len(saved.features) == len(saved.labels) == 0


def test_tensors_with_gradients_and_extensions_in_capitals_are_read(tmp_path):
    torch.save({"h": torch.ones(2, 2, requires_grad=True), "y": torch.arange(2), "epoch": 7}, tmp_path / "a.PT")
    assert np.array_equal(read_features(tmp_path / "a.PT").features, np.ones((2, 2)))


def test_only_the_arrays_wanted_are_read(tmp_path):
    np.savez(tmp_path / "run.npz", X=np.ones((2, 2)), y=np.arange(2), model=np.array([{}], dtype=object))
    assert np.array_equal(read_features(tmp_path / "run.npz").features, np.ones((2, 2)))


# ---- roles ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", ["features", "feat_list", "feats", "embeddings", "X", "h"])
@pytest.mark.parametrize("labels", ["labels", "label_list", "targets", "label", "y"])
def test_features_and_labels_are_found_under_each_known_name(tmp_path, features, labels):
    np.savez(tmp_path / "run.npz", **{features: np.ones((2, 3)), labels: np.arange(2), "unknown": np.ones(9)})
    saved = read_features(tmp_path / "run.npz")
    assert (saved.features.shape, saved.labels.shape) == ((2, 3), (2,))
    assert saved.keys == {"features": features, "labels": labels}


@pytest.mark.parametrize("weight", ["weight", "W", "fc.weight", "head.weight"])
@pytest.mark.parametrize("bias", ["bias", "b", "fc.bias", "head.bias", None])
def test_the_head_is_found_under_each_known_name(tmp_path, weight, bias):
    head = {weight: np.ones((2, 3))} | ({bias: np.ones(2)} if bias else {})
    np.savez(tmp_path / "run.npz", X=np.ones((2, 3)), y=np.arange(2), **head)
    saved = read_features(tmp_path / "run.npz")
    assert saved.classifier.shape == (2, 3)
    assert (saved.bias is None) == (bias is None)


def test_a_bias_without_a_classifier_is_no_head(tmp_path):
    np.savez(tmp_path / "run.npz", X=np.ones((2, 3)), y=np.arange(2), b=np.ones(2))
    assert read_features(tmp_path / "run.npz").bias is None


def test_names_given_win_over_names_found(tmp_path):
    np.savez(tmp_path / "run.npz", X=np.ones((2, 3)), features=np.zeros((2, 3)), y=np.arange(2), a=1, c=2, e=3)
    keys = {"features_key": "X", "labels_key": "a", "classifier_key": "c", "bias_key": "e"}
    saved = read_features(tmp_path / "run.npz", **keys)
    assert saved.features.sum() == 6
    assert (saved.labels, saved.classifier, saved.bias) == (1, 2, 3)
    assert saved.keys == {"features": "X", "labels": "a", "classifier": "c", "bias": "e"}


def test_several_candidates_none_or_a_wrong_name_are_answered_with_what_the_file_holds(tmp_path):
    path = tmp_path / "run.npz"
    np.savez(path, X=np.ones((2, 3)), feats=np.ones((2, 3)), q=np.arange(2))
    holds = f"{path}, which holds X, feats, q"
    assert refused(path) == f"need a choice between feats and X for the features in {holds}"
    assert refused(path, features_key="x") == f"need features under the name 'x' in {holds}"
    names = "labels, label_list, targets, label, y"
    assert refused(path, features_key="X") == f"need labels under one of the names {names} in {holds}"


def test_a_file_of_very_many_arrays_is_listed_in_part(tmp_path):
    np.savez(tmp_path / "run.npz", **{f"layer{i}": np.ones(1) for i in range(50)})
    assert refused(tmp_path / "run.npz").endswith("layer18, layer19 and 30 more")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_a_file_without_arrays_says_so(tmp_path, suffix):
    assert refused(save(tmp_path / f"run{suffix}", {})).endswith("which holds no array")


def test_one_npy_file_alone_has_no_labels(tmp_path):
    np.save(tmp_path / "h.npy", np.ones((2, 2)))
    assert "need labels under one of" in refused(tmp_path / "h.npy")


@pytest.mark.parametrize("entries", [["a", "b"], [1j, 2j], [b"a", b"b"]])
def test_entries_that_are_no_numbers_are_refused(tmp_path, entries):
    np.savez(tmp_path / "run.npz", X=np.ones((2, 2)), y=np.array(entries))
    assert "need real numbers in y" in refused(tmp_path / "run.npz")


# ---- damaged, foreign and hostile files -------------------------------------------------------------------


def damaged(whole):
    """Empty, cut short at several places, with a byte changed at both ends, and not such a file at all."""
    ends = bytes([whole[0] ^ 0xFF]) + whole[1:-1] + bytes([whole[-1] ^ 0xFF])
    cuts = [whole[: len(whole) * share // 100] for share in (1, 20, 50, 90)]
    return [b"", *cuts, whole[:-1], ends, b"no such file\n" * 40, bytes(300)]


@pytest.mark.parametrize("damage", range(9))
@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".pt", ".parquet"])
def test_damaged_files_are_refused_in_one_sentence(tmp_path, arrays, suffix, damage):
    path = tmp_path / f"run{suffix}"
    np.save(path, arrays["features"]) if suffix == ".npy" else save(path, arrays)
    path.write_bytes(damaged(path.read_bytes())[damage])
    np.save(tmp_path / "y.npy", arrays["labels"])
    assert "need a whole" in refused(path, labels_path=tmp_path / "y.npy")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".pt", ".parquet"])
def test_a_pickle_under_any_extension_is_never_run(tmp_path, suffix, protocol):
    mark = tmp_path / "ran"
    path = tmp_path / f"run{suffix}"
    path.write_bytes(pickle.dumps({"features": Bomb(mark), "labels": Bomb(mark)}, protocol=protocol))
    refused(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())  # the bomb is a live one
    assert mark.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_objects_inside_genuine_containers_are_never_unpickled(tmp_path, legacy):
    mark = tmp_path / "ran"
    bombs = np.array([Bomb(mark)], dtype=object)
    np.save(tmp_path / "a.npy", bombs)
    np.savez(tmp_path / "a.npz", features=bombs, labels=bombs)
    torch.save(
        {"features": torch.ones(2, 2), "labels": Bomb(mark)},
        tmp_path / "a.pt",
        _use_new_zipfile_serialization=not legacy,
    )
    for name in ("a.npy", "a.npz", "a.pt"):
        sentence = refused(tmp_path / name)
        assert "allow_pickle=True" not in sentence
        assert "trust" not in sentence
    assert not mark.exists()


def test_an_archive_member_that_is_no_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "run.npz", "w") as archive:
        archive.writestr("features", b"raw bytes")
        archive.writestr("labels.npy", b"\x93NUMPY\x01\x00")
    assert "features is no array" in refused(tmp_path / "run.npz")


def test_a_header_that_claims_a_giant_array_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**15, 9)})
    (tmp_path / "run.npy").write_bytes(header.getvalue() + bytes(64))
    with zipfile.ZipFile(tmp_path / "run.npz", "w") as archive:
        archive.writestr("X.npy", header.getvalue())
        archive.writestr("y.npy", header.getvalue())
    for name in ("run.npy", "run.npz"):
        assert "need a whole" in refused(tmp_path / name)


def test_float8_safetensors_are_refused_by_name(tmp_path):
    kept = {"X": torch.ones(2, 2).to(torch.float8_e4m3fn), "y": torch.arange(2)}
    safetensors.torch.save_file(kept, tmp_path / "run.safetensors")
    assert "entries of type F8_E4M3 are not supported" in refused(tmp_path / "run.safetensors")


@pytest.mark.parametrize("name", ["run.csv", "run", "run.pkl", "run.npz.bak"])
def test_another_extension_is_refused_with_those_that_are_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"1,2,3")
    assert "need a file with extension .npz, .npy, .safetensors, .parquet, .pt, got" in refused(tmp_path / name)


def test_folders_pipes_and_missing_files_are_told_apart(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    assert refused(tmp_path / "folder.npz") == f"need a file, got the folder {tmp_path / 'folder.npz'}"
    os.mkfifo(tmp_path / "pipe.npz")
    assert "need a file, got something else" in refused(tmp_path / "pipe.npz")
    with pytest.raises(FileNotFoundError, match=rf"^there is no file {tmp_path}/gone\.npz$"):
        read_features(tmp_path / "gone.npz")
    np.save(tmp_path / "h.npy", np.ones((2, 2)))
    with pytest.raises(FileNotFoundError, match=r"^there is no file \S+gone\.npy$"):
        read_features(tmp_path / "h.npy", labels_path=tmp_path / "gone.npy")


def test_a_file_that_may_not_be_read_is_a_permission_error(tmp_path, monkeypatch):
    path = save(tmp_path / "run.npz", {"X": np.ones(1)})

    def forbidden(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", forbidden)  # root may read everything
    with pytest.raises(PermissionError, match=rf"^need permission to read {path}, got none$"):
        read_features(path)


def test_a_missing_ring_gives_its_pip_command(tmp_path, arrays, monkeypatch):
    path = save(tmp_path / "run.pt", arrays)

    def missing(module):
        raise MissingRing("pip install 'layerpeel[torch]'")

    monkeypatch.setattr("layerpeel.records.array_files.require", missing)
    with pytest.raises(MissingRing, match="pip install"):
        open_arrays(path)
