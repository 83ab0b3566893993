"""The paper as executable claims: each numbered statement with its check, evidence and verdict. The map of this folder:

    claim        Statement -> Evidence -> Claim; how a verdict is derived
    errata       what is printed and what is true, by number
    registry     all statements; check() puts them to the test
    table        for people, as Markdown, as JSON                theory_page  THEORY.md

    points       where statements are tried                      long_flow    16 flows to log t = 2e4
    separation_solver  problem (5) from random starts

    neural_collapse  Definition 2.1, NC1 to NC4                  model            (4), the flow, Definitions 3.1 and 3.2
    margin_bound     Lemma 3.1                                   separation       (5), Remark 3.1, Theorem 3.2
    approximate_kkt  Lemma 3.2                                   convergence      Theorem 3.1, Lemma 3.3
    example_3_1      Example 3.1                                 sphere_optimum   Theorem 3.3, Remark 3.2
    landscape        Theorem 3.4                                 saddles          Remark 3.3
    rates            section 4                                   low_dimension    E12: what fails for d < K - 1

    bounded_features, regularised_features  Table 1 and later systems
    known_optima     how an optimum is tried                     finished         runs that may judge

``python -m layerpeel.certify.claims`` prints THEORY.md.
"""

from layerpeel.certify.claims.claim import Claim, Evidence, Statement, Verdict
from layerpeel.certify.claims.errata import ERRATA, Erratum
from layerpeel.certify.claims.registry import STATEMENTS, check, equation_homes, statements_of
from layerpeel.certify.claims.table import as_json, as_markdown, as_tables

__all__ = [
    "ERRATA",
    "STATEMENTS",
    "Claim",
    "Erratum",
    "Evidence",
    "Statement",
    "Verdict",
    "as_json",
    "as_markdown",
    "as_tables",
    "check",
    "equation_homes",
    "statements_of",
]
