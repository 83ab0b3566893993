"""Polishing reaches the certified optimum of Theorem 3.3, from critical points too; where none is known, it says so."""

from unittest import mock

import numpy as np
import pytest

import layerpeel as lp
from layerpeel.certify.escape_directions import Case
from layerpeel.certify.logit_loss import LogitLoss
from layerpeel.certify.polish import PolishEnd
from layerpeel.certify.sphere import onto_sphere
from layerpeel.certify.sphere_descent import descend_on_sphere, newton_on_sphere

PROBLEM = lp.ulpm(4, 1, 3, reduction="sum")


def random_state(problem, rho2, seed=0):
    return onto_sphere(problem.init(seed=seed, scale=1.0), rho2)


def check_certified(problem, state):
    rho2 = float(state.squared_norm)
    found = lp.polish(problem, state)
    assert found.outcome is PolishEnd.CERTIFIED, str(found)
    assert found.gap <= found.last.tol
    assert found.state.squared_norm == pytest.approx(rho2, rel=1e-14)
    assert found.log_after <= found.log_before
    assert found.log_after == pytest.approx(problem.log_objective(found.state), rel=1e-14, abs=1e-14)
    return found


@pytest.mark.parametrize(
    ("K", "n", "d", "blocks"),
    [
        (4, 1, 3, (2, 2)),
        (4, 3, 4, (2, 2)),
        (6, 1, 6, (3, 3)),
        (6, 3, 5, (2, 2, 2)),
        (8, 1, 7, (4, 4)),
        (9, 3, 9, (3, 3, 3)),
        (9, 3, 8, (4, 3, 2)),
        (4, 1, 5, (2, 1, 1)),
    ],
)
def test_from_block_points_it_reaches_the_certified_optimum_of_theorem_3_3(K, n, d, blocks):
    problem = lp.ulpm(K, n, d, reduction="sum")
    found = check_certified(problem, lp.block_point(problem, blocks, rho2=25.0))
    assert np.exp(found.log_after) == pytest.approx(problem.optimum(rho2=25.0).value, rel=1e-13)
    assert found.gap < 1e-12
    assert found.escapes[0].case is Case.NULL_VECTOR
    assert lp.margin(problem, found.state).ratio == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("rho2", [1e-4, 1.0, 100.0, 1e4, 1e6])
def test_from_random_points_too_at_any_norm(rho2):
    found = check_certified(PROBLEM, random_state(PROBLEM, rho2))
    best = PROBLEM.log_objective(PROBLEM.optimum(rho2=rho2).state)
    assert found.log_after == pytest.approx(best, abs=1e-11 + 1e-12 * rho2)


@pytest.mark.parametrize(
    "state",
    [
        lp.State(np.zeros((4, 3)), np.ones((3, 4))),
        lp.State(np.ones((4, 3)), np.zeros((3, 4))),
        lp.State(np.ones((4, 3)), np.ones((3, 4))),
        lp.State(-PROBLEM.optimum(rho2=9.0).state.W, PROBLEM.optimum(rho2=9.0).state.H),
    ],
    ids=["W = 0", "H = 0", "both gradients 0", "negative multiplier"],
)
def test_flat_points_and_maxima_are_left(state):
    found = check_certified(PROBLEM, state)
    assert len(found.escapes) >= 1
    assert found.log_before - found.log_after >= sum(escape.decrease for escape in found.escapes)


@pytest.mark.parametrize("rho2", [3.0, 30.0, 1e4])
def test_unequal_class_sizes_have_a_certified_optimum_without_a_closed_form(rho2):
    """Two starts end at the same loss; rank and angles differ from collapse."""
    problem = lp.ulpm(4, (9, 3, 1, 1), 4)
    ends = [check_certified(problem, random_state(problem, rho2, seed)) for seed in (0, 1)]
    assert ends[0].log_after == pytest.approx(ends[1].log_after, abs=1e-12 * (1 + rho2))


@pytest.mark.parametrize(("rho2", "coincide"), [(10.0, True), (15.0, True), (20.0, False), (30.0, False)])
def test_minority_classifiers_coincide_while_lam_is_at_least_the_root_of_their_size(rho2, coincide):
    """Hong and Ling 2023: iff sqrt(n_B) <= lam of the summed loss, here the multiplier of the sphere."""
    problem = lp.ulpm(4, (8, 8, 1, 1), 4, reduction="sum")
    found = check_certified(problem, random_state(problem, rho2))
    w, x = found.state.W[2:]
    assert (found.last.lam * np.exp(found.log_after) >= 1) == coincide
    assert (w @ x / (np.linalg.norm(w) * np.linalg.norm(x)) > 1 - 1e-9) == coincide


def test_without_room_it_ends_at_a_critical_point_and_says_that_no_certificate_need_exist():
    problem = lp.ulpm(4, 1, 2, reduction="sum")
    found = lp.polish(problem, random_state(problem, 20.0))
    assert found.outcome is PolishEnd.STUCK
    assert np.exp(found.log_after) == pytest.approx(0.63111787, abs=5e-9)
    assert found.last.certificate.residual < 1e-12
    assert found.gap > 1
    assert "for d = 2 < K-1 = 3 Theorem 3.4 does not hold" in str(found)


def test_without_escapes_descent_stays_where_symmetry_holds_it():
    """A start among the block points' symmetries, so that the escapes are needed."""
    start = lp.block_point(PROBLEM, (2, 2), rho2=16.0)
    start = onto_sphere(lp.State(start.W * [1.3, 0.8, 1.0], start.H), 16.0)
    stuck = newton_on_sphere(LogitLoss(PROBLEM), descend_on_sphere(LogitLoss(PROBLEM), start, steps=1000))
    found = lp.escape(PROBLEM, stuck)
    assert found.certificate.residual < 1e-12
    assert found.gap > 0.1
    assert check_certified(PROBLEM, start).escapes[0].case is Case.NULL_VECTOR


def test_newton_squares_the_distance_that_l_bfgs_leaves():
    loss, start = LogitLoss(PROBLEM), random_state(PROBLEM, 30.0)
    rough = descend_on_sphere(loss, start, steps=1000)
    fine = newton_on_sphere(loss, rough)
    before, after = (lp.global_certificate(PROBLEM, state) for state in (rough, fine))
    assert 1e-12 < before.gap < 1e-4
    assert after.gap < 1e-13
    assert after.residual < 1e-3 * before.residual


def test_newton_does_not_climb_and_leaves_an_exact_point_alone():
    loss = LogitLoss(PROBLEM)
    for seed in range(4):
        state = random_state(PROBLEM, 30.0, seed)
        moved = newton_on_sphere(loss, state)
        assert PROBLEM.log_objective(moved) <= PROBLEM.log_objective(state) + 1e-12
    best = PROBLEM.optimum(rho2=9.0).state
    np.testing.assert_allclose(newton_on_sphere(loss, best).W, best.W, atol=1e-9)


def test_a_few_steps_at_a_time_are_enough():
    with mock.patch("layerpeel.certify.polish.STEPS", 3):
        found = check_certified(PROBLEM, random_state(PROBLEM, 16.0))
    assert found.rounds > 1


def test_used_up_rounds_are_said():
    found = lp.polish(PROBLEM, lp.block_point(PROBLEM, (2, 1, 1), rho2=16.0), rounds=1)
    assert found.outcome is PolishEnd.ROUNDS
    assert found.rounds == len(found.escapes) == 1
    assert found.log_after < found.log_before
    assert "The rounds were used up" in str(found)


def test_ctrl_c_gives_the_lowest_state_so_far():
    seen = []

    def press(loss, state, *, steps, show):
        for _ in range(2):
            state = descend_on_sphere(loss, state, steps=2)
            show(state)
            seen.append(state)
        raise KeyboardInterrupt

    start = random_state(PROBLEM, 16.0)
    with mock.patch("layerpeel.certify.polish.descend_on_sphere", press):
        found = lp.polish(PROBLEM, start)
    assert found.outcome is PolishEnd.INTERRUPTED
    assert found.state is seen[-1]
    assert found.log_after < found.log_before
    assert "Interrupted" in str(found)


def test_progress_goes_to_stderr_and_the_result_is_a_sentence(capsys):
    found = lp.polish(PROBLEM, lp.block_point(PROBLEM, (2, 2), rho2=16.0), progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "rounds" in err
    assert str(found).startswith("Certified: the state is globally optimal on its sphere. log L fell from 0.")
    assert found.optimal


@pytest.mark.parametrize("rounds", [0, -1, True])
def test_impossible_rounds_are_refused(rounds):
    with pytest.raises(ValueError, match="need rounds >= 1 and an integer, got rounds="):
        lp.polish(PROBLEM, PROBLEM.init(), rounds=rounds)


@pytest.mark.parametrize("tol", [-1.0, float("inf"), float("nan")])
def test_an_impossible_tolerance_is_refused_before_the_first_round(tol):
    unmoved = mock.patch("layerpeel.certify.polish.descend_on_sphere", side_effect=AssertionError)
    with unmoved, pytest.raises(ValueError, match=r"^need tol >= 0 and finite, got tol="):
        lp.polish(PROBLEM, PROBLEM.init(), tol=tol)
