"""Theorem 3.4, corrected: for d >= K - 1 a point of the sphere is optimal, sigma_1(G) <= lam, or left downhill."""

import numpy as np
import pytest
from critical import critical_point

import layerpeel as lp
from layerpeel.certify.curve import downhill_curve
from layerpeel.certify.escape_directions import Case, directions
from layerpeel.certify.global_certificate import certify_logits
from layerpeel.certify.logit_loss import LogitLoss
from layerpeel.certify.sphere import onto_sphere

BLOCKS = [(4, 2, 1), (4, 2, 3), (6, 3, 1), (6, 2, 3), (8, 4, 1), (9, 3, 3)]


def at_block_logit(K, m, n, c, *, d=None):
    """The block point with own logit c."""
    problem = lp.ulpm(K, n, d or K, reduction="sum")
    return problem, lp.block_point(problem, (m,) * (K // m), rho2=2 * np.sqrt(n) * K * c)


def curves(problem, state, case):
    """The unit curves of one case at ``state``."""
    loss = LogitLoss(problem)
    certificate = certify_logits(loss, state)
    for found, direction in directions(loss, certificate, state):
        if found is case:
            yield downhill_curve(loss, certificate, state, direction)


def logits(state):
    return state.W @ state.H


def check_escape(problem, state):
    found = lp.escape(problem, state)
    assert found.state is not None, str(found)
    assert problem.log_objective(found.state) < problem.log_objective(state)
    assert found.state.squared_norm == pytest.approx(state.squared_norm, rel=1e-14)
    return found


@pytest.mark.parametrize(("K", "m", "golden"), [(4, 2, 1.7616), (6, 2, 1.4049)])
def test_sigma_over_lam_of_block_points_is_the_golden_value(K, m, golden):
    problem, state = at_block_logit(K, m, 1, 2.0)
    found = lp.global_certificate(problem, state)
    assert found.sigma / found.lam == pytest.approx(golden, abs=5e-5)
    assert found.sigma / found.lam == pytest.approx(K / (K - m + m * np.exp(-2.0 / (m - 1))), rel=1e-14)


@pytest.mark.parametrize(("K", "m", "n"), BLOCKS)
def test_block_points_are_critical_and_not_optimal_and_left_at_once(K, m, n):
    problem, state = at_block_logit(K, m, n, 1.5)
    found = check_escape(problem, state)
    assert found.certificate.residual < 1e-13
    assert found.case is Case.NULL_VECTOR
    assert found.sigma / found.lam == pytest.approx(K / (K - m + m * np.exp(-1.5 / (m - 1))), rel=1e-13)
    assert found.curvature == pytest.approx(-(found.sigma - found.lam), rel=1e-12)


@pytest.mark.parametrize("blocks", [(3, 2), (3, 1, 1), (2, 2, 1)])
@pytest.mark.parametrize("d", [4, 5])
def test_unequal_blocks_are_left_too_also_at_d_equal_to_K_minus_1(blocks, d):
    problem = lp.ulpm(5, 1, d, reduction="sum")
    found = check_escape(problem, lp.block_point(problem, blocks, rho2=15.0))
    assert found.certificate.residual < 1e-13
    assert found.case is Case.NULL_VECTOR


def test_a_block_of_all_classes_is_certified():
    problem = lp.ulpm(4, 1, 3, reduction="sum")
    found = lp.escape(problem, lp.block_point(problem, (4,), rho2=16.0))
    assert found.optimal
    assert found.state is None
    assert found.gap < 1e-13


def test_case_3_changes_the_logits_by_exactly_the_top_singular_pair():
    problem, state = at_block_logit(6, 3, 1, 1.5)
    (curve,) = curves(problem, state, Case.NULL_VECTOR)
    found = lp.global_certificate(problem, state)
    for step in (0.01, 1.0, 7.0):
        moved = state + curve.direction * (np.sqrt(2) * step)  # the theorem's direction has squared norm 2
        np.testing.assert_allclose(
            logits(moved) - logits(state), -(step**2) * np.outer(found.u, found.v), atol=1e-13 * (1 + step**2)
        )


def test_case_3_is_a_frank_wolfe_step_along_which_the_loss_is_convex():
    problem, state = at_block_logit(6, 3, 1, 1.5)
    (curve,) = curves(problem, state, Case.NULL_VECTOR)
    found = lp.global_certificate(problem, state)
    share = np.linspace(0.0, 1.0, 21)  # sin^2 of the angle
    steps = np.sqrt(found.rho2) * np.arcsin(np.sqrt(share))
    vertex = -found.rho2 / 2 * np.outer(found.u, found.v)
    for t, step in zip(share, steps, strict=True):
        np.testing.assert_allclose(curve.logits(step), (1 - t) * logits(state) + t * vertex, atol=1e-12)
    values = [problem.objective(curve.state(step)) for step in steps]
    assert (np.diff(values, 2) > 0).all()


@pytest.mark.parametrize("d", [3, 4])
def test_case_4_where_the_multiplier_is_negative(d):
    problem = lp.ulpm(4, 1, d, reduction="sum")
    best = problem.optimum(rho2=10.0).state
    worst = lp.State(-best.W, best.H)
    found = check_escape(problem, worst)
    assert found.certificate.residual < 1e-13
    assert found.lam < 0
    (curve,) = curves(problem, worst, Case.NEGATIVE_MULTIPLIER)
    assert curve.curvature == pytest.approx(2 * found.lam, rel=1e-12)  # 2 lam s^2 at squared norm 2
    assert abs(curve.slope) < 1e-14
    change = logits(worst + curve.direction) - logits(worst)
    u, singular, _ = np.linalg.svd(change)
    assert singular[0] == pytest.approx(1 / 2, rel=1e-12)
    assert singular[1:].max() < 1e-14
    assert np.linalg.norm(best.W.T @ u[:, 0]) == pytest.approx(np.linalg.norm(best.W, 2), rel=1e-12)


FLAT = {
    "W = 0": lp.State(np.zeros((4, 3)), np.random.default_rng(0).normal(size=(3, 1)) * np.ones((1, 4))),
    "H = 0": lp.State(np.ones((4, 1)) * np.random.default_rng(1).normal(size=(1, 3)), np.zeros((3, 4))),
    "both gradients 0": lp.State(np.full((4, 3), 0.7), np.full((3, 4), -0.4)),
}


@pytest.mark.parametrize("state", FLAT.values(), ids=FLAT)
def test_flat_points_are_left_at_d_equal_to_K_minus_1(state):
    problem = lp.ulpm(4, 1, 3, reduction="sum")
    assert np.sqrt(problem.gradient(state).squared_norm) < 1e-14
    assert check_escape(problem, state).lam == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(
    "state",
    [
        lp.State(np.zeros((2, 1)), np.ones((1, 2))),
        lp.State(np.ones((2, 1)), np.zeros((1, 2))),
        lp.State(np.ones((2, 1)), np.ones((1, 2))),
    ],
    ids=FLAT,
)
def test_case_5_needs_no_common_null_vector(state):
    """K = 2, d = 1: H' a = 0 or P W b = 0 alone; the best m gives the unit curvature lam - sigma_1/m^2."""
    problem = lp.ulpm(2, 1, 1, reduction="sum")
    found = check_escape(problem, state)
    assert found.case is Case.ZERO_MULTIPLIER
    lowest = min(curves(problem, state, Case.ZERO_MULTIPLIER), key=lambda curve: curve.curvature)
    shares = np.linalg.norm(lowest.direction.W), np.linalg.norm(lowest.direction.H)  # m : 1/m or 1/m : m
    assert lowest.curvature == pytest.approx(-found.sigma * min(shares) / max(shares), rel=1e-10)
    assert abs(lowest.slope) < 1e-14


@pytest.mark.parametrize("d", [3, 5])
def test_random_critical_points_are_left(d):
    problem = lp.ulpm(4, 1, d, reduction="sum")
    critical = signs = 0
    for seed in range(10):
        state = critical_point(problem, rho2=20.0, seed=seed)
        found = check_escape(problem, state)
        critical += found.certificate.residual < 1e-9
        signs += found.lam < 0
    assert critical >= 5
    assert signs >= 3


@pytest.mark.parametrize("K", [4, 5])
def test_the_best_point_of_too_few_dimensions_is_a_saddle_with_one_more(K):
    small, large = (lp.ulpm(K, 1, d, reduction="sum") for d in (2, K - 1))
    lowest = lp.polish(small, onto_sphere(small.init(seed=0, scale=1.0), 20.0)).state
    padded = lp.State(np.pad(lowest.W, ((0, 0), (0, K - 3))), np.pad(lowest.H, ((0, K - 3), (0, 0))))
    found = check_escape(large, padded)
    assert found.certificate.residual < 1e-9
    assert found.case is Case.NULL_VECTOR


def test_example_3_1_has_its_golden_curvature():
    problem, state = at_block_logit(4, 2, 1, 2.0)  # c = 2 C^2 at C = 1
    found = lp.escape(problem, state)
    s = np.exp(2.0)
    of_squared_norm_2 = 2 * found.curvature * problem.objective(state)
    assert of_squared_norm_2 == pytest.approx(-4 * (s - 1) / (1 + s) ** 2, rel=1e-13)
    assert of_squared_norm_2 == pytest.approx(-0.3631369951395819, rel=1e-13)


def test_below_d_equal_to_K_minus_1_a_local_minimum_has_neither_certificate_nor_escape():
    problem = lp.ulpm(4, 1, 2, reduction="sum")
    for seed in range(3):
        found = lp.polish(problem, onto_sphere(problem.init(seed=seed, scale=1.0), 20.0))
        assert problem.objective(found.state) == pytest.approx(0.63111787, abs=5e-9)
        assert found.last.certificate.residual < 1e-9
        assert not found.optimal
        assert "for d = 2 < K-1 = 3 Theorem 3.4 does not hold" in str(found)
