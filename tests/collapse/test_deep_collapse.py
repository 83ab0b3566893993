"""However deep the collapse and however far from the origin, the numbers keep their relative precision."""

import numpy as np
import pytest
from oracle import collapse

from layerpeel.collapse import ClassMoments, measure
from layerpeel.frames import simplex_etf

DEEP = ("within_class_variation", "nc1", "nc1_quotient", "cdnv")


def deep(scale, offset, dtype, K=4, n=8, d=9):
    """A simplex of side 1 whose classes have the size ``scale``, ``offset`` from the origin, rounded to ``dtype``."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(K), n)
    H = simplex_etf(K, d, seed=1).T[y] + scale * rng.normal(size=(K * n, d)) + offset
    return H.astype(dtype), y


@pytest.mark.parametrize("scale", [1e-2, 1e-4, 1e-6, 1e-8, 1e-10])
def test_float64_keeps_six_digits_at_any_depth_and_a_thousand_from_the_origin(scale):
    H, y = deep(scale, 1e3, np.float64)
    measured, exact = measure(H, y), collapse(H, y)
    for field in DEEP:
        assert getattr(measured, field) == pytest.approx(exact[field], rel=2e-6), field


@pytest.mark.parametrize("scale", [1e-2, 1e-4, 1e-5])
def test_float32_is_taken_at_its_word(scale):
    H, y = deep(scale, 0, np.float32)
    measured, exact = measure(H, y), collapse(H, y)
    for field in DEEP:
        assert getattr(measured, field) == pytest.approx(exact[field], rel=3e-7), field


@pytest.mark.parametrize("scale", [1e-2, 1e-4, 1e-10])
def test_float32_a_thousand_from_the_origin_reads_its_own_rounding_noise(scale):
    H, y = deep(scale, 1e3, np.float32)
    measured, exact = measure(H, y), collapse(H, y)
    for field in DEEP:
        assert getattr(measured, field) == pytest.approx(exact[field], rel=3e-7), field


@pytest.mark.parametrize("size", [2.0**-100, 2.0**-40, 2.0**40, 2.0**60])
def test_nothing_depends_on_the_unit_of_the_features(size):
    H, y = deep(1e-3, 0.5, np.float32)
    plain, scaled = measure(H, y).asdict(), measure(H * np.float32(size), y).asdict()
    assert scaled == pytest.approx(plain, rel=1e-5, nan_ok=True)


def test_geometry_of_an_almost_perfect_simplex_is_not_lost_to_cancellation():
    M = simplex_etf(6, 8, seed=2).T
    direction = np.random.default_rng(3).normal(size=M.shape)
    y = np.arange(6)
    far = measure(M + 1e-5 * direction, y, classifier=M)
    near = measure(M + 1e-9 * direction, y, classifier=M)
    for field in ("nc2_means", "nc3", "nc3_dual", "duality_gap", "mean_angle_gap", "mean_norm_variation"):
        assert getattr(near, field) == pytest.approx(1e-4 * getattr(far, field), rel=1e-3), field
    assert near.gnc2_log_variance == pytest.approx(1e-8 * far.gnc2_log_variance, rel=1e-3)


def test_singular_values_of_the_means_are_cut_on_themselves_not_on_their_squares():
    """Means whose singular values span 1 to 1e-3 in float32: a pinv of Sigma_B there reads NC1 66 times too low."""
    rng = np.random.default_rng(4)
    K, d = 6, 40
    U, _ = np.linalg.qr(np.column_stack([np.ones(K), rng.normal(size=(K, K - 1))]))
    V, _ = np.linalg.qr(rng.normal(size=(d, K - 1)))
    means = U[:, 1:] * np.logspace(0, -3, K - 1) @ V.T
    y = np.repeat(np.arange(K), 50)
    H = (means[y] + 1e-2 * rng.normal(size=(300, d))).astype(np.float32)
    report = measure(H, y)
    assert report.rank == K - 1
    exact = H.astype(np.float64)
    mu = np.stack([exact[y == k].mean(0) for k in range(K)])
    a = mu - mu.mean(0)
    whitened = (exact - mu[y]) @ np.linalg.pinv(a, rcond=1e-12)
    assert report.nc1 == pytest.approx((whitened**2).sum() / 300, rel=1e-5)


def test_streamed_second_moments_do_not_cancel():
    H, y = deep(1e-4, 1e3, np.float64)
    moments = ClassMoments.empty(4, 9, second="matrix")
    for part in np.array_split(np.random.default_rng(0).permutation(len(y)), 7):
        moments = moments.update(H[part], y[part])
    exact = H.astype(np.longdouble)
    residuals = exact - np.stack([exact[y == k].mean(0) for k in range(4)])[y]
    np.testing.assert_allclose(moments.scatter.sum(), float((residuals**2).sum()), rtol=1e-7)
    np.testing.assert_allclose(moments.within, (residuals.T @ residuals).astype(float), rtol=0, atol=1e-13)
