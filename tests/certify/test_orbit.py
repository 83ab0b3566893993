"""The rotation orbit: its projection against a dense basis, its dimension against a rank, and what rotations keep."""

import numpy as np
import pytest
from scipy.linalg import expm

import layerpeel as lp
from layerpeel.certify.orbit import rotation_orbit

CASES = {
    "full rank": (4, 3, 5, 5),
    "rank 2 of 5": (4, 3, 5, 2),
    "fewer rows than d": (2, 1, 6, 4),
    "one dimension": (3, 2, 1, 1),
}


def point(K, n, d, rank, seed=0, bias=False):
    """A random state of which [W; H'] has ``rank``."""
    rng = np.random.default_rng([3, seed])
    axes = np.linalg.qr(rng.standard_normal((d, d)))[0][:, :rank]
    W = rng.standard_normal((K, rank)) @ axes.T
    H = axes @ rng.standard_normal((rank, n * K))
    return lp.State(W, H, rng.standard_normal(K) if bias else None)


def flat(state):
    return np.concatenate([leaf.ravel() for leaf in (state.W, state.H, state.b) if leaf is not None])


def skews(d):
    for i in range(d):
        for j in range(i):
            A = np.zeros((d, d))
            A[i, j], A[j, i] = 1.0, -1.0
            yield A


def dense_basis(state):
    """The orbit's vectors (W A, -A H, 0), one row for each elementary skew A."""
    zero = None if state.b is None else np.zeros_like(state.b)
    rows = [flat(lp.State(state.W @ A, -A @ state.H, zero)) for A in skews(state.W.shape[1])]
    return np.array(rows) if rows else np.zeros((1, flat(state).size))


@pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_projection_is_that_of_a_dense_basis(case, bias):
    state, vector = point(*case, bias=bias), point(*case[:3], case[2], seed=1, bias=bias)
    basis = dense_basis(state)
    expected = np.linalg.pinv(basis, rcond=1e-12) @ basis @ flat(vector)
    np.testing.assert_allclose(flat(rotation_orbit(state).project(vector)), expected, atol=1e-12)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_dimension_is_the_rank_of_the_dense_basis(case):
    _, _, d, r = case
    state = point(*case)
    found = rotation_orbit(state).dimension
    assert found == np.linalg.matrix_rank(dense_basis(state), tol=1e-10)
    assert found == r * (2 * d - r - 1) // 2


def test_the_projection_is_orthogonal_and_scale_does_not_matter():
    state, v, w = (point(4, 3, 5, 3, seed=seed) for seed in range(3))
    orbit = rotation_orbit(state)
    assert flat(orbit.project(orbit.project(v))) == pytest.approx(flat(orbit.project(v)), abs=1e-13)
    assert orbit.project(v).inner(w) == pytest.approx(v.inner(orbit.project(w)), rel=1e-12)
    for scale in (1e-140, 1e140):
        np.testing.assert_allclose(flat(rotation_orbit(scale * state).project(v)), flat(orbit.project(v)), atol=1e-12)


def test_the_orbit_is_the_velocity_of_rotations_that_keep_logits_and_norm():
    state, t = point(4, 2, 4, 4), 1e-5
    A = np.random.default_rng(7).standard_normal((4, 4))
    A -= A.T
    turned = lp.State(state.W @ expm(t * A), expm(-t * A) @ state.H)
    np.testing.assert_allclose(turned.W @ turned.H, state.W @ state.H, atol=1e-12)
    assert turned.squared_norm == pytest.approx(state.squared_norm, rel=1e-13)
    orbit = rotation_orbit(state)
    velocity = np.sqrt(state.squared_norm) * orbit.direction(A)
    np.testing.assert_allclose(flat((1 / t) * (turned - state)), flat(velocity), atol=1e-3)
    assert state.inner(velocity) == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(flat(orbit.project(velocity)), flat(velocity), atol=1e-12)


@pytest.mark.parametrize(("K", "n", "d"), [(3, 2, 3), (5, 1, 4), (4, 3, 9)])
def test_at_the_optimum_it_has_the_dimension_of_k_minus_1_frames(K, n, d):
    state = lp.ulpm(K, n, d).optimum("separation").state
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((d, d)))[0]
    for one in (state, lp.State(state.W @ turn, turn.T @ state.H)):
        assert rotation_orbit(one).dimension == (K - 1) * d - (K - 1) * K // 2
