"""Moments merge exactly, in any order and grouping, on any kind of array."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerpeel.collapse import ClassMoments, MomentStream
from layerpeel.collapse.arrays import add_gram, symmetric

torch = pytest.importorskip("torch")


def samples(seed=0, N=60, K=5, d=4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, d)) * [1, 2, 3, 4] + 10, rng.integers(0, K, N)


def direct(H, y, K=5):
    """Counts, means, scatter and S_W from the definitions."""
    counts = np.array([(y == k).sum() for k in range(K)])
    means = np.stack([H[y == k].mean(0) if counts[k] else np.zeros(H.shape[1]) for k in range(K)])
    residuals = H - means[y]
    scatter = np.array([(residuals[y == k] ** 2).sum() for k in range(K)])
    return counts, means, scatter, residuals.T @ residuals


def assert_moments(moments, H, y, rtol=1e-12):
    counts, means, scatter, within = direct(H, y)
    np.testing.assert_array_equal(np.asarray(moments.counts), counts)
    np.testing.assert_allclose(np.asarray(moments.means), means, rtol=rtol)
    np.testing.assert_allclose(np.asarray(moments.scatter), scatter, rtol=rtol)
    np.testing.assert_allclose(np.asarray(moments.within), within, rtol=rtol, atol=rtol * scatter.sum())


def of(H, y, second="matrix"):
    return ClassMoments.empty(5, H.shape[1], second=second).update(H, y)


def test_one_batch_is_the_definition():
    H, y = samples()
    assert_moments(of(H, y), H, y)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(cuts=st.lists(st.integers(0, 60), max_size=6), seed=st.integers(0, 5))
def test_any_split_into_batches_gives_the_moments_of_the_whole(cuts, seed):
    H, y = samples(seed)
    stream = MomentStream(ClassMoments.empty(5, 4, second="matrix"))
    for part in np.split(np.arange(60), sorted(cuts)):
        stream.update(H[part], y[part])
    assert_moments(stream.moments(), H, y)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(cut=st.integers(0, 60), order=st.permutations(range(3)))
def test_merging_is_commutative_and_associative(cut, order):
    H, y = samples()
    parts = [of(H[:cut], y[:cut]), of(H[cut : cut + 9], y[cut : cut + 9]), of(H[cut + 9 :], y[cut + 9 :])]
    a, b, c = (parts[i] for i in order)
    assert_moments(a.merge(b).merge(c), H, y)
    assert_moments(a.merge(b.merge(c)), H, y)


def test_merging_with_nothing_changes_nothing():
    H, y = samples()
    whole, nothing = of(H, y), ClassMoments.empty(5, 4, second="matrix")
    for merged in (whole.merge(nothing), nothing.merge(whole)):
        np.testing.assert_array_equal(merged.means, whole.means)
        np.testing.assert_array_equal(merged.within, whole.within)


def test_an_origin_only_moves_the_means():
    H, y = samples()
    origin = H[0]
    stream = MomentStream(ClassMoments.empty(5, 4, second="matrix"), origin=origin)
    stream.update(H[:20], y[:20])
    stream.update(H[20:], y[20:])
    assert_moments(stream.moments(), H - origin, y, rtol=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_torch_moments_are_float64_tensors_of_what_came_in(dtype):
    H, y = samples()
    features = torch.tensor(H, dtype=getattr(torch, dtype), requires_grad=True)
    moments = ClassMoments.empty(5, 4, second="matrix", like=features)
    for part in (slice(0, 25), slice(25, 60)):
        moments = moments.update(features[part], torch.tensor(y[part]))
    assert isinstance(moments.means, torch.Tensor)
    assert moments.means.dtype == moments.scatter.dtype == moments.within.dtype == torch.float64
    exact = features.detach().double().numpy()
    _, means, scatter, within = direct(exact, y)
    np.testing.assert_allclose(moments.means, means, rtol=1e-13)
    np.testing.assert_allclose(moments.scatter, scatter, rtol=1e-12)
    # the products are in float32, of centred rows
    np.testing.assert_allclose(moments.within, within, rtol=1e-6, atol=1e-6 * scatter.sum())


def test_moments_are_frozen_while_the_stream_goes_on():
    H, y = samples()
    stream = MomentStream(ClassMoments.empty(5, 4))
    stream.update(H[:30], y[:30])
    early = stream.moments()
    kept = early.means.copy()
    stream.update(H[30:], y[30:])
    np.testing.assert_array_equal(early.means, kept)


def test_updating_moments_leaves_them_alone():
    H, y = samples()
    first = of(H[:30], y[:30])
    kept = first.means.copy()
    first.update(H[30:], y[30:])
    np.testing.assert_array_equal(first.means, kept)


def test_a_stream_makes_room_for_more_classes():
    H, y = samples()
    stream = MomentStream(ClassMoments.empty(2, 4, second="matrix"))
    early = y < 2
    stream.update(H[early], y[early])
    stream.reserve(5)
    stream.update(H[~early], y[~early])
    assert_moments(stream.moments(), H, y)


def test_wrong_batches_are_refused_and_leave_the_stream_unchanged():
    stream = MomentStream(ClassMoments.empty(3, 2))
    with pytest.raises(ValueError, match=r"need features \(B, 2\) and labels \(B,\), got \(4, 3\)"):
        stream.update(np.ones((4, 3)), np.zeros(4, dtype=int))
    with pytest.raises(ValueError, match=r"need labels 0 <= y < K = 3, got -1 \.\. 2"):
        stream.update(np.ones((2, 2)), [-1, 2])
    assert not stream.moments().counts.any()


def test_moments_of_another_kind_do_not_merge():
    H, y = samples()
    with pytest.raises(ValueError, match="need moments of the same kind"):
        of(H, y).merge(of(H, y, second="trace"))


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_gram_is_added_in_place_whatever_the_order_of_the_matrix(order):
    rows = np.random.default_rng(0).normal(size=(7, 5))
    matrix = np.asarray(np.eye(5), order=order)
    add_gram(matrix, rows)
    np.testing.assert_allclose(symmetric(matrix), np.eye(5) + rows.T @ rows, rtol=1e-14)
