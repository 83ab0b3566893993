"""Image sets: where they are looked for, what they are called, and what is refused."""

import gzip
from dataclasses import replace

import numpy as np
import pytest

from layerpeel.networks import data
from layerpeel.networks.idx import read_idx

FILES = list(data.FASHION_MNIST)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Neither the environment nor the cache has any image set."""
    monkeypatch.delenv("LAYERPEEL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def counterfeit(nowhere, monkeypatch):
    """A folder of tiny files that have the form of FashionMNIST, with their own checksums."""
    folder = nowhere / "fashion-mnist"
    folder.mkdir()
    rng = np.random.default_rng(0)
    checksums = {}
    for name in FILES:
        shape = (6, 28, 28) if "images" in name else (6,)
        entries = rng.integers(0, 10, size=shape, dtype=np.uint8)
        header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
        (folder / name).write_bytes(gzip.compress(header + entries.tobytes()))
        checksums[name] = None
    monkeypatch.setattr(data, "FASHION_MNIST", checksums)
    return folder


def test_a_folder_is_taken_as_the_image_set_itself_or_as_its_parent(counterfeit):
    itself, parent = (data.find_images("fashion-mnist", data_dir=f) for f in (counterfeit, counterfeit.parent))
    assert np.array_equal(itself.train_images, parent.train_images)
    assert np.array_equal(itself.test_labels, read_idx(counterfeit / FILES[3], ndim=1))
    assert itself.name == "fashion-mnist"
    assert itself.num_classes == 10


def test_folders_are_searched_in_order_argument_environment_cache(counterfeit, monkeypatch):
    root = counterfeit.parent
    monkeypatch.setenv("LAYERPEEL_DATA", str(root / "environment"))
    assert data.search_path("argument") == [
        data.Path("argument"),
        root / "environment",
        root / "cache" / "layerpeel",
    ]
    counterfeit.rename(root / "kept")
    for place in ("cache/layerpeel/fashion-mnist", "environment", "argument/fashion-mnist"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / "kept").rename(root / place)
        assert data._folder(root / "argument") == root / place
        (root / place).rename(root / "kept")


def test_the_cache_is_in_the_home_folder_by_default(nowhere, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(nowhere))
    monkeypatch.setenv("LAYERPEEL_DATA", "")
    assert data.search_path() == [nowhere / ".cache" / "layerpeel"]


def test_without_a_name_the_images_found_are_taken_and_digits_otherwise(counterfeit, monkeypatch):
    assert data.images().name == "digits"
    monkeypatch.setenv("LAYERPEEL_DATA", str(counterfeit))
    assert data.images().name == "fashion-mnist"
    assert data.images("digits").name == "digits"


def test_a_folder_given_by_hand_is_never_passed_over_for_digits(nowhere):
    for name in (None, "fashion-mnist"):
        with pytest.raises(FileNotFoundError, match=rf"fashion-mnist was found in none of {nowhere}/typo, .*cache"):
            data.images(name, data_dir=nowhere / "typo")


def test_an_unknown_image_set_is_refused_by_name():
    with pytest.raises(ValueError, match="need one of the image sets 'fashion-mnist' and 'digits', got 'cifar10'"):
        data.images("cifar10")


@pytest.mark.parametrize("missing", FILES)
def test_a_folder_with_a_file_missing_is_an_error_not_digits(counterfeit, monkeypatch, missing):
    monkeypatch.setenv("LAYERPEEL_DATA", str(counterfeit))
    (counterfeit / missing).unlink()
    with pytest.raises(ValueError, match=rf"need all 4 files of fashion-mnist in {counterfeit}, got no {missing}"):
        data.images()


def test_files_of_the_right_form_but_other_content_are_refused(counterfeit, monkeypatch):
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"need content with SHA-256 c59f468a\w+ in .*train-images\S+, got \w{64}"):
        data.find_images("fashion-mnist", data_dir=counterfeit)


def test_digits_are_real_labelled_as_digits_and_split_without_overlap():
    digits = data.digits()
    assert (len(digits.train_labels), len(digits.test_labels)) == (1348, 449)
    assert digits.name == "digits"
    assert "digits" in digits.source
    assert "not MNIST" in digits.source
    together = np.concatenate([digits.train_images, digits.test_images]).reshape(1797, -1)
    everything = data.require("sklearn.datasets").load_digits().data
    assert np.array_equal(together[np.lexsort(together.T)], everything[np.lexsort(everything.T)])
    assert np.bincount(digits.test_labels).min() > 30
    assert np.array_equal(digits.train_images, data.digits().train_images)


def test_pixels_are_the_images_as_vectors_between_zero_and_one():
    digits = data.digits()
    for pixels, grey in ((digits.train_pixels(), digits.train_images), (digits.test_pixels(), digits.test_images)):
        assert np.array_equal(16 * pixels, grey.reshape(-1, 64))
        assert pixels.min() == 0
        assert pixels.max() == 1


def test_a_subset_keeps_images_with_their_labels_and_repeats_by_seed():
    digits = data.digits()
    marked = replace(digits, train_images=np.tile(digits.train_labels.astype(np.uint8)[:, None, None], (1, 8, 8)))
    few = marked.subset(100, seed=3)
    assert np.array_equal(few.train_images[:, 0, 0], few.train_labels)
    assert np.array_equal(few.train_labels, digits.subset(100, seed=3).train_labels)
    assert not np.array_equal(few.train_labels, digits.subset(100, seed=4).train_labels)
    assert len(digits.subset(10_000).train_labels) == 1348
    with pytest.raises(ValueError, match="need samples >= 1, got samples=0"):
        digits.subset(0)


@pytest.mark.skipif(data._folder(None) is None, reason="FashionMNIST is not found by the search order")
def test_fashion_mnist_is_whole_balanced_and_in_its_order():
    fashion = data.find_images("fashion-mnist")
    assert fashion.train_images.shape == (60_000, 28, 28)
    assert fashion.test_images.shape == (10_000, 28, 28)
    assert (np.bincount(fashion.train_labels) == 6000).all()
    assert (np.bincount(fashion.test_labels) == 1000).all()
    assert [fashion.class_names[k] for k in fashion.train_labels[:3]] == ["Ankle boot", "T-shirt/top", "T-shirt/top"]
