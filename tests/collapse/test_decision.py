"""Margins against Lemma 3.1's bound for any class sizes, and NC4 sample by sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import collapse

from layerpeel.collapse import measure
from layerpeel.frames import simplex_etf
from layerpeel.separation import separation_cost


def dense_separation_cost(counts):
    """|(I - J/K) Y|_* with Y written out."""
    K = len(counts)
    Y = np.repeat(np.eye(K), counts, axis=1)
    return np.linalg.norm(Y - Y.mean(axis=0), "nuc")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=9))
def test_separation_cost_is_the_nuclear_norm_of_the_centred_labels(counts):
    assert separation_cost(counts) == pytest.approx(dense_separation_cost(counts), rel=1e-10, abs=1e-10)


def test_separation_cost_of_the_golden_cases():
    assert separation_cost([10] * 5 + [1] * 5) == pytest.approx(18.99431852, abs=5e-9)
    assert separation_cost([10] * 5) == pytest.approx(12.649110640673518, rel=1e-15)
    assert separation_cost([3, 0, 3]) == pytest.approx(np.sqrt(3) + 1)
    assert separation_cost(np.zeros(3, dtype=int)) == separation_cost([7]) == 0


@pytest.mark.parametrize("wrong", [[1, -1], [0.5, 1], [[1]]])
def test_separation_cost_needs_class_sizes(wrong):
    with pytest.raises(ValueError, match="class sizes that are integers >= 0"):
        separation_cost(wrong)


def test_the_simplex_reaches_the_bound_and_a_perturbed_one_does_not():
    M = simplex_etf(5, 6, seed=0).T
    W, H = 10**0.25 * M, np.repeat(M / 10**0.25, 10, axis=0)  # |W| = |H|
    H *= np.linalg.norm(W) / np.linalg.norm(H)
    y = np.repeat(np.arange(5), 10)
    assert measure(H, y, classifier=W).margin_ratio == pytest.approx(1, rel=1e-14)
    assert measure(H, y, classifier=1.1 * W).margin_ratio < 1 - 1e-3
    assert measure(H + 1e-2 * np.random.default_rng(0).normal(size=H.shape), y, classifier=W).margin_ratio < 1


def test_unequal_classes_reach_the_bound_at_the_seli_geometry():
    counts = [7, 3, 2, 2]
    Y = np.repeat(np.eye(4), counts, axis=1)
    U, s, Vt = np.linalg.svd(Y - Y.mean(axis=0), full_matrices=False)
    W, H = U * np.sqrt(s), np.sqrt(s)[:, None] * Vt
    assert measure(H.T, np.repeat(np.arange(4), counts), classifier=W).margin_ratio == pytest.approx(1, rel=1e-12)


def test_random_points_stay_under_the_bound_of_unequal_classes():
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(4), [7, 3, 2, 2])
    for _ in range(50):
        W = rng.normal(size=(4, 5))
        H = (W - W.mean(0))[y] + 0.3 * rng.normal(size=(14, 5))
        assert measure(H, y, classifier=W).margin_ratio < 1


def test_with_unequal_classes_the_bias_is_one_more_feature_that_is_always_one():
    rng = np.random.default_rng(2)
    H, y, W, b = rng.normal(size=(12, 5)), np.minimum(np.arange(12) % 4, 2), rng.normal(size=(3, 5)), rng.normal(size=3)
    absorbed = measure(np.column_stack([H, np.ones(12)]), y, classifier=np.column_stack([W, b]))
    report = measure(H, y, classifier=W, bias=b)
    assert report.margin == pytest.approx(absorbed.margin)
    assert report.margin_ratio == pytest.approx(absorbed.margin_ratio)
    assert report.bias_collapse == pytest.approx(absorbed.bias_collapse)


@pytest.mark.parametrize("noise", [0.05, 0.7, 3.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_decisions_are_those_of_the_loops_whether_settled_or_not(noise, dtype):
    rng = np.random.default_rng(3)
    y = np.repeat(np.arange(6), 10)
    mu = rng.normal(size=(6, 4))
    H = (mu[y] + noise * rng.normal(size=(60, 4)) + 2).astype(dtype)
    W, b = (mu + 0.3 * rng.normal(size=(6, 4))).astype(dtype), rng.normal(size=6).astype(dtype)
    report, exact = measure(H, y, classifier=W, bias=b), collapse(H, y, W, b)
    assert report.nc4_mismatch == pytest.approx(exact["nc4_mismatch"], abs=1e-12)
    assert report.margin == pytest.approx(exact["margin"], rel=2e-5 if dtype == np.float32 else 1e-11)


def test_nearest_means_that_almost_coincide_are_told_apart_in_float32():
    rng = np.random.default_rng(4)
    mu = rng.normal(size=(5, 8)) * 10
    mu[1] = mu[0] + 1e-3 * rng.normal(size=8)
    y = np.repeat(np.arange(5), 40)
    H = (mu[y] + 1e-3 * rng.normal(size=(200, 8))).astype(np.float32)
    exact = H.astype(np.float64)
    means = np.stack([exact[y == k].mean(0) for k in range(5)])
    nearest = ((exact[:, None] - means) ** 2).sum(-1).argmin(1)
    assert 0.03 < (nearest != y).mean() < 0.5
    # a head that always says y, so that the mismatch counts the samples nearer to another mean
    head = np.eye(5)[y].T @ np.linalg.pinv(exact - exact.mean(0)).T
    logits = (exact - exact.mean(0)) @ head.T
    report = measure(H, y, classifier=head, bias=-head @ exact.mean(0))
    assert report.nc4_mismatch == pytest.approx((logits.argmax(1) != nearest).mean(), abs=1e-12)


def test_the_bias_belongs_in_the_decision():
    H, y, W = np.eye(4), np.arange(4), np.eye(4)
    assert measure(H, y, classifier=W).nc4_mismatch == 0
    assert measure(H, y, classifier=W, bias=[0, 0, 0, 9]).nc4_mismatch == 0.75


def test_tied_logits_decide_for_the_first_class():
    report = measure(np.eye(4), np.arange(4), classifier=np.zeros((4, 4)))
    assert report.nc4_mismatch == 0.75
    assert report.margin == report.margin_ratio == 0
