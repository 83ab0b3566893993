"""Thresholds of minority collapse: golden values, and the convex program on both sides of them."""

from fractions import Fraction

import numpy as np
import pytest

import layerpeel as lp

GOLDEN = {(5, 5, 1, 5): 12.192447, (3, 7, 1, 5): 245.496931, (2, 2, 1, 1): 3.380488}


def threshold(KA, KB, E_W, E_H):
    return lp.minority_collapse_threshold(KA=KA, KB=KB, E_W=E_W, E_H=E_H)


def spread(state, KB):
    """How far apart the minority classifiers are, in units of their size."""
    small = state.W[-KB:]
    return np.linalg.norm(small - small.mean(0)) / np.linalg.norm(state.W)


@pytest.mark.parametrize(("setting", "ratio"), GOLDEN.items(), ids=str)
def test_the_threshold_of_the_layer_peeled_model_is_the_golden_one(setting, ratio):
    assert threshold(*setting) == pytest.approx(ratio, abs=5e-7)


@pytest.mark.parametrize("setting", [(2, 2, 1, 1), (1, 2, 1, 1), (3, 2, 1, 0.5)], ids=str)
def test_minority_classifiers_coincide_from_the_threshold_on_and_not_before(setting):
    pytest.importorskip("cvxpy")
    KA, KB, E_W, E_H = setting
    for side, together in [(1 - 1e-3, False), (1 + 1e-3, True)]:
        ratio = Fraction(threshold(*setting) * side).limit_denominator(400)
        n = [ratio.numerator] * KA + [ratio.denominator] * KB
        assert (spread(lp.lpm(KA + KB, n, KA + KB, E_W, E_H).optimum().state, KB) < 1e-10) == together


def test_the_threshold_depends_on_the_product_of_the_bounds():
    assert threshold(3, 2, 4, 0.25) == pytest.approx(threshold(3, 2, 1, 1), rel=1e-13)


def test_the_threshold_rises_with_the_bounds_from_one_on():
    ratios = [threshold(3, 4, 1, E) for E in (1e-12, 0.01, 0.1, 1, 10, 100)]
    assert ratios[0] == pytest.approx(1, abs=1e-5)
    assert (np.diff([1, *ratios]) > 0).all()


@pytest.mark.parametrize("problem", ["no bias", "free bias", "weighted bias", "smoothed", "squared error", "sum"])
def test_the_weight_of_regularised_features_is_a_threshold(problem):
    """sqrt(n_B) <= N lam, on both sides; the large classes need not be alike."""
    pytest.importorskip("cvxpy")
    n = (9, 5, 2, 2)
    lam0 = lp.minority_collapse_weight(n, label_smoothing=0.1 * (problem == "smoothed"))
    make = {
        "no bias": lambda lam: lp.ufm(4, n, 4, lam / 2, 2 * lam),
        "free bias": lambda lam: lp.ufm(4, n, 4, lam / 2, 2 * lam, 0),
        "weighted bias": lambda lam: lp.ufm(4, n, 4, lam, lam, 0.1),
        "smoothed": lambda lam: lp.ufm(4, n, 4, lam, lam, loss=lp.CrossEntropy(label_smoothing=0.1)),
        "squared error": lambda lam: lp.mse_ufm(4, n, 4, lam, lam, bias=0.3),
        "sum": lambda lam: lp.ufm(4, n, 4, 18 * lam, 18 * lam, reduction="sum"),
    }[problem]
    assert spread(make(lam0 * (1 - 1e-5)).optimum().state, 2) > 1e-4
    assert spread(make(lam0 * (1 + 1e-5)).optimum().state, 2) < 1e-10


def test_the_weight_is_the_root_of_the_least_size_over_all_samples():
    assert lp.minority_collapse_weight(np.array([10, 10, 4, 4])) == pytest.approx(2 / 28, rel=1e-15)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: threshold(0, 2, 1, 1), "need KA >= 1 and an integer, got KA=0"),
        (lambda: threshold(2, 1, 1, 1), "need KB >= 2 and an integer, got KB=1"),
        (lambda: threshold(2, 2.5, 1, 1), "need KB >= 2 and an integer, got KB=2.5"),
        (lambda: threshold(2, 2, 0, 1), "need E_W > 0 and finite, got E_W=0"),
        (lambda: threshold(2, 2, 1, -1), "need E_H > 0 and finite, got E_H=-1"),
        (lambda: threshold(2, 2, 1, float("nan")), "need E_H > 0 and finite, got E_H=nan"),
        (lambda: threshold(5, 5, 1000, 1000), "need E_W E_H small enough for a ratio in float64"),
        (lambda: lp.minority_collapse_weight([4, 4, 1]), "need two classes or more of the least size"),
        (lambda: lp.minority_collapse_weight(5), "need n to be the class sizes, one int a class, got 5"),
        (lambda: lp.minority_collapse_weight([4, 0, 0]), "need n >= 1 and an integer, got n=0"),
        (lambda: lp.minority_collapse_weight([4, 1.5]), "need n >= 1 and an integer, got n=1.5"),
        (lambda: lp.minority_collapse_weight([2, 1, 1], label_smoothing=1), "need 0 <= label_smoothing < 1, got"),
    ],
)
def test_impossible_settings_are_refused_in_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        call()


def test_in_the_smallest_balls_the_threshold_is_one_to_rounding():
    for KA in (1, 2, 3):
        assert lp.minority_collapse_threshold(KA=KA, KB=2, E_W=1e-20, E_H=1e-20) == pytest.approx(1.0)
