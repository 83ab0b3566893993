"""The program of two class sizes: golden thresholds and cosines, and its optimum against what is known without it."""

import math

import numpy as np
import pytest

import layerpeel as lp
from layerpeel.problem.two_groups import TwoGroups, vanishing_ratio

FANG = TwoGroups(5, 5, 1.0, 5.0)


@pytest.mark.parametrize(
    ("settings", "R0"), [((5, 5, 1, 5), 12.192447), ((3, 7, 1, 5), 245.496931), ((2, 2, 1, 1), 3.380488)]
)
def test_the_minority_has_an_angle_below_the_golden_ratio_and_none_from_it_on(settings, R0):
    program = TwoGroups(*settings)
    assert program.slope_at_collapse(R0 - 1e-6) < 0 < program.slope_at_collapse(R0 + 1e-6)
    assert program.minority_cosine(R0 * 0.999) < 1 == program.minority_cosine(R0 * 1.001)


@pytest.mark.parametrize(("R", "cosine"), [(1, -0.1111), (10**0.5, -0.0172), (10, 0.5175), (10**1.1, 1.0), (1e4, 1.0)])
def test_the_cosine_has_its_golden_values(R, cosine):
    assert FANG.minority_cosine(R) == pytest.approx(cosine, abs=5e-5)


def test_equal_classes_have_the_closed_form():
    assert FANG.loss(1.0) == pytest.approx(lp.lpm(10, 3, 10, 1, 5).optimum().value, rel=1e-14)


def test_no_point_of_the_model_is_below_the_optimum_and_descent_reaches_it():
    """The bound holds for states with other angles; projected descent comes to it in value."""
    import optax

    R, program, problem = 3.0, TwoGroups(2, 2, 1.0, 2.0), lp.lpm(4, [3, 3, 1, 1], 4, 1.0, 2.0)
    start = problem.init(range(4), scale=1.0)
    assert (problem.objective(start) > program.loss(R)).all()
    run = lp.descend(problem, start, optax.sgd(1.0), 5000, record=[5000])
    np.testing.assert_allclose(run.metrics.loss[:, -1], program.loss(R), rtol=3e-8)
    assert (run.metrics.loss[:, -1] > program.loss(R) * (1 - 1e-13)).all()


def test_minority_classifiers_vanish_from_their_ratio_on():
    """There and at no smaller R a small mode between the groups, of any angle, raises f at the price of x."""
    R1, program = vanishing_ratio(7, 3, 1.0, 5.0), TwoGroups(7, 3, 1.0, 5.0)
    assert vanishing_ratio(5, 5, 1.0, 5.0) == math.inf
    phi, s = np.linspace(0, math.pi / 2, 200), 1e-6
    for factor, raised in ((1.001, True), (0.999, False)):
        R = factor * R1
        along = [logit_loss(7, 3, (program.T - s) / 6, s * np.cos(a), s * np.sin(a), R) for a in phi]
        assert (min(along) > logit_loss(7, 3, program.T / 6, 0.0, 0.0, R)) == raised
        assert (program.between(program._optimum(R)) < 1e-12) == raised


def logit_loss(KA, KB, x, P, Q, R):
    """Mean cross-entropy of the K x K logits themselves, y = 0: blocks of x (I - J/KA) and one mode between groups."""
    K = KA + KB
    left = np.r_[np.full(KA, (KB / (K * KA)) ** 0.5), np.full(KB, -((KA / (K * KB)) ** 0.5))]
    right = np.r_[np.full(KA, P / KA**0.5), np.full(KB, -Q / KB**0.5)]
    Z = np.outer(left, right)
    Z[:KA, :KA] += x * (np.eye(KA) - 1 / KA)
    losses = np.log(np.exp(Z).sum(0)) - np.diag(Z)
    return np.average(losses, weights=np.r_[np.full(KA, R), np.ones(KB)])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [((5, 1, 1, 5), "need KA >= 1 and KB >= 2, got KA=5 and KB=1"), ((5, 5, 0, 5), "need E_W > 0 and E_H > 0")],
)
def test_a_wrong_program_is_one_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        TwoGroups(*settings)


def test_a_ratio_below_one_is_one_sentence():
    with pytest.raises(ValueError, match=r"need a finite ratio R >= 1, got R=0\.5"):
        FANG.minority_cosine(0.5)
