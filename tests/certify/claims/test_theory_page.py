"""THEORY.md is what the statements say: `python -m layerpeel.certify.claims > THEORY.md` after a change of them."""

import re
from pathlib import Path

import pytest

from layerpeel.certify.claims import ERRATA, STATEMENTS
from layerpeel.certify.claims.theory_page import theory_page

THEORY = Path(__file__).parents[3] / "THEORY.md"


def test_the_file_is_the_page():
    assert THEORY.read_text() == theory_page()


def test_the_command_prints_it(capsys):
    import runpy

    runpy.run_module("layerpeel.certify.claims", run_name="__main__")
    assert capsys.readouterr().out == theory_page()


@pytest.mark.parametrize("name", [*(statement.id for statement in STATEMENTS), *ERRATA])
def test_it_names_every_statement_and_erratum(name):
    assert re.search(rf"`{re.escape(name)}`|^\| {name} \|", theory_page(), re.MULTILINE)


def test_every_row_of_its_tables_has_as_many_cells_as_its_head():
    rows = [line.replace("\\|", "").count("|") for line in theory_page().splitlines() if line.startswith("|")]
    assert set(rows) == {6, 7}


def test_its_links_lead_to_files():
    for target in re.findall(r"\]\(([^)]*)\)", theory_page()):
        assert (THEORY.parent / target).is_file(), target
