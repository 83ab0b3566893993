"""Every statement of the paper has its verdict on record, and every erratum it names is shown to fail as printed."""

import dataclasses
import json
import math

import numpy as np
import pytest

import layerpeel as lp
from layerpeel.certify.claims import (
    STATEMENTS,
    Verdict,
    as_json,
    convergence,
    example_3_1,
    landscape,
    long_flow,
    low_dimension,
    margin_bound,
    saddles,
)
from layerpeel.certify.claims.points import summed
from layerpeel.certify.sphere import tangent

LONG = ("theorem-3.1", "lemma-3.3", "rates")
"""Statements that look at 16 flows to log t = 2e4."""


def with_its_verdict(claim):
    """Assert all that is to be said of a sound claim."""
    assert claim.surprises == ()
    assert claim.verdict is claim.statement.expected
    assert {piece.erratum for piece in claim.evidence} - {None} == set(claim.statement.errata)
    for piece in claim.evidence:
        assert math.isfinite(piece.residual), piece
        assert piece.tolerance > 0
        assert piece.tried >= 1
        assert piece.witness
    if "for all" in claim.statement.quantifier:
        assert claim.tried >= 50
    (row,) = json.loads(as_json([claim]))["statements"]
    assert row["verdict"] == str(claim.statement.expected)
    assert row["residual"] == claim.residual
    assert len(row["evidence"]) == len(claim.evidence)
    return True


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(statement.id, marks=[pytest.mark.slow] * (statement.id in LONG), id=statement.id)
        for statement in STATEMENTS
    ],
)
def test_it_has_its_verdict_on_record_and_its_errata_fail(name):
    (claim,) = lp.claims.check(name)
    assert with_its_verdict(claim)


def test_on_two_flows_instead_of_sixteen_the_limits_have_their_verdicts_too(monkeypatch):
    monkeypatch.setattr(long_flow, "SEEDS", 2)
    long_flow.long_flow.cache_clear()
    claims = lp.claims.check(LONG)
    long_flow.long_flow.cache_clear()
    assert [claim.id for claim in claims] == list(LONG)
    assert all(map(with_its_verdict, claims))


def test_a_library_that_is_wrong_by_a_percent_is_found_out(monkeypatch):
    right = margin_bound.margin

    def wrong(problem, state):
        found = right(problem, state)
        return dataclasses.replace(found, ratio=1.01 * found.ratio)

    monkeypatch.setattr(margin_bound, "margin", wrong)
    (found,) = lp.claims.check("lemma-3.1")
    assert found.verdict is Verdict.FAILS
    assert found.surprises


def test_an_optimum_does_not_pass_for_a_strict_saddle(monkeypatch):
    """Its lowest eigenvalue is the 0 of the rotations: no more than 0, as that of every point."""
    best = saddles.PROBLEM.optimum(rho2=16.0).state
    monkeypatch.setattr(saddles, "_saddles", lambda: [(saddles.PROBLEM, best, "the optimum")])
    (found,) = lp.claims.check("remark-3.3")
    assert found.verdict is Verdict.FAILS
    assert "lowest Riemannian eigenvalue over L" in found.worst.form


def rotation(problem, state):
    """A unit tangent vector along which the loss is flat on the sphere."""
    A = np.random.default_rng(0).normal(size=(problem.d, problem.d))
    D = tangent(state, lp.State(state.W @ (A - A.T), (A.T - A) @ state.H))
    return D * D.squared_norm**-0.5


def test_a_flat_direction_does_not_pass_for_one_of_descent():
    problem = summed(4, 1, 4)
    start, best = problem.init(0, scale=1.0), problem.optimum(rho2=8.0).state
    found = lp.escape(problem, start)
    turned = dataclasses.replace(found, direction=rotation(problem, best))
    still = dataclasses.replace(found, direction=0.0 * found.direction)
    for move, state, flat in ((landscape._on_circle, best, turned), (landscape._on_line, start, still)):
        assert landscape._steepest(problem, start, found, move) < -landscape.STEEP
        assert landscape._steepest(problem, state, flat, move) > -1e-6


def test_points_that_are_no_lower_do_not_pass_for_lower_ones(monkeypatch):
    monkeypatch.setattr(example_3_1, "_lower", lambda C, x: example_3_1.at(C))
    assert min(residual for residual, _ in example_3_1._falls()) >= 0.5


def test_a_nan_after_the_first_number_is_a_finding(monkeypatch):
    log_time = np.array([10.0, 30.0, 100.0, 300.0])
    rows = {"falls": [np.nan, 3.0, 2.0, 1.0], "is lost": [np.nan, 3.0, np.nan, 1.0], "never begins": [np.nan] * 4}
    findings = [convergence._rise(0, np.array(row), log_time > 20, log_time) for row in rows.values()]
    assert findings[0] == (pytest.approx(2 / 3 - 1), "seed 0, to log t = 100")
    assert np.isnan([residual for residual, _ in findings[1:]]).all()


def test_on_a_line_a_strict_local_minimum_is_not_optimal_on_its_sphere():
    problem, state = low_dimension.trapped()
    other = low_dimension.lower_than_trapped()
    assert state.squared_norm == pytest.approx(200, rel=1e-14)
    assert other.squared_norm == pytest.approx(200, rel=1e-14)
    assert problem.objective(state) == pytest.approx(2.333231, abs=1e-6)
    assert problem.objective(other) == pytest.approx(1.686211, abs=1e-6)
    found = lp.curvature(problem, state)
    assert found.eigenvalue == pytest.approx(9.137e-4, abs=1e-7)
    assert found.kernel_dimension == found.orbit_dimension == 0
    neither = lp.escape(problem, state)
    assert not neither.optimal
    assert "for d = 1 < K-1 = 3 Theorem 3.4 does not hold" in neither.reason


def test_logits_of_rank_d_are_that_far_from_collapsed_ones():
    problem = summed(5, 2, 3)
    Z = problem.onehot - 1 / 5
    U, S, Vt = np.linalg.svd(Z, full_matrices=False)
    nearest = (U[:, :3] * S[:3]) @ Vt[:3]
    assert low_dimension.distance_from_collapse(problem) == pytest.approx(
        np.linalg.norm(Z - nearest) / np.linalg.norm(Z), rel=1e-12
    )
    assert low_dimension.distance_from_collapse(problem) == pytest.approx(np.sqrt(1 - 3 / 4), rel=1e-12)
    assert low_dimension.distance_from_collapse(summed(5, 2, 4)) < 1e-12
