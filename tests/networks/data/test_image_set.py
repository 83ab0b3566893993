"""Image sets: where they are looked for, what they are called, and what is refused."""

import gzip
import hashlib
from dataclasses import replace

import numpy as np
import pytest

from layerpeel.networks.data import image_set as data
from layerpeel.networks.data.idx import Content, read_idx

FILES = list(data.FASHION_MNIST)


def idx_bytes(entries):
    return bytes([0, 0, 8, entries.ndim]) + np.array(entries.shape, ">u4").tobytes() + entries.tobytes()


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
    contents = {}
    for name in FILES:
        shape = (6, 28, 28) if "images" in name else (6,)
        plain = idx_bytes(rng.integers(0, 10, size=shape, dtype=np.uint8))
        (folder / name).write_bytes(gzip.compress(plain))
        contents[name] = Content(len(plain), hashlib.sha256(plain).hexdigest())
    monkeypatch.setattr(data, "FASHION_MNIST", contents)
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
    sentence = r"need one of the image sets 'fashion-mnist', 'digits' and 'mnist-format' \(in a folder given\), got 'c"
    with pytest.raises(ValueError, match=sentence):
        data.images("cifar10")


@pytest.mark.parametrize("missing", FILES)
def test_a_folder_with_a_file_missing_is_an_error_not_digits(counterfeit, monkeypatch, missing):
    monkeypatch.setenv("LAYERPEEL_DATA", str(counterfeit))
    (counterfeit / missing).unlink()
    with pytest.raises(ValueError, match=rf"need all 4 files of fashion-mnist in {counterfeit}, got no {missing}"):
        data.images()


def test_files_of_the_right_form_but_other_content_are_refused(counterfeit, monkeypatch):
    altered = bytearray(gzip.decompress((counterfeit / FILES[0]).read_bytes()))
    altered[-1] ^= 1
    (counterfeit / FILES[0]).write_bytes(gzip.compress(altered))
    with pytest.raises(ValueError, match=r"need content with SHA-256 \w{64} in .*train-images\S+, got \w{64}"):
        data.find_images("fashion-mnist", data_dir=counterfeit)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"need content of 47040016 bytes in .*train-images\S+, got 4720 by its sizes"):
        data.find_images("fashion-mnist", data_dir=counterfeit)


def test_decompressed_files_are_the_image_set_too(counterfeit):
    zipped = data.find_images("fashion-mnist", data_dir=counterfeit)
    for name in FILES:
        (counterfeit / name.removesuffix(".gz")).write_bytes(gzip.decompress((counterfeit / name).read_bytes()))
        (counterfeit / name).unlink()
    plain = data.find_images("fashion-mnist", data_dir=counterfeit)
    assert np.array_equal(plain.train_images, zipped.train_images)
    assert np.array_equal(plain.test_labels, zipped.test_labels)


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


@pytest.fixture
def mnist_format(tmp_path):
    """Writes a folder of MNIST-format files; ``change`` gives other arrays in place of some of them."""
    rng = np.random.default_rng(1)
    arrays = dict(
        zip(
            [name.removesuffix(".gz") for name in FILES],
            [
                rng.integers(0, 256, size=(5, 4, 3), dtype=np.uint8),
                np.array([0, 2, 2, 1, 5], np.uint8),
                rng.integers(0, 256, size=(2, 4, 3), dtype=np.uint8),
                np.array([6, 0], np.uint8),
            ],
            strict=True,
        )
    )

    def write(folder="letters", named="{}", pack=bytes, **change):
        (tmp_path / folder).mkdir()
        for name, entries in arrays.items():
            entries = change.get(name.partition("-idx")[0].replace("-", "_"), entries)
            (tmp_path / folder / named.format(name)).write_bytes(pack(idx_bytes(entries)))
        return tmp_path / folder, list(arrays.values())

    return write


def dotted(folder):
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.replace("-idx", ".idx"))


@pytest.mark.parametrize("dot", [False, True], ids=["dash", "dot"])
@pytest.mark.parametrize(("named", "pack"), [("{}", bytes), ("{}.gz", gzip.compress)], ids=["plain", "gzip"])
def test_mnist_format_files_are_read_under_all_their_names(mnist_format, named, pack, dot):
    folder, arrays = mnist_format(named=named, pack=pack)
    if dot:
        dotted(folder)
    found = data.images("mnist-format", data_dir=folder)
    for read, written in zip(
        (found.train_images, found.train_labels, found.test_images, found.test_labels), arrays, strict=True
    ):
        assert np.array_equal(read, written)
    assert found.name == "letters"
    assert str(folder) in found.source
    assert found.class_names == tuple("0123456")
    assert found.levels == 255


@pytest.mark.parametrize("name", ["fashion-mnist", "digits"])
def test_unknown_files_never_take_the_name_of_a_known_image_set(mnist_format, name):
    folder, _ = mnist_format(folder=name)
    assert data.images("mnist-format", data_dir=folder).name == f"{name} (mnist-format)"
    with pytest.raises(ValueError, match="need content of 47040016 bytes"):
        data.images("fashion-mnist", data_dir=folder)


ONES = np.ones(3, np.uint8)
MISFITS = {
    "labels lacking": ({"train_labels": ONES}, "need as many labels in .*train-labels.* as .*, got 5 images and 3 "),
    "test labels lacking": ({"t10k_labels": ONES}, "need as many labels in .*t10k.*, got 2 images and 3 labels"),
    "images of two sizes": (
        {"t10k_images": np.zeros((2, 3, 4), np.uint8)},
        r"need images of one size in .*train-images.* and .*t10k-images.*, got \(4, 3\) and \(3, 4\)",
    ),
    "no image": (
        {"train_images": np.zeros((0, 4, 3), np.uint8), "train_labels": np.zeros(0, np.uint8)},
        r"need at least one entry in .*train-images.*, got sizes \(0, 4, 3\)",
    ),
    "labels for images": ({"train_images": ONES}, "need an IDX file with magic 0x00000803, got .*train-images"),
}


@pytest.mark.parametrize(("change", "sentence"), MISFITS.values(), ids=MISFITS)
def test_files_that_do_not_fit_each_other_are_one_sentence(mnist_format, change, sentence):
    folder, _ = mnist_format(**change)
    with pytest.raises(ValueError, match=sentence) as error:
        data.images("mnist-format", data_dir=folder)
    assert "\n" not in str(error.value)


def test_mnist_format_needs_its_folder_with_all_four_files(mnist_format, tmp_path):
    with pytest.raises(ValueError, match="need data_dir, the folder of the four files, for mnist-format, got none"):
        data.images("mnist-format")
    with pytest.raises(
        FileNotFoundError, match=rf"need the four files of mnist-format .* in {tmp_path}/nowhere, got a folder without$"
    ):
        data.images("mnist-format", data_dir=tmp_path / "nowhere")
    folder, _ = mnist_format()
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match=rf"need all 4 files of mnist-format in {folder}, got no t10k-labels"):
        data.images("mnist-format", data_dir=folder)


def numbered(class_sizes, seed=0):
    """An image set whose one-pixel images are all different, in random order."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(class_sizes)), class_sizes))
    numbers = np.arange(len(labels), dtype=np.uint8)[:, None, None]
    names = tuple(str(k) for k in range(len(class_sizes)))
    return data.ImageSet("numbers", "", numbers, labels, numbers[:3], labels[:3], names)


def numbers_of(images):
    return images.train_images.ravel().tolist()


def sizes_of(images):
    return np.bincount(images.train_labels, minlength=images.num_classes).tolist()


def test_a_balanced_subset_has_equally_many_of_every_class_in_random_order():
    whole = numbered([30, 20, 40])
    few = whole.subset(60, seed=5, balanced=True)
    assert sizes_of(few) == [20, 20, 20]
    assert len(set(numbers_of(few))) == 60
    assert np.array_equal(few.train_labels, whole.train_labels[numbers_of(few)])
    assert numbers_of(few) != sorted(numbers_of(few))
    assert numbers_of(few) == numbers_of(whole.subset(60, seed=5, balanced=True))
    assert numbers_of(few) != numbers_of(whole.subset(60, seed=6, balanced=True))
    assert len(np.flatnonzero(few.train_labels[:30] == 2)) < 20  # the classes are mixed


@pytest.mark.parametrize("balanced", [False, True])
def test_a_larger_subset_contains_the_smaller(balanced):
    subsets = [set(numbers_of(numbered([30, 20, 40]).subset(m, balanced=balanced))) for m in (3, 15, 60)]
    assert subsets[0] < subsets[1] < subsets[2]


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (0, "need samples >= 1, got samples=0"),
        (31, "need a multiple of K = 3 samples for a balanced subset, got 31"),
        (63, "need 21 images of every class, got 20 of class 1"),
    ],
)
def test_a_balanced_subset_that_cannot_be_is_refused(samples, sentence):
    with pytest.raises(ValueError, match=sentence):
        numbered([30, 20, 40]).subset(samples, balanced=True)


@pytest.mark.parametrize(
    ("ratio", "minority", "sizes"),
    [
        (10, None, [20, 20, 20, 2, 2]),
        (10.0, 4, [20, 2, 2, 2, 2]),
        (3, 1, [20, 20, 20, 20, 7]),
        (40, 2, [20, 20, 20, 1, 1]),
        (1e9, 2, [20, 20, 20, 1, 1]),
        (1, 2, [20] * 5),
    ],
)
def test_step_imbalance_leaves_a_share_of_the_last_classes_and_all_of_the_others(ratio, minority, sizes):
    whole = numbered([20] * 5)
    steep = whole.imbalanced(ratio, minority=minority)
    assert sizes_of(steep) == sizes
    kept = numbers_of(steep)
    assert kept == sorted(set(kept))  # each once, in the order of the set
    assert np.array_equal(steep.train_labels, whole.train_labels[kept])
    assert steep.test_images is whole.test_images
    assert steep.test_labels is whole.test_labels


def test_without_imbalance_the_set_is_what_it_was():
    whole = numbered([7, 3, 9])
    assert numbers_of(whole.imbalanced(1)) == numbers_of(whole)


def test_imbalance_repeats_by_seed_and_grows_by_leaving_out():
    whole = numbered([20] * 5)
    assert numbers_of(whole.imbalanced(4, seed=1)) == numbers_of(whole.imbalanced(4, seed=1))
    assert numbers_of(whole.imbalanced(4, seed=1)) != numbers_of(whole.imbalanced(4, seed=2))
    assert set(numbers_of(whole.imbalanced(8, seed=1))) < set(numbers_of(whole.imbalanced(4, seed=1)))


def test_imbalance_of_a_balanced_subset_has_two_class_sizes():
    assert sizes_of(numbered([25, 20, 30]).subset(60, seed=3, balanced=True).imbalanced(5, minority=2)) == [20, 4, 4]


def test_a_class_without_an_image_stays_without():
    assert sizes_of(replace(numbered([9, 9]), class_names=("a", "b", "c")).imbalanced(3)) == [9, 9, 0]


@pytest.mark.parametrize(
    ("ratio", "minority", "sentence"),
    [
        (0.5, None, "need a finite imbalance ratio R >= 1, got ratio=0.5"),
        (float("nan"), None, "got ratio=nan"),
        (float("inf"), None, "got ratio=inf"),
        (2, 0, "need 0 < minority < K = 3 classes, got minority=0"),
        (2, 3, "need 0 < minority < K = 3 classes, got minority=3"),
    ],
)
def test_an_imbalance_that_cannot_be_is_refused(ratio, minority, sentence):
    with pytest.raises(ValueError, match=sentence):
        numbered([4, 4, 4]).imbalanced(ratio, minority=minority)


@pytest.mark.skipif(data._folder(None) is None, reason="FashionMNIST is not found by the search order")
def test_fashion_mnist_is_whole_balanced_and_in_its_order():
    fashion = data.find_images("fashion-mnist")
    assert fashion.train_images.shape == (60_000, 28, 28)
    assert fashion.test_images.shape == (10_000, 28, 28)
    assert (np.bincount(fashion.train_labels) == 6000).all()
    assert (np.bincount(fashion.test_labels) == 1000).all()
    assert [fashion.class_names[k] for k in fashion.train_labels[:3]] == ["Ankle boot", "T-shirt/top", "T-shirt/top"]


def test_a_test_subset_is_some_of_the_test_images_and_leaves_the_training_set():
    whole = data.digits()
    part = whole.test_subset(50)
    assert len(part.test_labels) == 50
    assert {image.tobytes() for image in part.test_images} <= {image.tobytes() for image in whole.test_images}
    assert np.array_equal(part.train_images, whole.train_images)
    assert np.array_equal(part.test_labels, whole.test_subset(50).test_labels)
    with pytest.raises(ValueError, match="need samples >= 1, got samples=0"):
        whole.test_subset(0)
