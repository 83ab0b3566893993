"""Grams and pairs walked in blocks, and what can be attained at all when K > d+1."""

import numpy as np
import pytest
from oracle import angle_gap as slow_angle_gap
from oracle import simplex_gap
from scipy.optimize import minimize

import layerpeel.collapse.geometry as geometry
from layerpeel.collapse import measure
from layerpeel.collapse.floors import angle_gap_floor, attainable_floors
from layerpeel.collapse.geometry import angle_gap, etf_gap, row_norms, singular_system
from layerpeel.collapse.pairs import pair_statistics
from layerpeel.frames import etf_gap_floor, orthoplex, random_frame, simplex_etf


def frame(K, d, seed=0):
    return np.random.default_rng(seed).normal(size=(K, d))


@pytest.mark.parametrize(("K", "d"), [(4, 9), (9, 8), (12, 5), (40, 3)])
def test_the_two_ways_to_the_gram_distance_are_one(K, d):
    """(12, 5) and (40, 3) take d x d products, as K - 1 >= 2d."""
    A, B = frame(K, d, 1), frame(K, d, 2)
    for left, right in ((A, A), (A, B)):
        assert etf_gap(left, right) == pytest.approx(float(simplex_gap(left, right)), rel=1e-12)


def test_opposed_matrices_are_two_apart():
    M = simplex_etf(5, 6).T
    assert etf_gap(M, -M) == pytest.approx(2, rel=1e-14)
    assert np.isnan(etf_gap(M, 0 * M))


@pytest.mark.parametrize("block", [1, 50, 10**9])
def test_pairs_do_not_depend_on_the_blocks(monkeypatch, block):
    monkeypatch.setattr(geometry, "BLOCK", block)
    A = frame(45, 6)
    A[7] = A[3] + 1e-7 * A[8]
    enters = np.arange(45) % 5 > 0
    pairs = pair_statistics(A, row_norms(A), enters)
    distances = np.linalg.norm(A[:, None] - A, axis=2)
    others = ~np.eye(45, dtype=bool)
    logs = -np.log(np.linalg.norm((A / row_norms(A)[:, None])[:, None] - A / row_norms(A)[:, None], axis=2)[others])
    both = others & enters & enters[:, None]
    inverse = np.where(both, 1 / np.where(others, distances, 1) ** 2, 0).sum(1)
    assert pairs.angle_gap == pytest.approx(angle_gap(A, row_norms(A)), rel=1e-13)
    assert pairs.angle_gap == pytest.approx(float(slow_angle_gap(list(A))), rel=1e-12)
    assert pairs.log_mean == pytest.approx(logs.mean(), rel=1e-12)
    assert pairs.log_variance == pytest.approx(logs.var(), rel=1e-12)
    np.testing.assert_allclose(pairs.nearest, np.where(others, distances, np.inf).min(1), rtol=1e-12)
    np.testing.assert_allclose(pairs.inverse_powers, inverse, rtol=1e-9)


@pytest.mark.parametrize("shape", [(4, 9), (300, 7)])
def test_the_singular_system_is_that_of_the_matrix(monkeypatch, shape):
    monkeypatch.setattr(geometry, "BLOCK", 200)
    A = frame(*shape)
    s, V = singular_system(A, 1.0)
    np.testing.assert_allclose(s, np.linalg.svd(A, compute_uv=False), rtol=1e-12)
    np.testing.assert_allclose(V.T @ A.T @ A @ V, np.diag(s**2), atol=1e-10)


@pytest.mark.parametrize(("K", "d"), [(4, 2), (6, 3), (5, 2), (8, 3), (4, 1)])
def test_no_frame_is_below_the_angle_floor(K, d):
    floor = angle_gap_floor(K, d)
    random = [measure_angles(random_frame(K, d, seed=seed)) for seed in range(200)]
    assert floor <= best_angles(K, d) + 1e-12
    assert min(random) > floor
    assert floor > 0


def measure_angles(vectors):
    return angle_gap(vectors.T, row_norms(vectors.T))


def best_angles(K, d, starts=6):
    """Least gap that a direct search finds: smoothed first, then as it is."""

    def smooth(x, width):
        V = x.reshape(K, d)
        U = V / np.linalg.norm(V, axis=1, keepdims=True)
        gaps = (U @ U.T + 1 / (K - 1))[np.triu_indices(K, 1)]
        return np.mean(np.sqrt(gaps**2 + width**2))

    found = []
    for seed in range(starts):
        x = np.random.default_rng(seed).normal(size=K * d)
        for width in (0.3, 0.03, 1e-3):
            x = minimize(smooth, x, args=(width,)).x
        found.append(measure_angles(x.reshape(K, d).T))
    return min(found)


def test_the_angle_floor_is_attained_on_the_line():
    assert measure_angles(np.array([[1.0, 1, -1, -1]])) == pytest.approx(angle_gap_floor(4, 1), rel=1e-14)


def test_the_angle_floor_is_nearly_attained_by_many_copies_of_an_orthoplex():
    vectors = np.tile(orthoplex(3), (1, 20))
    assert angle_gap_floor(120, 3) < measure_angles(vectors) < 1.03 * angle_gap_floor(120, 3)


@pytest.mark.parametrize(("K", "d"), [(3, 2), (4, 9), (2, 1)])
def test_there_is_no_floor_where_the_simplex_fits(K, d):
    assert attainable_floors(K, d) == {}
    assert angle_gap_floor(K, d) == 0


def test_a_centred_tight_frame_reads_its_floor():
    M = np.sqrt(1 / 3) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1], [-1, -1, -1], [-1, 1, 1]])
    M = np.vstack([M, [[1, -1, 1], [1, 1, -1]] / np.sqrt(3)])  # the cube: K = 8, d = 3
    report = measure(M, np.arange(8), classifier=M)
    assert report.nc2_means == pytest.approx(etf_gap_floor(8, 3), rel=1e-12)
    assert report.nc3 == pytest.approx(report.floors["nc3"], rel=1e-12)
