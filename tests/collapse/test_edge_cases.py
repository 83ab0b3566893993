"""The table of edge cases, one row a test: each crashes or silently misleads some public tool."""

import math

import numpy as np
import pytest

from layerpeel.collapse import CollapseReport, measure
from layerpeel.frames import etf_gap_floor, simplex_etf

torch = pytest.importorskip("torch")


def clusters(K=4, n=6, d=8, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(K), n)
    mu = rng.normal(size=(K, d))
    return mu[y] + 0.3 * rng.normal(size=(K * n, d)), y, mu + 0.1 * rng.normal(size=(K, d))


def same(left: CollapseReport, right: CollapseReport, rel=1e-10, but=()):
    a, b = ({k: v for k, v in report.asdict().items() if k not in but} for report in (left, right))
    assert a == pytest.approx(b, rel=rel, abs=1e-12, nan_ok=True)


def test_a_class_with_no_sample_is_left_out_of_every_average():
    H, y, W = clusters()
    wider = np.insert(W, 2, 7.0, axis=0)
    report = measure(H, y + (y >= 2), classifier=wider, num_classes=5)
    # decisions are about what the head does with all its rows
    same(report, measure(H, y, classifier=W), but={"nc4_mismatch", "bias_collapse", "margin", "margin_ratio"})
    assert report.missing_classes == (2,)
    assert "class 2" in str(report)


def test_a_class_with_no_sample_can_still_be_decided_for():
    H, y, W = clusters()
    wider = np.vstack([W, 0 * W[:1]])
    bias = np.array([0, 0, 0, 0, 1e6])
    report = measure(H, y, classifier=wider, bias=bias)
    assert report.nc4_mismatch == 1
    assert report.margin < -1e5


def test_a_class_with_one_sample_counts_in_means_and_not_in_cdnv():
    H, y, _ = clusters()
    alone = np.r_[True, y[1:] != 0]
    report = measure(H[alone], y[alone])
    assert report.single_sample_classes == (0,)
    assert "class 0" in str(report)
    without = measure(H[y > 0], y[y > 0] - 1)
    assert report.cdnv == pytest.approx(without.cdnv, rel=1e-12)
    assert abs(report.mean_angle_gap - without.mean_angle_gap) > 1e-3


def test_one_sample_a_class_leaves_cdnv_undefined_and_says_so():
    report = measure(np.eye(4), np.arange(4))
    assert math.isnan(report.cdnv)
    assert any("cdnv" in note for note in report.notes)
    assert report.nc1 == 0
    assert report.within_class_variation == 0


def test_ignore_index_and_boolean_mask_drop_before_anything_is_counted():
    H, y, W = clusters()
    junk = np.vstack([H, np.full((3, 8), np.nan)])
    labels = np.r_[y, -100, -100, -100]
    plain = measure(H, y, classifier=W)
    ignored = measure(junk, labels, classifier=W, ignore_index=-100)
    masked = measure(junk, labels, classifier=W, mask=np.r_[y >= 0, False, False, False])
    for report in (ignored, masked):
        assert report.asdict() == plain.asdict()
        assert report.dropped == 3
    both = measure(junk, labels, classifier=W, ignore_index=-100, mask=np.r_[True, y[1:] >= 0, [True] * 3])
    assert both.asdict() == plain.asdict()


def test_mask_of_another_shape_or_type_is_refused():
    H, y, _ = clusters()
    with pytest.raises(ValueError, match=r"boolean mask of shape \(24,\), got bool of \(3,\)"):
        measure(H, y, mask=[True] * 3)
    with pytest.raises(ValueError, match=r"boolean mask of shape \(24,\), got int64"):
        measure(H, y, mask=y)
    with pytest.raises(ValueError, match="need arrays for a mask"):
        measure([(H, y)], mask=y > 0)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize("column", [False, True])
def test_labels_of_any_integer_type_and_of_shape_B_1_are_accepted(dtype, column):
    H, y, W = clusters()
    labels = y.astype(dtype)[:, None] if column else y.astype(dtype)
    assert measure(H, labels, classifier=W, num_classes=4).asdict() == measure(H, y, classifier=W).asdict()
    same(measure(torch.tensor(H), torch.tensor(labels), num_classes=4), measure(H, y))


@pytest.mark.parametrize(("wrong", "named"), [(-1, "-1"), (4, "4"), (300, "300")])
def test_labels_out_of_range_are_named(wrong, named):
    H, y, _ = clusters()
    labels = np.r_[y[:5], wrong, y[6:]]
    with pytest.raises(ValueError, match=f"need labels 0 <= y < K = 4, got {named} at index 5"):
        measure(H, labels, num_classes=4)


def test_negative_labels_without_K_are_named():
    H, y, _ = clusters()
    with pytest.raises(ValueError, match="need labels 0 <= y, got -100 at index 0"):
        measure(H, np.r_[-100, y[1:]])


def test_labels_that_are_no_integers_or_of_another_length_are_refused():
    H, y, _ = clusters()
    with pytest.raises(ValueError, match="labels that are integers, got dtype float64"):
        measure(H, y.astype(float))
    with pytest.raises(ValueError, match=r"labels of shape \(24,\) or \(24, 1\), got \(24, 4\)"):
        measure(H, np.eye(4, dtype=int)[y])
    with pytest.raises(ValueError, match=r"labels of shape \(24,\)"):
        measure(H, y[:-1])


def test_a_batch_of_one_is_accepted():
    report = measure(np.ones((1, 3)), [2], num_classes=4)
    assert report.num_samples == 1
    assert all(math.isnan(value) for value in report.asdict().values())
    assert "two classes" in report.notes[0]
    assert "two classes" in str(report)


def test_a_batch_of_ignored_samples_is_accepted():
    report = measure(np.ones((3, 2)), [-1, -1, -1], ignore_index=-1)
    assert (report.num_samples, report.dropped) == (0, 3)


def test_an_empty_batch_is_accepted():
    report = measure(np.ones((0, 3)), np.zeros(0, dtype=int), num_classes=4)
    assert (report.num_samples, report.dim, report.missing_classes) == (0, 3, (0, 1, 2, 3))
    H, y, W = clusters()
    halves = [(H[:9], y[:9]), (H[:0], y[:0]), (H[9:], y[9:])]
    same(measure(halves, classifier=W), measure(H, y, classifier=W))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_every_float_dtype_gives_float64_results(dtype):
    H, y, W = clusters()
    rounded = torch.tensor(H, dtype=getattr(torch, dtype))
    report = measure(rounded, torch.tensor(y), classifier=W)
    exact = measure(rounded.double().numpy(), y, classifier=W)
    same(report, exact, rel=1e-6)
    assert report.mean_angle_gap == pytest.approx(exact.mean_angle_gap, rel=1e-13)
    assert all(type(value) is float for value in report.asdict().values())


def test_non_contiguous_and_requires_grad_are_accepted():
    H, y, W = clusters()
    plain = measure(H, y, classifier=W)
    assert measure(np.asfortranarray(H), y, classifier=W.T.copy().T).asdict() == pytest.approx(plain.asdict())
    assert measure(np.repeat(H, 2, axis=1)[:, ::2], y, classifier=W).asdict() == pytest.approx(plain.asdict())
    leaf = torch.tensor(H, requires_grad=True)
    head = torch.nn.Parameter(torch.tensor(W))
    report = measure(leaf * 1, torch.tensor(y), classifier=head)
    assert report.asdict() == pytest.approx(plain.asdict())
    assert leaf.grad is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_features_are_named_by_first_index_and_count(bad):
    H, y, _ = clusters()
    H[[7, 20], [2, 5]] = bad
    for features in (H, H.astype(np.float16), torch.tensor(H)):
        with pytest.raises(ValueError, match="got 2 samples with nan or inf, the first at index 7"):
            measure(features, y)


def test_non_finite_features_can_be_dropped():
    H, y, W = clusters()
    damaged = H.copy()
    damaged[[7, 20], [2, 5]] = np.nan, np.inf
    kept = ~np.isin(np.arange(24), [7, 20])
    report = measure(damaged, y, classifier=W, allow_nonfinite="drop")
    assert report.asdict() == measure(H[kept], y[kept], classifier=W).asdict()
    assert report.dropped == 2
    assert "2 of the dropped samples had nan or inf" in report.notes
    with pytest.raises(ValueError, match="'raise' or 'drop', got 'ignore'"):
        measure(H, y, allow_nonfinite="ignore")


def test_non_finite_features_of_a_stream_name_their_batch():
    H, y, _ = clusters()
    H[7, 2] = np.nan
    with pytest.raises(ValueError, match=r"batch 1: need finite features, got 1 samples .* index 1"):
        measure([(H[:6], y[:6]), (H[6:], y[6:])])


def test_float16_sums_that_overflow_are_no_false_alarm():
    H = np.full((40, 64), 60000.0, dtype=np.float16)
    H[::2, 0] = 0
    assert measure(H, np.arange(40) % 2).nc1 == 0


def opposite_pairs():
    """Three classes of four samples, each symmetric about the same point: equal means but for rounding."""
    v = np.random.default_rng(0).normal(size=(3, 2, 5))
    return np.concatenate([v, -v], axis=1).reshape(12, 5) + 0.3


@pytest.mark.parametrize(
    "features",
    [
        np.zeros((12, 5)),
        np.full((12, 5), 0.1),
        np.tile(np.random.default_rng(0).normal(size=(4, 5)) + 100, (3, 1)),
        opposite_pairs(),
    ],
    ids=["zero", "constant", "same samples in each class", "equal but for rounding"],
)
def test_all_class_means_equal_is_never_collapse(features):
    y = np.repeat(np.arange(3), 4)
    report = measure(features, y, classifier=np.random.default_rng(1).normal(size=(3, 5)))
    assert report.rank == 0
    assert report.nc1 == report.nc1_quotient == report.cdnv == math.inf
    for field in ("mean_angle_gap", "mean_norm_variation", "nc2_means", "nc3", "nc3_dual", "duality_gap"):
        assert math.isnan(getattr(report, field)), field
    assert math.isnan(report.nc4_mismatch)
    assert not report.within_class_variation < 0.999
    assert sum("dead features" in note for note in report.notes) == 1


def test_two_equal_class_means_among_others_are_infinite_cdnv_and_said():
    H, y, _ = clusters()
    H[y == 1] = H[y == 0]
    report = measure(H, y)
    assert report.cdnv == math.inf
    assert math.isfinite(report.nc1)
    assert any("coincides" in note for note in report.notes)


def test_a_class_mean_at_the_centre_has_no_angles_and_says_so():
    H = np.array([[1.0, 0], [-1, 0], [0, 0]])
    report = measure(H, np.arange(3))
    assert math.isnan(report.mean_angle_gap)
    assert any("class 2 is the centre" in note for note in report.notes)


@pytest.mark.parametrize("options", [{"num_classes": 1}, {"classifier": np.ones((1, 3))}, {}])
def test_K_1_needs_at_least_two_classes(options):
    with pytest.raises(ValueError, match="need at least two classes, got K = 1"):
        measure(np.ones((4, 3)), np.zeros(4, dtype=int), **options)


def test_K_above_d_plus_1_works_with_attainable_floors():
    H, y, W = clusters(K=12, d=4)
    report = measure(H, y, classifier=W)
    assert report.floors["nc2_means"] == etf_gap_floor(12, 4)
    for field, floor in report.floors.items():
        assert 0 < floor < getattr(report, field), field
    text = str(report)
    assert f"floor {report.floors['nc3']:.3g}" in text
    assert any("K = 12 > d + 1" in note for note in report.notes)
    assert not measure(*clusters(K=5, d=4)[:2]).floors


@pytest.mark.parametrize("wrong", [(8, 4), (5, 8), (4, 9), (4,)])
def test_classifier_shape_mismatch_says_needed_and_got(wrong):
    H, y, _ = clusters()
    with pytest.raises(ValueError, match=r"need a classifier of shape \(K, d\)(.* = \(4, 8\))?, got"):
        measure(H, y, classifier=np.ones(wrong), num_classes=4)
    with pytest.raises(ValueError, match=r"need a classifier of shape \(K, d\)"):
        measure([(H, y)], classifier=np.ones(wrong), num_classes=4)


def test_bias_mismatch_says_needed_and_got():
    H, y, W = clusters()
    with pytest.raises(ValueError, match=r"need a bias of shape \(K,\) = \(4,\), got \(5,\)"):
        measure(H, y, classifier=W, bias=np.ones(5))
    with pytest.raises(ValueError, match="need a classifier with the bias"):
        measure(H, y, bias=np.ones(4))
    with pytest.raises(ValueError, match="need a finite classifier and bias"):
        measure(H, y, classifier=W * np.nan)


@pytest.mark.parametrize("wrong", [np.ones(5), np.ones((2, 3, 4)), np.ones((4, 0))])
def test_features_of_another_shape_are_refused(wrong):
    with pytest.raises(ValueError, match=r"need features of shape \(N, d\)"):
        measure(wrong, np.zeros(len(wrong), dtype=int))


def test_features_that_are_no_real_numbers_are_refused():
    with pytest.raises(ValueError, match="real numbers, got dtype complex128"):
        measure(np.ones((2, 2)) * 1j, [0, 1])
    with pytest.raises(ValueError, match="real numbers, got dtype <U1"):
        measure([["a", "b"], ["c", "d"]], [0, 1])


def test_features_without_labels_are_refused():
    with pytest.raises(ValueError, match="need labels, or an iterable"):
        measure(np.ones((4, 3)))
    with pytest.raises(ValueError, match="need labels, or an iterable"):
        measure(3)
    with pytest.raises(ValueError, match=r"batch 0: need a pair \(features, labels\), got ndarray"):
        measure([np.ones((4, 3))])


def test_integer_features_are_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, size=(30, 16), dtype=np.uint8)
    y = np.arange(30) % 3
    assert measure(pixels, y).asdict() == pytest.approx(measure(pixels.astype(float), y).asdict(), nan_ok=True)


def test_a_simplex_etf_reads_zero_everywhere():
    M = simplex_etf(5, 9, seed=3).T
    report = measure(np.repeat(M, 4, axis=0), np.repeat(np.arange(5), 4), classifier=2 * M)
    zero = {k: v for k, v in report.asdict().items() if k not in ("gnc2_log", "margin", "margin_ratio")}
    assert zero == pytest.approx(dict.fromkeys(zero, 0.0), abs=2e-14)


def test_labels_too_large_to_be_a_count_of_classes_need_it_said():
    with pytest.raises(
        ValueError, match="need num_classes, or labels below 10,000,000, to tell K, got the label 300,000,000"
    ):
        measure(np.ones((3, 2)), [0, 1, 300_000_000])
