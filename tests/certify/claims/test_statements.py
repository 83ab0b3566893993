"""Every statement of the paper has its verdict on record, and every erratum it names is shown to fail as printed."""

import dataclasses
import json
import math

import pytest

import layerpeel as lp
from layerpeel.certify.claims import STATEMENTS, Verdict, as_json, margin_bound


@pytest.fixture(scope="module", params=STATEMENTS, ids=lambda statement: statement.id)
def claim(request):
    (found,) = lp.claims.check(request.param.id)
    return found


def test_it_has_its_verdict_on_record_and_its_errata_fail(claim):
    assert claim.surprises == ()
    assert claim.verdict is claim.statement.expected
    assert {piece.erratum for piece in claim.evidence} - {None} == set(claim.statement.errata)


def test_its_evidence_is_made_of_numbers_and_witnesses(claim):
    for piece in claim.evidence:
        assert math.isfinite(piece.residual), piece
        assert piece.tolerance > 0
        assert piece.tried >= 1
        assert piece.witness
    if "for all" in claim.statement.quantifier:
        assert claim.tried >= 100
    if claim.verdict is not Verdict.FAILS:
        assert claim.worst.strain <= 1


def test_its_json_says_the_same(claim):
    (found,) = json.loads(as_json([claim]))["statements"]
    assert found["verdict"] == str(claim.statement.expected)
    assert found["residual"] == claim.residual
    assert len(found["evidence"]) == len(claim.evidence)
    assert found["surprises"] == []


def test_a_library_that_is_wrong_by_a_percent_is_found_out(monkeypatch):
    right = margin_bound.margin

    def wrong(problem, state):
        found = right(problem, state)
        return dataclasses.replace(found, ratio=1.01 * found.ratio)

    monkeypatch.setattr(margin_bound, "margin", wrong)
    (found,) = lp.claims.check("lemma-3.1")
    assert found.verdict is Verdict.FAILS
    assert found.surprises
