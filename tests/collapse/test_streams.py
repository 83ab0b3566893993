"""Batches give what arrays give; an iterator that can be walked once gives what one pass can."""

import math

import numpy as np
import pytest

import layerpeel.collapse.geometry
import layerpeel.collapse.samples
from layerpeel.collapse import measure

torch = pytest.importorskip("torch")


def labelled(N=90, K=6, d=10, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, K, N)
    mu = rng.normal(size=(K, d))
    return mu[y] + 0.7 * rng.normal(size=(N, d)) + 5, y, mu, rng.normal(size=K)


def close(report, other, rel=1e-9, but=()):
    left, right = ({k: v for k, v in r.asdict().items() if k not in but} for r in (report, other))
    assert left == pytest.approx(right, rel=rel, nan_ok=True)


def batches(H, y, size=13):
    return [(H[i : i + size], y[i : i + size]) for i in range(0, len(y), size)]


def test_a_list_of_batches_is_the_array():
    H, y, W, b = labelled()
    streamed = measure(batches(H, y), classifier=W, bias=b)
    close(streamed, measure(H, y, classifier=W, bias=b))
    assert streamed.passes == 2
    assert streamed.notes == ()


def test_a_shuffling_dataloader_is_the_array():
    H, y, W, b = labelled()
    data = torch.utils.data.TensorDataset(torch.tensor(H), torch.tensor(y))
    loader = torch.utils.data.DataLoader(data, batch_size=7, shuffle=True)
    close(measure(loader, classifier=torch.tensor(W), bias=b), measure(H, y, classifier=W, bias=b))


def test_the_number_of_classes_of_a_stream_is_found_on_the_way():
    H, y, _, _ = labelled()
    order = np.argsort(y)
    close(measure(batches(H[order], y[order])), measure(H, y))


def test_a_one_shot_iterator_gives_what_one_pass_can_and_says_so():
    H, y, W, b = labelled()
    once = measure(iter(batches(H, y)), classifier=W, bias=b)
    both = measure(H, y, classifier=W, bias=b)
    needs_means_first = {"within_class_variation", "nc4_mismatch"}
    close(once, both, but=needs_means_first)
    assert all(math.isnan(getattr(once, field)) for field in needs_means_first)
    assert once.passes == 1
    assert "one pass only" in once.notes[0]
    assert "within_class_variation  " not in str(once)


def test_a_generator_is_one_shot_in_float32_too():
    H, y, W, _ = labelled()
    H = H.astype(np.float32)
    once = measure((batch for batch in batches(H, y)), classifier=W)
    close(once, measure(H, y, classifier=W), rel=1e-5, but={"within_class_variation", "nc4_mismatch"})


def test_samples_that_change_between_the_passes_are_noticed():
    H, y, _, _ = labelled()
    rng = np.random.default_rng(0)

    class Augmented:
        def __iter__(self):
            return iter([(H + 0.1 * rng.normal(size=H.shape), y)])

    assert any("different samples" in note for note in measure(Augmented()).notes)


def test_classes_that_appear_in_the_second_pass_only_are_refused():
    H, y, _, _ = labelled()

    class Growing:
        walks = 0

        def __iter__(self):
            self.walks += 1
            return iter([(H, y if self.walks == 1 else y + 1)])

    with pytest.raises(ValueError, match="need the same samples in both passes, got class 6"):
        measure(Growing())


def test_ignored_and_dropped_samples_of_a_stream_are_counted_once():
    H, y, W, _ = labelled()
    H[3] = np.nan
    labels = np.where(np.arange(90) % 9 == 0, -100, y)
    options = {"classifier": W, "ignore_index": -100, "allow_nonfinite": "drop"}
    streamed, whole = measure(batches(H, labels), **options), measure(H, labels, **options)
    close(streamed, whole)
    assert streamed.dropped == whole.dropped == 11


def test_batches_that_disagree_on_d_are_refused():
    with pytest.raises(ValueError, match="batch 1: need features of dimension 3 as before, got 4"):
        measure([(np.ones((2, 3)), [0, 1]), (np.ones((2, 4)), [0, 1])])


def test_a_stream_without_a_batch_measures_nothing():
    report = measure([], num_classes=3)
    assert report.num_samples == 0
    assert "got 0" in report.notes[0]


@pytest.mark.parametrize("block", [1, 64, 500])
def test_the_size_of_the_blocks_changes_nothing(monkeypatch, block):
    H, y, W, b = labelled(N=400, K=70, d=12)
    whole = measure(H, y, classifier=W, bias=b)
    monkeypatch.setattr(layerpeel.collapse.samples, "BLOCK", block)
    monkeypatch.setattr(layerpeel.collapse.samples, "LEAST_ROWS", 1)
    monkeypatch.setattr(layerpeel.collapse.geometry, "BLOCK", block)
    close(measure(H, y, classifier=W, bias=b), whole)


@pytest.mark.parametrize("wrap", [torch.tensor, lambda x: __import__("jax").numpy.asarray(x)], ids=["torch", "jax"])
def test_torch_and_jax_arrays_are_the_numpy_array(wrap):
    H, y, W, b = labelled()
    H = H.astype(np.float32)
    report = measure(wrap(H), wrap(y), classifier=wrap(W.astype(np.float32)), bias=wrap(b.astype(np.float32)))
    exact = measure(H, y, classifier=W.astype(np.float32), bias=b.astype(np.float32))
    close(report, exact, rel=1e-5)
    assert report.within_class_variation == pytest.approx(exact.within_class_variation, rel=1e-12)


def test_torch_features_with_a_numpy_head_and_the_reverse():
    H, y, W, b = labelled()
    plain = measure(H, y, classifier=W, bias=b)
    close(measure(torch.tensor(H), y, classifier=W, bias=b), plain)
    close(measure(H, torch.tensor(y), classifier=torch.tensor(W), bias=torch.tensor(b)), plain)


def test_jax_bfloat16_is_accepted():
    jnp = pytest.importorskip("jax.numpy")
    H, y, _, _ = labelled()
    rounded = jnp.asarray(H, dtype=jnp.bfloat16)
    exact = measure(np.asarray(rounded).astype(np.float64), y)
    close(measure(rounded, y), exact, rel=1e-5)
