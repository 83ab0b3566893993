"""Closed forms: the golden values, attained by the state that comes with them, beaten by no random point."""

import jax
import numpy as np
import optax
import pytest

import layerpeel as lp
from layerpeel.dynamics.minimise import minimise

SPHERE = {(4, 1, 4, 8.0): 2.330630612247, (5, 2, 4, 30.0): 2.485296346609}


@pytest.mark.parametrize(("setting", "golden"), SPHERE.items(), ids=str)
def test_least_loss_on_a_sphere_is_the_golden_value_and_attained(setting, golden):
    K, n, d, rho2 = setting
    problem = lp.ulpm(K, n, d, reduction="sum")
    best = problem.optimum(rho2=rho2)
    assert best.value == pytest.approx(golden, abs=5e-13)
    assert problem.objective(best.state) == pytest.approx(best.value, rel=1e-13)
    assert np.sum(best.state.W**2) == pytest.approx(rho2 / 2, rel=1e-13)
    assert np.sum(best.state.H**2) == pytest.approx(rho2 / 2, rel=1e-13)


def test_mean_reduction_divides_the_least_loss_by_N():
    total, mean = (lp.ulpm(5, 2, 4, reduction=r).optimum(rho2=30.0).value for r in ("sum", "mean"))
    assert total == pytest.approx(10 * mean, rel=1e-14)


def test_separation_value_is_the_golden_one():
    assert lp.ulpm(5, 10, 20).optimum("separation").value == pytest.approx(12.649110640673518, rel=1e-15)


def test_separation_of_unequal_classes_is_the_nuclear_norm_of_thrampoulidis():
    problem = lp.ulpm(10, [10] * 5 + [1] * 5, 12)
    assert problem.optimum("separation").value == pytest.approx(18.99431852, abs=5e-9)


@pytest.mark.parametrize("n", [10, (7, 1, 3, 2, 2)], ids=["balanced", "imbalanced"])
def test_separation_state_has_every_margin_one_and_half_its_norm_is_the_value(n):
    problem = lp.ulpm(5, n, 6)
    best = problem.optimum("separation")
    np.testing.assert_allclose(lp.margin(problem, best.state).q, 1.0, rtol=1e-12)
    assert (np.sum(best.state.W**2) + np.sum(best.state.H**2)) / 2 == pytest.approx(best.value, rel=1e-13)


def test_random_points_never_beat_the_optimum_on_their_sphere():
    problem = lp.ulpm(4, 2, 5, reduction="sum")
    states = problem.init(seed=range(200), scale=1.0)
    for value, W, H in zip(problem.objective(states), states.W, states.H, strict=True):
        assert value >= problem.optimum(rho2=np.sum(W**2) + np.sum(H**2)).value


def test_a_perturbed_optimum_is_worse():
    problem = lp.ulpm(4, 2, 5, reduction="sum")
    best = problem.optimum(rho2=8.0)
    noise = problem.init(seed=0, scale=0.05)
    moved = jax.tree.map(np.add, best.state, noise)
    norm2 = np.sum(moved.W**2) + np.sum(moved.H**2)
    moved = jax.tree.map(lambda x: x * np.sqrt(8.0 / norm2), moved)
    assert problem.objective(moved) > best.value * (1 + 1e-4)


@pytest.mark.parametrize(
    ("problem", "arguments", "sentence"),
    [
        (lp.ulpm(5, 2, 3), {"rho2": 30.0}, "need d >= K-1 = 4"),
        (lp.ulpm(5, 2, 4), {}, "need rho2: without a norm the model has no minimum"),
        (lp.ulpm(5, 2, 4), {"rho2": -1.0}, "need rho2 > 0 and finite, got rho2=-1.0"),
        (lp.ulpm(5, 2, 4), {"of": "separation", "rho2": 1.0}, "need no rho2"),
        (
            lp.ulpm(5, 2, 4),
            {"of": "accuracy"},
            "need of to be one of loss, margin, separation, got 'accuracy'",
        ),
        (lp.ulpm(3, (1, 2, 3), 4), {"rho2": 1.0}, "need cross-entropy and equal class sizes"),
        (
            lp.ulpm(3, 2, 4, bias=True),
            {"rho2": 1.0},
            "need a problem without regulariser, constraint and bias",
        ),
    ],
)
def test_no_closed_form_is_said_in_one_sentence(problem, arguments, sentence):
    with pytest.raises(ValueError, match="^" + sentence.replace("(", r"\(").replace(")", r"\)")):
        problem.optimum(**arguments)


UNEVEN = lp.NormBalls(1.0, 1.0, np.array([1.0, 10.0, 1.0, 10.0, 1.0, 10.0]))


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (lp.Problem(3, 2, 3, constraint=UNEVEN), "need a model whose optimum is known"),
        (lp.Problem(3, 2, 3, regulariser=lp.Ridge(0.0, 0.0)), "need lam_W and lam_H > 0 for a least objective"),
        (
            lp.Problem(3, 2, 3, regulariser=lp.Ridge(0.1, 0.0)),
            "need lam_W and lam_H > 0 for a least objective, got lam_H",
        ),
        (
            lp.Problem(3, 2, 3, regulariser=lp.Ridge(0.1, 0.1), depth=3),
            "need lam_W and lam_H and lam_hidden > 0 for a least objective, got lam_hidden = 0",
        ),
        (lp.deep_ufm(5, 1, 3, 3, 1e-4), "need d >= 4"),
        (lp.deep_ufm(9, 1, 5, 3, 1e-4), "need d >= 6"),
    ],
    ids=str,
)
def test_what_has_no_known_optimum_is_refused(problem, sentence):
    with pytest.raises(ValueError, match="^" + sentence):
        problem.optimum()


def test_balls_whose_classes_have_weights_of_their_own_are_computed():
    pytest.importorskip("cvxpy")
    weights = np.repeat([1.0, 10.0, 1.0], 2)
    problem = lp.Problem(3, 2, 3, constraint=lp.NormBalls(1.0, 1.0, weights))
    found = problem.optimum()
    assert found.value == pytest.approx(found.lower_bound, rel=1e-8)
    assert np.sum(weights * found.state.H**2) <= 1 + 1e-9
    starts = problem.init(range(5), scale=0.5)
    lowest = lp.descend(problem, starts, optax.sgd(2.0), steps=5000, record=2).metrics.loss[:, -1]
    np.testing.assert_allclose(lowest, found.value, rtol=1e-7)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: lp.Problem(3, 2, 3, regulariser=lp.Ridge(-1.0, 1.0)), "need lam_W >= 0 and finite, got lam_W=-1.0"),
        (lambda: lp.Problem(3, 2, 4, constraint=lp.OutputBall(1.0)), "need d = K for logits in a ball"),
        (lambda: lp.Problem(3, 2, 3, constraint=lp.OutputBall(0.0)), "need radius > 0"),
        (lambda: lp.Problem(3, 2, 3, constraint=lp.Spheres(-1.0)), "need radius > 0"),
        (lambda: lp.Problem(3, 2, 3, constraint=lp.Spheres(1.0, tied=True)), "need n = 1 for tied vectors"),
        (lambda: lp.Problem(3, 2, 3, constraint=lp.NormBalls(0.0, 1.0)), "need W2 > 0"),
        (
            lambda: lp.Problem(3, 2, 3, constraint=lp.NormBalls(1.0, 1.0, np.ones(5))),
            "need weights > 0, one for each of N=6",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused_with_the_problem(make, sentence):
    with pytest.raises(ValueError, match="^" + sentence):
        make()


class Scaled(lp.SquaredError):
    """Three times the squared error, of which nothing is known."""

    def value(self, Z, Y):
        return 3 * super().value(Z, Y)


def test_a_subclass_of_a_known_loss_has_no_known_optimum():
    for problem in (lp.ufm(4, 2, 4, 0.01, 0.01, loss=Scaled()), lp.lpm(4, 2, 4, 0.1, 0.1, loss=Scaled())):
        with pytest.raises(ValueError, match=r"^need a loss of CrossEntropy, Focal, SquaredError, Hinge itself, got"):
            problem.optimum()


def test_a_ridge_on_one_factor_has_no_least_squared_error():
    problem = lp.Problem(4, 2, 4, lp.SquaredError(), lp.Ridge(0.0, 0.1))
    with pytest.raises(ValueError, match="need lam_W and lam_H > 0 for a least objective, got lam_W = 0"):
        problem.optimum()


@pytest.mark.parametrize(
    ("problem", "value"),
    [
        (lp.ufm(4, 2, 4, 1e200, 1e200), np.log(4)),
        (lp.mse_ufm(4, 2, 4, 1e200, 1e200), 0.5),
        (lp.ufm(4, 2, 4, 1e-200, 1e-200), 0.0),
        (lp.mse_ufm(4, 2, 4, 1e-200, 1e-200), 0.0),
        (lp.lpm(4, 1, 4, 1e300, 1e300), 0.0),
        (lp.mse_ufm(4, (1, 2, 3, 4), 3, 0, 0, bias="free"), 0.0),
    ],
    ids=str,
)
def test_extreme_weights_have_the_optima_of_their_limits(problem, value):
    assert problem.optimum().value == pytest.approx(value, rel=1e-12, abs=1e-180)


def test_a_free_bias_takes_the_mean_of_the_labels_whatever_the_sizes():
    problem = lp.mse_ufm(4, (1, 2, 3, 4), 3, 0, 0, bias="free")
    assert problem.objective(problem.optimum().state) < 1e-30


@pytest.mark.parametrize(
    ("K", "n", "gamma", "lam"),
    [(2, 1, 5.0, 0.0690768768665136), (3, 1, 2.0, 0.3070083416), (4, 1, 1.0, 0.2736986798), (4, 1, 5.0, 0.1937638265)],
)
def test_the_focal_optimum_just_below_its_threshold_is_not_zero(K, n, gamma, lam):
    found = lp.ufm(K, n, K + 1, lam, lam, loss=lp.Focal(gamma)).optimum()
    assert 0 < found.state.squared_norm < 0.1
    assert found.value < lp.ufm(K, n, K + 1, 10.0, 10.0, loss=lp.Focal(gamma)).optimum().value


@pytest.mark.parametrize("lam", [1e-9, 1e-18, 1e-40])
def test_deep_blocks_at_tiny_weights(lam):
    """Pairs are lower than the simplex for K = 4 and 4 factors, ever more so, and all go to 0."""
    blocks = lp.deep_blocks(lp.deep_ufm(4, 1, 4, 4, lam))
    assert blocks[2].value < 0.95 * blocks[4].value < 1e3 * lam


def test_five_classes_have_deep_states_below_the_simplex():
    problem = lp.deep_ufm(5, 1, 5, 3, 0.02)
    least = min(minimise(problem, problem.init(seed, scale=0.5)).value for seed in range(12))
    assert least < problem.optimum().value - 1e-3


def test_a_bound_is_never_below_zero():
    pytest.importorskip("cvxpy")
    problem = lp.Problem(4, (1, 2, 3, 4), 4, lp.Hinge(), constraint=lp.NormBalls(4.0, 4.0), bias=True)
    assert problem.optimum().lower_bound >= 0
