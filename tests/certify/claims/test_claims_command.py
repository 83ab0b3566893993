"""`layerpeel claims`: tables of 110 columns, JSON, Markdown; 1 when a verdict is not the one on record."""

import dataclasses
import json

import pytest
from shell import layerpeel

from layerpeel.certify.claims import ERRATA, STATEMENTS, registry

FAST = ("definition-2.1", "nc2", "definition-3.2")


@pytest.fixture
def fast(monkeypatch):
    chosen = tuple(statement for statement in STATEMENTS if statement.id in FAST)
    monkeypatch.setattr(registry, "STATEMENTS", chosen)
    return chosen


def corrupt(statement):
    """The same with a check whose residuals are all 1 off, up for what should hold and down for what should fail."""

    def check():
        return [
            dataclasses.replace(piece, residual=0.0 if piece.erratum else piece.residual + 1)
            for piece in statement.check()
        ]

    return dataclasses.replace(statement, check=check)


def test_it_prints_two_tables_of_at_most_110_columns(fast, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    done = layerpeel("claims")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 110
    for word in (*FAST, "holds as corrected", "E7", "E19", "3 statements; holds: 1, holds as corrected: 2"):
        assert word in done.stdout


def test_only_chooses(fast):
    done = layerpeel("claims", "--only", "nc2", "--only", "E7", "--json")
    assert [row["id"] for row in json.loads(done.stdout)["statements"]] == ["definition-2.1", "nc2"]


def test_json_is_whole(fast):
    found = json.loads(layerpeel("claims", "--json").stdout)
    assert found["as_expected"] is True
    assert [row["id"] for row in found["statements"]] == list(FAST)
    assert [row["number"] for row in found["errata"]] == list(ERRATA)
    for row in found["statements"]:
        assert row["verdict"] == row["expected"]
        assert {piece["erratum"] for piece in row["evidence"]} - {None} == set(row["errata"])


def test_markdown_has_a_row_a_statement(fast):
    lines = layerpeel("claims", "--markdown").stdout.splitlines()
    rows = [line.replace("\\|", "") for line in lines if line.startswith("| ")]
    assert len(rows) == 1 + len(FAST)
    assert {row.count("|") for row in rows} == {7}


@pytest.mark.parametrize("form", [[], ["--json"], ["--markdown"]])
def test_a_corrupted_check_flips_the_verdict_and_the_exit_code(fast, monkeypatch, form):
    monkeypatch.setattr(registry, "STATEMENTS", (*map(corrupt, fast[:1]), *fast[1:]))
    done = layerpeel("claims", *form)
    assert done.returncode == 1
    assert "fails as printed" in done.stdout
    assert "layerpeel: definition-2.1: fails as printed, on record is: holds as corrected" in done.stderr
    assert "layerpeel: definition-2.1: the printed form of E7 does not fail" in done.stderr
    assert "nc2:" not in done.stderr


def test_a_crash_is_reported_with_exit_code_1_and_the_others_go_on(fast, monkeypatch):
    def crash():
        raise RuntimeError("no such luck")

    monkeypatch.setattr(registry, "STATEMENTS", (dataclasses.replace(fast[0], check=crash), *fast[1:]))
    done = layerpeel("claims")
    assert done.returncode == 1
    assert "crashed" in done.stdout
    assert "1 crashed" in done.stdout
    assert "layerpeel: definition-2.1: the check crashed: RuntimeError: no such luck" in done.stderr
    found = json.loads(layerpeel("claims", "--json").stdout)
    assert found["as_expected"] is False
    assert (found["statements"][0]["verdict"], found["statements"][0]["residual"]) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "lemma-9"], "need ids of statements (definition-2.1, "),
        (["--json", "--markdown"], "need one of --json and --markdown, got both"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(arguments, sentence):
    done = layerpeel("claims", *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert sentence in done.stderr


def test_it_has_help():
    done = layerpeel("claims", "--help")
    assert done.returncode == 0
    assert "--only" in done.stdout


def test_only_takes_either_case():
    assert [row["id"] for row in json.loads(layerpeel("claims", "--only", "e2", "--json").stdout)["statements"]] == [
        row["id"] for row in json.loads(layerpeel("claims", "--only", "E2", "--json").stdout)["statements"]
    ]


def test_ctrl_c_shows_the_finished_statements(monkeypatch):
    def pressed():
        raise KeyboardInterrupt

    broken = [statement for statement in STATEMENTS if statement.id in ("nc1", "nc2", "nc3")]
    broken[1] = dataclasses.replace(broken[1], check=pressed)
    monkeypatch.setattr(registry, "STATEMENTS", tuple(broken))
    done = layerpeel("claims")
    assert done.returncode == 130
    assert "NC1" in done.stdout
    assert "1 statement;" in done.stdout
    assert done.stderr.splitlines()[-1] == "layerpeel: interrupted after 1 of 3 statements"
    broken[0] = dataclasses.replace(broken[0], check=pressed)
    monkeypatch.setattr(registry, "STATEMENTS", tuple(broken))
    assert layerpeel("claims").stderr.splitlines()[-1] == "layerpeel: interrupted"
