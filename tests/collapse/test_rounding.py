"""What is equal but for rounding is equal: it has no direction, and is never read as collapse."""

import numpy as np
import pytest

from layerpeel import margin, measure, ulpm
from layerpeel.problem import State
from layerpeel.separation import margin_bound, separation_cost


def test_equal_classifier_rows_have_no_geometry_and_a_note():
    rng = np.random.default_rng(0)
    H, y = rng.normal(size=(30, 5)), np.repeat(range(3), 10)
    for row in [np.full(5, 0.1), *rng.normal(size=(20, 5))]:
        report = measure(H, y, classifier=np.tile(row, (3, 1)))
        for field in ("classifier_norm_variation", "classifier_angle_gap", "nc2_classifier", "duality_gap", "nc3_dual"):
            assert np.isnan(getattr(report, field)), field
        assert any("classifier row is zero" in note for note in report.notes)


@pytest.mark.parametrize("unit", [1.0, 0.1, 1 / 3])
def test_a_mean_at_the_centre_has_no_direction_in_any_unit(unit):
    y = np.tile([0, 1, 2], 4)
    report = measure(unit * np.array([[1.0], [2.0], [3.0]])[y], y)
    assert np.isnan(report.mean_angle_gap)
    assert any("is the centre" in note for note in report.notes)


def test_means_that_differ_by_rounding_coincide():
    y = np.repeat([0, 1, 2], 4)
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(4, 2))
    H = np.vstack([noise + mean for mean in ((0.1 + 0.2, 0.7), (0.3, 0.7), (5.0, 1.0))])
    assert measure(H, y).cdnv == np.inf


def test_a_row_common_to_all_classifiers_decides_nothing_also_in_float32():
    rng = np.random.default_rng(2)
    H, y = rng.normal(size=(40, 6)).astype(np.float32), np.arange(40) % 4
    W = rng.normal(size=(4, 6))
    plain = measure(H, y, classifier=W)
    moved = measure(H, y, classifier=W + 1e6 * rng.normal(size=6))
    assert moved.margin == pytest.approx(plain.margin, rel=1e-6)
    assert moved.nc4_mismatch == plain.nc4_mismatch


def test_with_equal_classes_a_bias_leaves_the_bound_and_collapse_reaches_it():
    problem = ulpm(4, 3, 5, bias=True)
    best = ulpm(4, 3, 5).optimum("margin", rho2=7.0).state
    state = State(best.W, best.H, np.full(4, 0.3))
    assert margin(problem, state).ratio == pytest.approx(1.0, rel=1e-12)
    report = measure(best.H.T, problem.labels, classifier=best.W, bias=np.full(4, 0.3))
    assert report.margin_ratio == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(("counts", "cost"), [((1, 1, 0), 1.577350269), ((2, 2, 0, 0), 2.414213562), ((1, 1, 1), 2.0)])
def test_empty_classes_stay_rivals_in_the_cost_of_separation(counts, cost):
    K, labels = len(counts), np.repeat(np.arange(len(counts)), counts)
    centred = (np.eye(K) - 1 / K)[:, labels]
    assert separation_cost(counts) == pytest.approx(np.linalg.norm(centred, "nuc"), rel=1e-13)
    assert separation_cost(counts) == pytest.approx(cost, abs=1e-9)
    assert margin_bound(counts, 2 * cost) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("scale", [1e-60, 1e-30, 1e60])
def test_the_unit_of_the_features_does_not_matter(scale):
    rng = np.random.default_rng(3)
    H, y = rng.normal(size=(30, 5)), np.repeat(range(3), 10)
    plain, scaled = measure(H, y), measure(scale * H, y)
    for field in ("within_class_variation", "nc1", "nc1_quotient", "cdnv", "mean_angle_gap", "nc2_means"):
        assert getattr(scaled, field) == pytest.approx(getattr(plain, field), rel=1e-10), field


@pytest.mark.parametrize("scale", [1e-170, 1e-80, 1e80])
def test_features_whose_powers_are_no_numbers_are_refused(scale):
    H, y = np.random.default_rng(3).normal(size=(30, 5)), np.repeat(range(3), 10)
    with pytest.raises(ValueError, match=r"need features between 1e-70 and 1e\+70 in size"):
        measure(scale * H, y)


def test_autocast_does_not_reach_the_products():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    H, W = torch.tensor(100 + rng.normal(size=(60, 8)), dtype=torch.float32), torch.tensor(rng.normal(size=(3, 8)))
    y = torch.arange(60) % 3
    plain = measure(H, y, classifier=W.float()).asdict()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert measure(H, y, classifier=W.float()).asdict() == pytest.approx(plain, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize(("feature_scale", "weight_scale"), [(1e30, 1e30), (1.0, 1e60), (1e-30, 1.0)])
def test_what_float32_cannot_square_is_multiplied_in_float64(feature_scale, weight_scale):
    rng = np.random.default_rng(5)
    y = np.arange(60) % 3
    H = (rng.normal(size=(60, 8)) + 2 * np.eye(8)[y]).astype(np.float32)
    W = rng.normal(size=(3, 8)) + np.eye(3, 8)
    plain = measure(H.astype(np.float64), y, classifier=W)
    scaled = measure(feature_scale * H, y, classifier=weight_scale * W)
    assert scaled.nc4_mismatch == plain.nc4_mismatch
    assert scaled.margin == pytest.approx(plain.margin * feature_scale * weight_scale, rel=1e-5)
    assert scaled.nc1 == pytest.approx(plain.nc1, rel=1e-5)
