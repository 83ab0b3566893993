"""All statements, and putting them to the test."""

import time
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

from threadpoolctl import threadpool_limits

from layerpeel.certify.claims import (
    approximate_kkt,
    bounded_features,
    convergence,
    example_3_1,
    landscape,
    margin_bound,
    model,
    neural_collapse,
    rates,
    regularised_features,
    saddles,
    separation,
    sphere_optimum,
)
from layerpeel.certify.claims.claim import Claim, Statement
from layerpeel.progress import progress_bar

__all__ = ["GROUPS", "STATEMENTS", "check", "equation_homes", "statements_of"]

GROUPS: tuple[ModuleType, ...] = (
    neural_collapse,
    model,
    margin_bound,
    separation,
    approximate_kkt,
    convergence,
    example_3_1,
    sphere_optimum,
    landscape,
    saddles,
    rates,
    bounded_features,
    regularised_features,
)
"""The parts of the paper and of its Table 1, each a module with its mathematics and its STATEMENTS."""

STATEMENTS: tuple[Statement, ...] = tuple(statement for group in GROUPS for statement in group.STATEMENTS)
"""Every statement of the paper."""


def check(only: str | Sequence[str] | None = None, *, progress: bool = False) -> list[Claim]:
    """Put statements to the test: about a minute for all of them.

    A check that crashes is a claim with its ``error``, and the others go on. ``claim.surprises`` says what is not as
    it is on record. Ctrl-C ends it with the claims so far, if there are any.

    Args:
        only: ids of statements, or numbers of errata for the statements that they touch; all when not given.
        progress: whether to show a progress bar on stderr.

    Raises:
        ValueError: for a name that is neither.
    """
    chosen = statements_of(only)
    claims: list[Claim] = []
    one_thread = threadpool_limits(limits=1, user_api="blas")  # two that share a busy machine wait for each other
    with one_thread, progress_bar(len(chosen), "statements", shown=progress) as show:
        try:
            for statement in chosen:
                claims.append(_put_to_the_test(statement))
                show(len(claims))
        except KeyboardInterrupt:
            if not claims:
                raise
    return claims


def statements_of(only: Any = None) -> list[Statement]:
    """The statements with these ids and those that these errata touch, in upper or lower case; all for None.

    Raises:
        ValueError: for a name that is neither.
    """
    if only is None:
        return list(STATEMENTS)
    names = list(only) if isinstance(only, Iterable) and not isinstance(only, str) else [only]
    wanted = {str(name).lower() for name in names}
    unknown = wanted - {name for statement in STATEMENTS for name in _names(statement)}
    for name in names:
        if str(name).lower() in unknown:
            listed = ", ".join(statement.id for statement in STATEMENTS)
            raise ValueError(f"need ids of statements ({listed}) or errata (E1, ...), got {name!r}")
    return [statement for statement in STATEMENTS if _names(statement) & wanted]


def _names(statement: Statement) -> set[str]:
    return {name.lower() for name in (statement.id, *statement.errata)}


def equation_homes() -> dict[int, str]:
    """Number of an equation of the paper -> id of the statement that holds it."""
    return dict(sorted((number, statement.id) for statement in STATEMENTS for number in statement.equations))


def _put_to_the_test(statement: Statement) -> Claim:
    start = time.perf_counter()
    try:
        evidence, error = tuple(statement.check()), ""
    except Exception as crash:  # whatever it is, it is reported, and the other statements are still looked at
        evidence, error = (), f"{type(crash).__name__}: {' '.join(str(crash).split())}"
    return Claim(statement=statement, evidence=evidence, seconds=time.perf_counter() - start, error=error)
