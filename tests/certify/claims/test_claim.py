"""A verdict is derived from evidence alone, and a residual that is nan neither holds nor refutes anything."""

import dataclasses
import math

import pytest

from layerpeel.certify.claims import Claim, Evidence, Statement, Verdict
from layerpeel.certify.claims.claim import judge, trial


def piece(residual, *, erratum=None, tolerance=1e-6):
    return Evidence(form="x", residual=residual, tolerance=tolerance, tried=1, witness="here", erratum=erratum)


STATEMENT = Statement(
    id="some",
    place="Lemma 0",
    text="x = 0",
    quantifier="for all x",
    functions=(),
    test="",
    expected=Verdict.CORRECTED,
    check=lambda: [],
    errata=("E1", "E2"),
)
SOUND = (piece(0.0), piece(1.0, erratum="E1"), piece(1.0, erratum="E2"))


def claim(*evidence, **changes):
    return Claim(statement=dataclasses.replace(STATEMENT, **changes), evidence=evidence)


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        ([piece(0.0)], Verdict.HOLDS),
        ([piece(-3.0), piece(1e-6)], Verdict.HOLDS),
        ([piece(0.0), piece(1.0, erratum="E1")], Verdict.CORRECTED),
        ([piece(0.0), piece(0.0, erratum="E1")], Verdict.HOLDS),
        ([piece(0.0), piece(math.nan, erratum="E1")], Verdict.HOLDS),
        ([piece(0.0), piece(1.1e-6)], Verdict.FAILS),
        ([piece(1.0), piece(1.0, erratum="E1")], Verdict.FAILS),
        ([piece(math.nan)], Verdict.FAILS),
        ([piece(math.inf)], Verdict.FAILS),
        ([piece(1.0, erratum="E1")], None),
        ([], None),
    ],
)
def test_the_verdict_follows_from_the_evidence(evidence, verdict):
    assert judge(evidence) is verdict


def test_a_sound_claim_has_no_surprises():
    assert claim(*SOUND).surprises == ()


def test_a_verdict_off_the_record_is_a_surprise_with_its_witness():
    (sentence,) = claim(piece(0.5), *SOUND[1:]).surprises
    assert sentence == "some: fails as printed, on record is: holds as corrected (x: here)"


def test_an_erratum_that_no_longer_fails_is_a_surprise_even_if_the_verdict_stays():
    for printed in (0.0, math.nan):
        changed = claim(SOUND[0], SOUND[1], piece(printed, erratum="E2"))
        assert changed.verdict is Verdict.CORRECTED
        assert changed.surprises == ("some: the printed form of E2 does not fail",)
    assert claim(*SOUND[:2]).surprises == ("some: the printed form of E2 does not fail",)


def test_a_better_verdict_than_on_record_is_a_surprise_too():
    assert claim(piece(0.0), expected=Verdict.FAILS, errata=()).surprises


def test_a_trial_keeps_its_worst_finding_and_counts_them():
    found = trial("x", [(0.1, "a"), (0.3, "b"), (-5.0, "c")], tolerance=1.0)
    assert (found.residual, found.witness, found.tried) == (0.3, "b", 3)
    assert math.isnan(trial("x", [(0.1, "a"), (math.nan, "b"), (math.inf, "c")], tolerance=1.0).residual)


def test_the_residual_is_that_of_the_most_strained_trial_of_the_true_form():
    found = claim(piece(1e-3, tolerance=1.0), piece(5e-7), piece(9.0, erratum="E1"))
    assert found.residual == 5e-7
    assert found.tried == 1
