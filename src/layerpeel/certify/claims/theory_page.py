"""THEORY.md, from the objects that are put to the test: statement -> function -> test, and the errata."""

import inspect
import re
from types import ModuleType

from layerpeel.certify.claims.claim import Statement
from layerpeel.certify.claims.errata import ERRATA, Erratum
from layerpeel.certify.claims.registry import GROUPS, STATEMENTS, equation_homes
from layerpeel.certify.claims.table import cell

__all__ = ["theory_page"]

HEAD = """# Theory: the paper, statement by statement

W. Ji, Y. Lu, Y. Zhang, Z. Deng, W. J. Su, *How Gradient Descent Separates Data with Neural Collapse: A Layer-Peeled
Perspective* (ICLR 2022 and arXiv 2110.02796 as *An Unconstrained Layer-Peeled Perspective on Neural Collapse*), in our
words and corrected. `layerpeel claims` puts every line to the test and prints what it found (`--json` for all of it,
`--only lemma-3.1` or `--only E8` for a part); it exits with 1 when a verdict is not the one below.

The last two sections are the systems that the paper compares itself with (its Table 1) and later ones, with statements
of their own authors, in words of ours.

- *holds*: as printed.
- *holds as corrected*: something printed is false (the errata in brackets); the form below holds.
- *fails as printed*: the form below, which is the printed one, does not hold, and none is offered that does.

A verdict is derived from residuals: at hundreds of points with fixed seeds, against exact values, bounds with a
certificate, finite differences. For a statement about all points, or about t -> infinity, that is evidence and no
proof; the column "for which" says how far was looked.

K classes of n samples, N = nK; W [K, d] with rows w_k, H [d, N] with columns h, class by class; Z = WH, Y the one-hot
labels, L the SUM of the losses, G = dL/dZ, J = 11'; θ = (W, H), ρ² = |θ|² = |W|² + |H|² in Frobenius norms; q_min the
least margin, γ = q_min/ρ², γ* = 1/(2(K-1) sqrt n), γ~ = -log(e^L - 1)/ρ²; collapsed: NC1 to NC4 hold.

*Written by `python -m layerpeel.certify.claims > THEORY.md` from src/layerpeel/certify/claims, which is what to edit.*
"""


def theory_page() -> str:
    """The whole file."""
    parts = [HEAD, *map(_group, GROUPS), _equations(), _errata(), _remarks()]
    return "\n".join(parts).rstrip() + "\n"


def _group(module: ModuleType) -> str:
    title, _, rest = (inspect.getdoc(module) or "").partition("\n")
    rows = [_row(statement) for statement in module.STATEMENTS]
    head = ["| statement | what holds | for which | verdict | functions | test |", "|---|---|---|---|---|---|"]
    body = [_prose(rest), ""] * bool(rest.strip())
    return "\n".join([f"## {_prose(title).rstrip('.')}", "", *body, *head, *rows, ""])


def _row(statement: Statement) -> str:
    errata = f" ({', '.join(statement.errata)})" if statement.errata else ""
    functions = ", ".join(f"`{name}`" for name in statement.functions)
    parts = (
        f"{cell(statement.place)} `{statement.id}`",
        cell(statement.text),
        cell(statement.quantifier),
        f"{statement.expected}{errata}",
        functions,
        f"[{statement.test.rpartition('/')[2]}]({statement.test})",
    )
    return f"| {' | '.join(parts)} |"


def _prose(text: str) -> str:
    """A docstring as Markdown: roles of the cross-references go, and outside of code no angle bracket begins a tag."""
    plain = re.sub(r":(?:mod|func|class):`([^`]*)`", r"`\1`", text).strip("\n")
    return "\n".join(line if line.startswith("    ") else line.replace("<", "\\<") for line in plain.splitlines())


def _equations() -> str:
    homes = ", ".join(f"({number}) `{home}`" for number, home in equation_homes().items())
    rest = "Equations (1) and (2), a problem with constraints and a network, state nothing."
    return f"## Equations and where they are\n\n{homes}. {rest}\n"


def _errata() -> str:
    head = ["| # | place | printed | true | shown by |", "|---|---|---|---|---|"]
    return "\n".join(["## Errata", "", *head, *map(_erratum, ERRATA.values()), ""])


def _erratum(erratum: Erratum) -> str:
    homes = ", ".join(f"`{statement.id}`" for statement in STATEMENTS if erratum.number in statement.errata)
    shown = "a notation: nothing to show" if erratum.notation else homes
    parts = (erratum.number, cell(erratum.place), cell(erratum.printed), cell(erratum.correct), shown)
    return f"| {' | '.join(parts)} |"


def _remarks() -> str:
    lines = [
        f"- {statement.place} (`{statement.id}`): {statement.remark}" for statement in STATEMENTS if statement.remark
    ]
    return "\n".join(["## What the verdicts do not say", "", *lines])
