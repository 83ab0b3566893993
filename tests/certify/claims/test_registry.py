"""The record is complete: every numbered statement, equation and erratum of the paper, with functions and test."""

import dataclasses
import inspect
from functools import reduce
from pathlib import Path

import pytest

import layerpeel as lp
from layerpeel.certify.claims import ERRATA, STATEMENTS, check, equation_homes, registry

ROOT = Path(__file__).parents[3]
NUMBERED = (
    *("Definition 2.1", "Definition 3.1", "Definition 3.2", "NC1", "NC2", "NC3", "NC4"),
    *("Lemma 3.1", "Lemma 3.2", "Lemma 3.3", "Theorem 3.1", "Theorem 3.2", "Theorem 3.3", "Theorem 3.4"),
    *("Remark 3.1", "Remark 3.2", "Remark 3.3", "Example 3.1", "Section 2.2", "Equation (5)", "Section 4"),
)


@pytest.mark.parametrize("place", NUMBERED)
def test_every_numbered_statement_is_there(place):
    assert any(statement.place.startswith(place) for statement in STATEMENTS)


def test_every_equation_from_3_to_14_has_one_statement():
    held = [number for statement in STATEMENTS for number in statement.equations]
    assert sorted(held) == list(range(3, 15))
    assert list(equation_homes()) == list(range(3, 15))


def test_every_erratum_but_a_notation_is_put_to_the_test_by_a_statement():
    expected = [f"E{number}" for number in (*range(1, 15), 18, 19)]
    assert list(ERRATA) == expected
    refuted = [number for number, erratum in ERRATA.items() if not erratum.notation]
    assert refuted == [number for number in expected if number != "E13"]
    assert {number for statement in STATEMENTS for number in statement.errata} == set(refuted)


def test_ids_are_unique():
    assert len({statement.id for statement in STATEMENTS}) == len(STATEMENTS)


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.id)
def test_its_functions_and_its_test_exist(statement):
    assert (ROOT / statement.test).is_file()
    for name in statement.functions:
        assert callable(reduce(getattr, name.split("."), lp)), name


def test_an_erratum_names_the_statements_it_touches(monkeypatch):
    monkeypatch.setattr(registry, "STATEMENTS", tuple(dataclasses.replace(s, check=list) for s in STATEMENTS))
    assert [claim.id for claim in check("E11")] == ["theorem-3.1", "lemma-3.3"]
    assert [claim.id for claim in check(["E11", "nc1"])] == ["nc1", "theorem-3.1", "lemma-3.3"]
    assert [claim.id for claim in check([])] == []
    assert len(check()) == len(STATEMENTS)


@pytest.mark.parametrize(("only", "named"), [("E15", "'E15'"), (3, "3"), ([3], "3"), ([["nc1"]], r"\['nc1'\]")])
def test_an_unknown_name_is_refused(only, named):
    with pytest.raises(
        ValueError, match=rf"need ids of statements \(definition-2.1, .*\) or errata \(E1, ...\), got {named}$"
    ):
        inspect.unwrap(check)(only)  # the type checker of the tests would speak first


def test_a_check_that_crashes_is_reported_and_the_others_go_on(monkeypatch):
    def crash():
        raise ZeroDivisionError("float division\nby zero")

    first, second = STATEMENTS[0], next(statement for statement in STATEMENTS if statement.id == "nc2")
    monkeypatch.setattr(registry, "STATEMENTS", (dataclasses.replace(first, check=crash), second))
    crashed, sound = check()
    assert crashed.verdict is None
    assert crashed.error == "ZeroDivisionError: float division by zero"
    assert crashed.surprises == ("definition-2.1: the check crashed: ZeroDivisionError: float division by zero",)
    assert sound.surprises == ()


def test_ctrl_c_is_no_crash(monkeypatch):
    def pressed():
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "STATEMENTS", (dataclasses.replace(STATEMENTS[0], check=pressed),))
    with pytest.raises(KeyboardInterrupt):
        check()
