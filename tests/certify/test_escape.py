"""An escape is a strictly lower state on the same sphere; a decrease that float64 cannot resolve is not claimed."""

import inspect
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest

import layerpeel as lp
from layerpeel.certify.escape import escape as sphere_escape
from layerpeel.certify.escape_directions import Case
from layerpeel.certify.polish import PolishEnd
from layerpeel.certify.sphere import onto_sphere, tangent

PROBLEM = lp.ulpm(4, 1, 4, reduction="sum")


@dataclass(frozen=True)
class Squared(lp.Loss):
    """|z - e_y|^2/2, which feels shifts of the logits: Theorem 3.4 needs d >= K."""

    convex = True

    def value(self, Z, Y):
        return jnp.sum((Z - Y) ** 2, axis=0) / 2


@dataclass(frozen=True)
class Exponential(lp.Loss):
    """sum_{j != y} exp(z_j - z_y), without a logarithm."""

    convex = True

    def value(self, Z, Y):
        return jnp.sum(jnp.where(Y > 0, 0.0, jnp.exp(Z - jnp.sum(Z * Y, axis=0))), axis=0)


@pytest.mark.parametrize("scale", [0.05, 1.0, 10.0])
@pytest.mark.parametrize("seed", range(5))
def test_from_random_points_it_goes_strictly_down_on_the_same_sphere(seed, scale):
    state = PROBLEM.init(seed=seed, scale=scale)
    found = lp.escape(PROBLEM, state)
    fall = PROBLEM.log_objective(state) - PROBLEM.log_objective(found.state)
    assert fall == pytest.approx(found.decrease, rel=1e-9)
    assert found.decrease > 100 * found.certificate.resolution
    assert found.state.squared_norm == pytest.approx(state.squared_norm, rel=1e-14)
    assert 1 - np.exp(-found.decrease) <= found.gap


def test_the_state_is_on_the_great_circle_along_the_direction():
    state = PROBLEM.init(seed=0, scale=1.0)
    found = lp.escape(PROBLEM, state)
    rho = np.sqrt(state.squared_norm)
    assert found.direction.squared_norm == pytest.approx(1, rel=1e-14)
    assert state.inner(found.direction) == pytest.approx(0, abs=1e-13)
    circle = state * np.cos(found.step / rho) + found.direction * (rho * np.sin(found.step / rho))
    np.testing.assert_allclose(found.state.W, circle.W, atol=1e-13)
    np.testing.assert_allclose(found.state.H, circle.H, atol=1e-13)
    assert found.predicted == pytest.approx(-found.step * (found.slope + found.step * found.curvature / 2), rel=1e-14)


def test_nearly_critical_points_are_left_by_the_theorem_and_not_by_their_gradient():
    """No threshold says what is critical: with noise of every size the escape goes as deep as from the exact point."""
    exact = lp.block_point(PROBLEM, (2, 2), rho2=16.0)
    depth = lp.escape(PROBLEM, exact).decrease
    noise = PROBLEM.init(seed=0, scale=1.0)
    for size in (1e-14, 1e-11, 1e-8, 1e-5, 1e-3):
        found = lp.escape(PROBLEM, onto_sphere(exact + noise * size, 16.0))
        assert found.decrease == pytest.approx(depth, rel=max(1e-6, 100 * size))
        assert found.case is not Case.GRADIENT


def test_far_from_critical_it_may_be_the_gradient():
    problem = lp.ulpm(4, 2, 4)
    state = problem.init(seed=0, scale=1.0)
    found = lp.escape(problem, state)
    downhill = -tangent(state, problem.log_gradient(state))
    assert found.case is Case.GRADIENT
    assert found.direction.inner(downhill) == pytest.approx(np.sqrt(downhill.squared_norm), rel=1e-12)
    assert found.slope == pytest.approx(-np.sqrt(downhill.squared_norm), rel=1e-12)


@pytest.mark.parametrize("rho2", [1e4, 1e6])
def test_past_underflow_an_etf_is_optimal_and_a_block_point_is_left(rho2):
    best = lp.escape(PROBLEM, lp.block_point(PROBLEM, (4,), rho2=rho2))
    assert best.optimal
    assert best.gap < best.tol < rho2**2 * 1e-16
    block = lp.block_point(PROBLEM, (2, 2), rho2=rho2)
    assert PROBLEM.objective(block) == 0
    found = lp.escape(PROBLEM, block)
    assert found.decrease > rho2 / 50
    assert PROBLEM.log_objective(found.state) < PROBLEM.log_objective(block) - rho2 / 50


@pytest.mark.parametrize("rho2", [16.0, 1e4])
@pytest.mark.parametrize("distance", [1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5])
def test_next_to_the_optimum_it_is_certified_by_its_neighbour_or_left(distance, rho2):
    """The gap is of first order in the distance, too large; the decrease of second, too small to be seen."""
    best, noise = PROBLEM.optimum(rho2=rho2).state, onto_sphere(PROBLEM.init(seed=0, scale=1.0), rho2)
    state = onto_sphere(best + noise * distance, rho2)
    found = lp.escape(PROBLEM, state)
    least = PROBLEM.log_objective(best)
    if found.state is not None:
        assert PROBLEM.log_objective(found.state) < PROBLEM.log_objective(state)
        return
    assert found.optimal
    assert found.gap <= found.tol
    assert found.log_lower_bound <= least <= PROBLEM.log_objective(state) + found.certificate.resolution
    if found.neighbour is not None:
        assert found.certificate.gap > found.tol
        assert ", by the certificate of the critical point next to it (gap " in str(found)
        assert "the critical point next to it is certified, and its loss is within a part" in found.reason


def test_where_the_gap_was_useless_the_neighbour_decides():
    best = PROBLEM.optimum(rho2=1e4).state
    state = onto_sphere(best + onto_sphere(PROBLEM.init(seed=3, scale=1.0), 1e4) * 1e-9, 1e4)
    found = lp.escape(PROBLEM, state)
    assert found.certificate.gap > 1e-3
    assert found.optimal
    assert found.gap < 1e-9
    stricter = lp.escape(PROBLEM, state, tol=0.0)
    assert not stricter.optimal
    assert "than the rounding of float64; the critical point next to it is certified" in str(stricter)


def test_unequal_class_sizes_and_the_reduction_change_nothing():
    state = lp.State(np.zeros((3, 4)), np.ones((4, 9)))
    total, mean = (lp.escape(lp.ulpm(3, (5, 3, 1), 4, reduction=r), state) for r in ("sum", "mean"))
    assert total.decrease == pytest.approx(mean.decrease, rel=1e-9)
    assert total.decrease > 0.1


def test_another_convex_loss_is_solved_and_for_d_below_K_refused():
    """min |Z - Y|^2/2 over |Z|_* <= rho^2/2 shrinks the K singular values sqrt(n) of Y alike."""
    wide, narrow = (lp.Problem(4, 2, d, loss=Squared(), reduction="sum") for d in (4, 3))
    best = np.sqrt(2) ** 0.5 * np.eye(4)
    found = lp.escape(wide, onto_sphere(lp.State(best, np.repeat(best, 2, axis=1) / np.sqrt(2)), 5.0))
    assert found.optimal
    assert np.exp(found.certificate.log_value) == pytest.approx(4 * (1 - 5 / 2 / (4 * np.sqrt(2))) ** 2, rel=1e-13)
    stuck = lp.polish(narrow, onto_sphere(narrow.init(seed=0, scale=1.0), 5.0))
    assert not stuck.optimal
    assert "for d = 3 < K = 4 Theorem 3.4 does not hold" in stuck.last.reason


@pytest.mark.parametrize("rho2", [5.0, 20.0])
def test_below_K_minus_1_saddles_are_left_along_their_lowest_curvature(rho2):
    """Pairs of classes on the corners of a simplex: critical by symmetry, full rank, so without a null vector."""
    frame = np.repeat(lp.frames.simplex_etf(4, 3), 2, axis=1)
    problem = lp.ulpm(8, 1, 3, reduction="sum")
    found = lp.escape(problem, onto_sphere(lp.State(frame.T, frame), rho2))
    assert found.certificate.residual < 1e-12
    assert found.decrease > 1e-5
    assert found.case in (Case.CURVATURE, Case.ZERO_MULTIPLIER)
    if rho2 == 20.0:
        assert found.case is Case.CURVATURE
        assert found.curvature < 0
    assert problem.log_objective(found.state) < found.certificate.log_value


def test_every_answer_is_a_sentence():
    lower = lp.escape(PROBLEM, lp.block_point(PROBLEM, (2, 2), rho2=16.0))
    assert "a lower state by case 3" in str(lower)
    best = lp.escape(PROBLEM, lp.block_point(PROBLEM, (4,), rho2=16.0))
    assert "globally optimal on its sphere, to a part 1e-10 of the loss" in str(best)
    assert best.reason == "it is optimal"


@dataclass(frozen=True)
class Rounded(lp.Loss):
    """sum_j exp(z_j - z_y) - 1, which rounds to 0 at a margin of 37."""

    convex = True

    def value(self, Z, Y):
        return jnp.sum(jnp.exp(Z - jnp.sum(Y * Z, axis=0)), axis=0) - 1


def exponential_at_example_3_1(loss, C):
    problem = lp.ulpm(4, 1, 4, loss=loss, reduction="sum")
    M = np.kron(np.eye(2), [[1.0, -1.0], [-1.0, 1.0]])
    return problem, lp.State(C * M, C * M)


@pytest.mark.parametrize("question", [lp.global_certificate, lp.escape, lp.polish])
def test_a_loss_that_was_rounded_to_0_is_refused_and_not_called_optimal(question):
    problem, state = exponential_at_example_3_1(Rounded(), 4.5)
    assert problem.objective(state) == 0
    with pytest.raises(
        ValueError,
        match=r"^need a loss that is not rounded to 0 \(make it a layerpeel\.ExponentialTailed, with its logarithm\), "
        r"got Rounded with L = 0 in float64 and slopes in the logits of 2\.58e-18$",
    ):
        question(problem, state)


def test_the_same_loss_without_the_rounding_is_left_there():
    problem, state = exponential_at_example_3_1(Exponential(), 4.5)
    assert lp.escape(problem, state).decrease > 0.1
    assert lp.polish(problem, state).outcome is PolishEnd.CERTIFIED


def test_where_loss_and_slopes_underflow_it_says_0_and_claims_no_optimum():
    problem, state = exponential_at_example_3_1(Exponential(), 20.0)
    found, polished = lp.escape(problem, state), lp.polish(problem, state)
    assert not found.optimal
    assert not polished.optimal
    assert np.isnan(found.gap)
    assert found.state is None
    assert str(found) == "the loss is 0 in float64: no state has a lower loss that float64 can tell from 0"
    assert str(polished.outcome).startswith("The loss is 0 in float64: no state has a lower loss")
    assert lp.global_certificate(problem, state).log_lower_bound == -np.inf


def test_a_loss_that_attains_0_has_the_same_answer_and_one_beyond_float64_is_refused():
    square = lp.Problem(2, 1, 2, loss=Squared(), reduction="sum")
    assert "no state has a lower loss that float64 can tell from 0" in str(
        lp.escape(square, lp.State(np.eye(2), np.eye(2)))
    )
    steep = lp.Problem(2, 1, 2, loss=Exponential(), reduction="sum")
    with pytest.raises(ValueError, match="need a loss that is finite and not negative at the state, got log L = inf"):
        lp.escape(steep, lp.State(-40 * np.eye(2), 40 * np.eye(2)))


@pytest.mark.parametrize("tol", [-1.0, float("inf"), float("nan"), True, "a"])
def test_an_impossible_tolerance_is_refused(tol):
    unchecked = inspect.unwrap(sphere_escape)  # the type checker of the tests would speak first
    with pytest.raises(ValueError, match=r"^need tol >= 0 and finite, got tol="):
        unchecked(PROBLEM, PROBLEM.init(), tol=tol)
