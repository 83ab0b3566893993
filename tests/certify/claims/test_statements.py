"""Every statement of the paper has its verdict on record, and every erratum it names is shown to fail as printed."""

import dataclasses
import json
import math

import pytest

import layerpeel as lp
from layerpeel.certify.claims import STATEMENTS, Verdict, as_json, long_flow, margin_bound

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
        assert claim.tried >= 100
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
