"""Frames: the ETF identities, Procrustes optimality, and floors that are attained and never beaten."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from layerpeel import frames

SIZES = [(2, 1), (2, 5), (3, 2), (4, 3), (5, 4), (5, 20), (10, 9), (10, 64), (30, 29)]
SEARCHED = [(3, 1), (4, 2), (4, 3), (4, 5), (5, 3), (7, 3), (9, 4), (12, 3)]
derandomised = settings(derandomize=True, deadline=None, max_examples=30)


def gram_of_etf(K):
    return K / (K - 1) * (np.eye(K) - np.ones((K, K)) / K)


def etf_gap(A):
    """The NC2 gap, by its definition: ||fro(A'A) - E||_F."""
    K = A.shape[1]
    G = A.T @ A
    return np.linalg.norm(G / np.linalg.norm(G) - (np.eye(K) - np.ones((K, K)) / K) / np.sqrt(K - 1))


def icosahedron():
    phi = (1 + np.sqrt(5)) / 2
    rows = [(0, 1, phi), (0, 1, -phi), (1, phi, 0), (1, -phi, 0), (phi, 0, 1), (-phi, 0, 1)]
    half = np.array(rows).T / np.sqrt(1 + phi**2)
    return np.hstack([half, -half])


def half_five_cube():
    signs = np.array(np.meshgrid(*[[1, -1]] * 5)).reshape(5, -1)
    return signs[:, signs.prod(axis=0) > 0] / np.sqrt(5)


def polygon(K):
    angles = 2 * np.pi * np.arange(K) / K
    return np.array([np.cos(angles), np.sin(angles)])


def harmonic_frame(K, d):
    """Rows of the real Fourier basis of R^K without the constant one: centred and tight; K odd, d even."""
    angles = 2 * np.pi * np.outer(np.arange(1, d // 2 + 1), np.arange(K)) / K
    return np.vstack([np.cos(angles), np.sin(angles)])


# ---- simplex ETF ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("K", "d"), SIZES)
@pytest.mark.parametrize("seed", [None, 0, 7])
def test_simplex_etf_has_its_gram_matrix_and_sums_to_zero(K, d, seed):
    M = frames.simplex_etf(K, d, seed=seed)
    assert M.shape == (d, K)
    np.testing.assert_allclose(M.T @ M, gram_of_etf(K), atol=1e-13)
    np.testing.assert_allclose(M.sum(axis=1), 0, atol=1e-13)


@given(st.integers(2, 40), st.integers(0, 30), st.integers(0, 2**31), st.floats(1e-3, 1e3))
@derandomised
def test_simplex_etf_exists_for_any_sizes_seed_and_norm(K, extra, seed, norm):
    M = frames.simplex_etf(K, K - 1 + extra, seed=seed, norm=norm)
    np.testing.assert_allclose(M.T @ M, norm**2 * gram_of_etf(K), atol=1e-12 * norm**2)


def test_simplex_etf_is_reproducible_and_depends_on_its_seed():
    assert np.array_equal(frames.simplex_etf(5, 7, seed=3), frames.simplex_etf(5, 7, seed=3))
    assert not np.allclose(frames.simplex_etf(5, 7, seed=3), frames.simplex_etf(5, 7, seed=4))
    assert not np.allclose(frames.simplex_etf(5, 7, seed=3), frames.simplex_etf(5, 7))


def test_random_orthonormal_columns_are_orthonormal_and_their_signs_unbiased():
    draws = [frames.random_orthonormal(3, 2, seed=seed) for seed in range(400)]
    np.testing.assert_allclose([Q.T @ Q for Q in draws], [np.eye(2)] * 400, atol=1e-14)
    mean = np.mean(draws, axis=0)  # Haar: each entry has mean 0 and variance 1/3
    assert np.abs(mean).max() < 4 / np.sqrt(3 * 400)
    np.testing.assert_allclose(np.mean(np.square(draws), axis=0), 1 / 3, atol=0.07)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: frames.simplex_etf(5, 3), r"need d >= K-1 = 4 for a simplex ETF of K=5 vectors, got d=3"),
        (lambda: frames.simplex_etf(1, 3), r"need K >= 2, got K=1"),
        (lambda: frames.simplex_etf(2, 0), r"need d >= 1, got d=0"),
        (lambda: frames.simplex_etf(3, 3, norm=0.0), r"need a positive norm, got norm=0.0"),
        (lambda: frames.simplex_etf(3, 3, norm=float("nan")), r"need a positive norm, got norm=nan"),
        (lambda: frames.random_orthonormal(2, 3, seed=0), r"need k <= d = 2 orthonormal columns, got k=3"),
        (lambda: frames.nearest_etf(np.eye(3, 5)), r"need d >= K-1 = 4 for a simplex ETF of K=5"),
        (lambda: frames.nearest_etf(np.ones((4, 3))), r"need vectors that are not all equal, got 3 equal"),
        (lambda: frames.etf_distance(np.zeros((4, 3))), r"need vectors that are not all equal"),
        (lambda: frames.etf_distance(np.full((4, 3), 0.1) * 3), r"need vectors that are not all equal"),
        (
            lambda: frames.etf_distance([1.0, 2.0]),
            r"need a d x K matrix of K >= 2 column .* got shape \(2,\)",
        ),
        (lambda: frames.etf_distance([[1.0, np.nan]]), r"need finite vectors, got 1 non-finite"),
        (lambda: frames.coherence([[1.0, 0.0]]), r"need columns that are not zero, got column 1"),
        (lambda: frames.welch_bound(1, 3), r"need K >= 2, got K=1"),
        (lambda: frames.coherence_floor(3, 0), r"need d >= 1, got d=0"),
        (lambda: frames.etf_gap_floor(0, 3), r"need K >= 2, got K=0"),
    ],
)
def test_wrong_calls_say_what_was_needed_and_got(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


# ---- nearest ETF ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("K", "d"), SIZES)
def test_nearest_etf_of_a_moved_etf_is_itself(K, d):
    A = 3 * frames.simplex_etf(K, d, seed=1) + np.linspace(-2, 5, d)[:, None]
    nearest = frames.nearest_etf(A)
    np.testing.assert_allclose(nearest.frame, A, atol=1e-12)
    np.testing.assert_allclose(nearest.centre[:, 0], np.linspace(-2, 5, d), atol=1e-12)
    assert nearest.scale == pytest.approx(3, rel=1e-13)
    assert nearest.distance < 1e-12
    assert frames.etf_distance(A) < 1e-13


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(("K", "d"), [(3, 2), (4, 3), (5, 9)])
def test_no_other_etf_is_nearer(K, d, centred):
    rng = np.random.default_rng(K)
    A = rng.normal(size=(d, K)) + 0.5
    nearest = frames.nearest_etf(A, centred=centred)
    assert nearest.distance == pytest.approx(np.linalg.norm(A - nearest.frame), rel=1e-12)
    simplex = frames.simplex_etf(K, K - 1)
    np.testing.assert_allclose(nearest.frame, nearest.scale * nearest.rotation @ simplex + nearest.centre, atol=1e-12)
    for seed in range(300):
        turned = frames.random_orthonormal(d, K - 1, seed=seed) @ simplex
        centre = A.mean(axis=1, keepdims=True) if centred else 0.0
        scale = max(0.0, np.sum(turned * (A - centre)) / K)
        assert np.linalg.norm(A - scale * turned - centre) >= nearest.distance - 1e-12


def test_reflected_and_permuted_etfs_are_etfs():
    A = frames.simplex_etf(4, 3, seed=2)
    for moved in (np.diag([1, 1, -1]) @ A, A[:, [2, 0, 3, 1]]):
        assert frames.nearest_etf(moved).distance < 1e-14


@given(st.integers(2, 8), st.integers(1, 10), st.integers(0, 999), st.floats(1e-200, 1e150))
@derandomised
def test_distance_is_relative_and_invariant(K, d, seed, scale):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(d, K))
    distance = frames.etf_distance(A)
    Q = frames.random_orthonormal(d, d, seed=seed)
    assert 0 <= distance <= 1
    assert frames.etf_distance(scale * Q @ A[:, ::-1] + scale) == pytest.approx(distance, abs=1e-12)
    assert frames.etf_distance(scale * Q @ A, centred=False) == pytest.approx(
        frames.etf_distance(A, centred=False), abs=1e-12
    )


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(("K", "d"), [(4, 3), (5, 9), (3, 40)])
def test_distance_is_that_to_the_nearest_etf(K, d, centred):
    A = np.random.default_rng(5).normal(size=(d, K)) + 0.2
    size = np.linalg.norm(A - A.mean(axis=1, keepdims=True) if centred else A)
    expected = frames.nearest_etf(A, centred=centred).distance / size
    assert frames.etf_distance(A, centred=centred) == pytest.approx(expected, rel=1e-12)


def test_distance_resolves_far_below_the_root_of_machine_precision():
    M = frames.simplex_etf(4, 6, seed=0)
    noise = np.random.default_rng(0).normal(size=M.shape)
    gaps = [frames.etf_distance(M + eps * noise) / eps for eps in (1e-4, 1e-8, 1e-12)]
    np.testing.assert_allclose(gaps[1:], gaps[0], rtol=1e-2)


def test_collinear_vectors_are_the_farthest_from_an_etf():
    K = 6
    assert frames.etf_distance(np.arange(K)[None, :]) == pytest.approx(np.sqrt(1 - 1 / (K - 1)), rel=1e-14)
    assert frames.etf_distance(frames.orthoplex(3)) == pytest.approx(np.sqrt(1 - 3 / 5), rel=1e-14)


# ---- floors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "floor", "attained"),
    [
        (frames.simplex_etf(6, 9, seed=0), frames.coherence_floor(6, 9), -1 / 5),
        (frames.simplex_etf(6, 5, seed=0), frames.coherence_floor(6, 5), -1 / 5),
        (frames.orthoplex(4), frames.coherence_floor(8, 4), 0.0),
        (frames.orthoplex(4)[:, :6], frames.coherence_floor(6, 4), 0.0),
        (np.array([[1.0, -1.0, 1.0]]), frames.coherence_floor(3, 1), 1.0),
        (polygon(7), frames.coherence_floor(7, 2), np.cos(2 * np.pi / 7)),
        (half_five_cube(), frames.coherence_floor(16, 5), 1 / 5),
    ],
)
def test_known_configurations_attain_the_least_largest_cosine(frame, floor, attained):
    assert floor == pytest.approx(attained, abs=1e-15)
    assert frames.largest_cosine(frame) == pytest.approx(floor, abs=1e-14)


@pytest.mark.parametrize("frame", [frames.simplex_etf(7, 6), icosahedron()[:, :6], polygon(3), np.eye(4), np.eye(5, 3)])
def test_equiangular_tight_frames_and_orthonormal_ones_attain_the_welch_bound(frame):
    d, K = frame.shape
    assert frames.coherence(frame) == pytest.approx(frames.welch_bound(K, d), abs=1e-14)


@pytest.mark.parametrize(
    "frame",
    [
        frames.orthoplex(4),
        icosahedron(),
        half_five_cube(),
        polygon(9),
        harmonic_frame(9, 4),
        frames.simplex_etf(5, 4),
        frames.simplex_etf(5, 11, seed=1),
        frames.simplex_etf(2, 1),
    ],
)
def test_centred_tight_frames_attain_the_etf_gap_floor(frame):
    d, K = frame.shape
    floor = frames.etf_gap_floor(K, d)
    assert etf_gap(frame) == pytest.approx(floor, abs=1e-13)
    assert frames.etf_distance(frame) == pytest.approx(np.sqrt(max(0, 1 - d / (K - 1))), abs=1e-13)
    if d <= K - 1:
        assert frames.is_tight(frame)
        assert frames.frame_potential(frame / np.linalg.norm(frame, axis=0)) == pytest.approx(K**2 / d)


def cosines(F):
    unit = F / np.linalg.norm(F, axis=0)
    return (unit.T @ unit)[np.triu_indices(F.shape[1], 1)]


def potential(F):
    unit = F / np.linalg.norm(F, axis=0)
    return np.sum((unit.T @ unit) ** 2)


def least_found(quantity, K, d):
    """The least value over random frames and a descent from the best of them."""
    best = min(np.random.default_rng(0).normal(size=(60, d, K)), key=quantity)
    options = {"maxiter": 15}
    found = minimize(lambda x: quantity(x.reshape(d, K)), best.ravel(), method="L-BFGS-B", options=options)
    return min(quantity(best), found.fun)


@pytest.mark.parametrize(("K", "d"), SEARCHED)
@pytest.mark.parametrize(
    ("quantity", "floor"),
    [
        (lambda F: cosines(F).max(), frames.coherence_floor),
        (lambda F: np.abs(cosines(F)).max(), frames.welch_bound),
        (etf_gap, frames.etf_gap_floor),
        (potential, lambda K, d: max(K, K**2 / d)),
    ],
    ids=["largest cosine", "coherence", "etf gap", "frame potential"],
)
def test_no_random_or_optimised_frame_goes_below_a_floor(quantity, floor, K, d):
    assert least_found(quantity, K, d) >= floor(K, d) - 1e-10


def test_the_search_for_better_frames_does_reach_a_smooth_floor():
    assert least_found(etf_gap, 7, 3) < 1.01 * frames.etf_gap_floor(7, 3)
    assert least_found(potential, 7, 3) < 1.01 * 49 / 3


def test_floors_only_rise_with_the_number_of_vectors_and_fall_with_the_dimension():
    for floor in (frames.coherence_floor, frames.welch_bound, frames.etf_gap_floor):
        values = np.array([[floor(K, d) for d in range(1, 30)] for K in range(2, 80)])
        assert (np.diff(values, axis=0) >= -1e-14).all()
        assert (np.diff(values, axis=1) <= 1e-14).all()


def test_floors_are_finite_for_language_model_sizes():
    assert 0 < frames.coherence_floor(29_233, 1024) < 1 / np.sqrt(1024)
    assert frames.welch_bound(29_233, 1024) == pytest.approx(0.0307, abs=1e-4)
    assert frames.etf_gap_floor(29_233, 1024) == pytest.approx(np.sqrt(2 - 2 * np.sqrt(1024 / 29_232)))


def test_tightness_is_told_from_its_absence():
    assert not frames.is_tight(frames.random_frame(8, 3, seed=0))
    assert not frames.is_tight(np.zeros((2, 3)))
    assert frames.is_tight(frames.orthoplex(3))


def test_random_frames_are_unit_reproducible_and_spread():
    F = frames.random_frame(2000, 3, seed=0)
    np.testing.assert_allclose(np.linalg.norm(F, axis=0), 1, rtol=1e-14)
    assert np.array_equal(F, frames.random_frame(2000, 3, seed=0))
    np.testing.assert_allclose(F @ F.T / 2000, np.eye(3) / 3, atol=0.03)
