"""Claims as tables for people, as Markdown and as JSON."""

import json
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from layerpeel.certify.claims.claim import Claim, Evidence, Verdict
from layerpeel.certify.claims.errata import ERRATA
from layerpeel.certify.claims.registry import equation_homes

__all__ = ["as_json", "as_markdown", "as_tables", "cell", "summary"]

STYLES = {Verdict.HOLDS: "green", Verdict.CORRECTED: "cyan", Verdict.FAILS: "yellow", None: "bold red"}


def as_tables(claims: Sequence[Claim]) -> Group:
    """Two tables for rich, made for 110 columns: the statements, and how far off the errata are as printed."""
    parts = (_statements(claims), _errata(claims), Text(summary(claims)))
    return Group(*(part for part in parts if part is not None))


def _statements(claims: Sequence[Claim]) -> Table:
    title = "The statements of the paper and of its Table 1, put to the test"
    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("statement", width=16)
    table.add_column("what holds, and for which points")
    table.add_column("tried", justify="right", no_wrap=True)
    table.add_column("worst residual", width=9)
    table.add_column("verdict", width=12)
    for claim in claims:
        place = Text.assemble(claim.statement.place, "\n", (claim.id, "dim"))
        words = Text.assemble(claim.text, "\n", (claim.statement.quantifier, "dim"))
        table.add_row(place, words, f"{claim.tried:,}", _residual(claim.worst), _verdict(claim))
    return table


def _verdict(claim: Claim) -> Text:
    word = "crashed" if claim.error else str(claim.verdict or "no verdict")
    return Text.assemble((word, STYLES[claim.verdict]), ("\nNOT as on record" if claim.surprises else "", "bold red"))


def _errata(claims: Sequence[Claim]) -> Table | None:
    found = _refutations(claims)
    if not found:
        return None
    title = "Errata: the printed forms, put to the test"
    table = Table(title=title, title_justify="left", show_lines=True, expand=True)
    table.add_column("#", no_wrap=True)
    table.add_column("printed", ratio=3)
    table.add_column("true", ratio=3)
    table.add_column("how far the printed form is off, at worst", ratio=5)
    for number, pieces in found.items():
        erratum = ERRATA[number]
        printed = Text.assemble(erratum.printed, "\n", (erratum.place, "dim"))
        table.add_row(number, printed, Text(erratum.correct), Text("\n".join(map(_off_by, pieces))))
    return table


def _refutations(claims: Sequence[Claim]) -> dict[str, list[Evidence]]:
    """Number of an erratum -> the trials of its printed form, in the order of the numbers."""
    pieces = [piece for claim in claims for piece in claim.evidence]
    found = {number: [piece for piece in pieces if piece.erratum == number] for number in ERRATA}
    return {number: trials for number, trials in found.items() if trials}


def _off_by(piece: Evidence) -> str:
    residual = f"{piece.residual:.2g}" if piece.fails else f"NOT OFF, {piece.residual:.2g}"
    return f"{piece.form}: {residual} ({piece.witness})"


def _residual(worst: Evidence | None) -> str:
    if worst is None:
        return ""
    return f"{worst.residual:.1e}\n{'<=' if worst.holds else '>'} {worst.tolerance:.0e}"


def summary(claims: Sequence[Claim]) -> str:
    """How many statements have which verdict, how many errata were shown, and the time."""
    counts = [(verdict, sum(claim.verdict is verdict for claim in claims)) for verdict in Verdict]
    listed = ", ".join(f"{verdict}: {count}" for verdict, count in counts if count)
    crashed = sum(bool(claim.error) for claim in claims)
    errata = _refutations(claims)
    shown = sum(any(piece.fails for piece in pieces) for pieces in errata.values())
    parts = [f"{len(claims)} statement{'s' * (len(claims) != 1)}", *[listed] * bool(listed)]
    parts += [f"{crashed} crashed"] * bool(crashed)
    parts += [f"{shown} of {len(errata)} errata shown to fail as printed"] * bool(errata)
    return f"{'; '.join(parts)}. {sum(claim.seconds for claim in claims):.0f} s."


def as_markdown(claims: Sequence[Claim]) -> str:
    """A compact table, one line a statement."""
    rows = ["| statement | what holds | tried | worst residual | verdict | errata |", "|---|---|---|---|---|---|"]
    for claim in claims:
        worst = "" if claim.worst is None else f"{claim.worst.residual:.1e} ({claim.worst.tolerance:.0e})"
        verdict = "crashed" if claim.error else str(claim.verdict or "no verdict")
        errata = ", ".join(claim.statement.errata)
        parts = (claim.statement.place, claim.text, f"{claim.tried:,}", worst, verdict, errata)
        rows.append(f"| {' | '.join(map(cell, parts))} |")
    return "\n".join([*rows, "", summary(claims)])


def cell(text: str) -> str:
    """``text`` as a cell of a Markdown table: no bar and no angle bracket of it means anything there."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def as_json(claims: Sequence[Claim]) -> str:
    """All of it; numbers that are not finite are null."""
    errata = [
        {"number": e.number, "place": e.place, "printed": e.printed, "correct": e.correct} for e in ERRATA.values()
    ]
    whole = {
        "as_expected": not any(claim.surprises for claim in claims),
        "summary": summary(claims),
        "statements": [_claim(claim) for claim in claims],
        "errata": errata,
        "equations": equation_homes(),
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)


def _claim(claim: Claim) -> dict[str, Any]:
    statement = claim.statement
    return {
        "id": claim.id,
        "place": statement.place,
        "text": claim.text,
        "quantifier": statement.quantifier,
        "verdict": claim.verdict and str(claim.verdict),
        "expected": str(statement.expected),
        "surprises": list(claim.surprises),
        "error": claim.error,
        "residual": _number(claim.residual),
        "tolerance": claim.worst and claim.worst.tolerance,
        "tried": claim.tried,
        "seconds": round(claim.seconds, 3),
        "equations": list(statement.equations),
        "errata": list(statement.errata),
        "functions": list(statement.functions),
        "test": statement.test,
        "remark": statement.remark,
        "evidence": [_evidence(piece) for piece in claim.evidence],
    }


def _evidence(piece: Evidence) -> dict[str, Any]:
    return {
        "form": piece.form,
        "erratum": piece.erratum,
        "residual": _number(piece.residual),
        "tolerance": piece.tolerance,
        "holds": piece.holds,
        "tried": piece.tried,
        "witness": piece.witness,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
