"""What the metrics must not depend on: rotation, translation, scale, and the names of things."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerpeel.collapse import PRESETS, measure

SCALED = {"bias_collapse", "margin", "margin_ratio"}  # the units of the logits are theirs
MOVED = {"bias_collapse", "margin_ratio"}  # |H| and the mean feature are about the origin


def labelled(seed, K=5, d=7):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.repeat(np.arange(K), 2), rng.integers(0, K, 30)])
    mu = rng.normal(size=(K, d))
    return mu[y] + 0.6 * rng.normal(size=(len(y), d)), y, mu + 0.3 * rng.normal(size=(K, d)), rng.normal(size=K)


def fields(*args, but=(), **options):
    return {k: v for k, v in measure(*args, **options).asdict().items() if k not in but}


def same(left, right):
    assert left == pytest.approx(right, rel=1e-8, abs=1e-12)


seeds = st.integers(0, 10**6)
names = st.sampled_from(sorted(PRESETS))
calm = settings(max_examples=15, deadline=None, derandomize=True)


@calm
@given(seed=seeds, name=names)
def test_a_common_rotation_of_features_and_classifier_changes_nothing(seed, name):
    H, y, W, b = labelled(seed)
    Q, _ = np.linalg.qr(np.random.default_rng(seed + 1).normal(size=(7, 7)))
    same(
        fields(H @ Q, y, classifier=W @ Q, bias=b, preset=name),
        fields(H, y, classifier=W, bias=b, preset=name),
    )


@calm
@given(seed=seeds, size=st.floats(-6, 6))
def test_the_unit_of_the_features_and_of_the_classifier_changes_no_geometry(seed, size):
    H, y, W, _ = labelled(seed)
    scaled = fields(10**size * H, y, classifier=10 ** (size / 2) * W, but=SCALED)
    same(scaled, fields(H, y, classifier=W, but=SCALED))


@calm
@given(seed=seeds, name=names)
def test_a_translation_of_the_features_changes_no_geometry_and_no_decision(seed, name):
    H, y, W, b = labelled(seed)
    t = np.random.default_rng(seed + 2).normal(size=7) * 10
    moved = fields(H + t, y, classifier=W, bias=b - W @ t, preset=name, but=MOVED)
    same(moved, fields(H, y, classifier=W, bias=b, preset=name, but=MOVED))


@calm
@given(seed=seeds, name=names)
def test_the_names_of_the_classes_and_the_order_of_samples_change_nothing(seed, name):
    H, y, W, b = labelled(seed)
    rng = np.random.default_rng(seed + 3)
    names_, order = rng.permutation(5), rng.permutation(len(y))
    renamed = fields(
        H[order],
        names_[y[order]],
        classifier=W[np.argsort(names_)],
        bias=b[np.argsort(names_)],
        preset=name,
    )
    same(renamed, fields(H, y, classifier=W, bias=b, preset=name))


@calm
@given(seed=seeds)
def test_nc1_is_invariant_to_invertible_linear_maps(seed):
    H, y, _, _ = labelled(seed, K=8)  # with K-1 = d the means span the space
    T = np.random.default_rng(seed + 4).normal(size=(7, 7)) + 3 * np.eye(7)
    assert measure(H @ T, y).nc1 == pytest.approx(measure(H, y).nc1, rel=1e-6)


@calm
@given(seed=seeds)
def test_repeating_every_sample_changes_only_the_ratio_of_the_margin(seed):
    H, y, W, b = labelled(seed)
    twice = fields(np.tile(H, (2, 1)), np.tile(y, 2), classifier=W, bias=b, but={"margin_ratio"})
    same(twice, fields(H, y, classifier=W, bias=b, but={"margin_ratio"}))


@calm
@given(seed=seeds)
def test_dimensions_that_are_always_zero_change_nothing(seed):
    H, y, W, b = labelled(seed)
    wide = fields(np.pad(H, ((0, 0), (0, 40))), y, classifier=np.pad(W, ((0, 0), (0, 40))), bias=b)
    same(wide, fields(H, y, classifier=W, bias=b))


@calm
@given(seed=seeds)
def test_every_gap_is_nonnegative_and_the_margin_ratio_at_most_one(seed):
    values = measure(*labelled(seed)[:2], classifier=labelled(seed)[2], bias=labelled(seed)[3]).asdict()
    assert values.pop("margin_ratio") <= 1
    for unsigned in ("margin", "gnc2_log"):
        values.pop(unsigned)
    assert min(values.values()) >= 0
