"""A statement of the paper as an object that can be put to the test, and what the test found.

A :class:`Statement` is words, a quantifier and a check. Its check returns :class:`Evidence`, one piece for each trial:
a form of the statement, the worst residual r over the trial's points and the tolerance tau it is held against,

    r <= tau: this form held at every point tried,    r > tau: here is a point at which it is false.

One-sided forms (a <= b) have r = max(a - b), so that a negative residual is room to spare. Evidence is about the true
form of the statement, or, with the number of an erratum, about what is printed. The verdict is derived from it alone:

    fails as printed      a true form fails, or there is none to correct it to
    holds as corrected    the true forms hold, something printed fails
    holds                 the true forms hold, nothing printed fails

A limit (t -> infinity) and an "for all" are not proved by finitely many points: the quantifier says how far was looked.
A residual that is nan holds nothing and refutes nothing.
"""

import enum
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["Claim", "Evidence", "Statement", "Verdict", "judge", "trial"]


class Verdict(enum.Enum):
    """What the evidence says of a statement."""

    HOLDS = "holds"
    CORRECTED = "holds as corrected"
    FAILS = "fails as printed"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One trial of one form of a statement.

    Attributes:
        form: what was tried, in words; the residual is how far it is from true.
        residual: the worst one over all points tried.
        tolerance: > 0; the most that counts as true.
        tried: number of points, seeds or runs.
        witness: where the residual is worst, with the numbers.
        erratum: the number of the erratum (as "E5") whose printed form this is; None for the true form.
    """

    form: str
    residual: float
    tolerance: float
    tried: int
    witness: str
    erratum: str | None = None

    @property
    def holds(self) -> bool:
        """Whether this form held at every point tried."""
        return self.residual <= self.tolerance

    @property
    def fails(self) -> bool:
        """Whether a point was found at which this form is false; a residual that is nan neither holds nor fails."""
        return self.residual > self.tolerance

    @property
    def strain(self) -> float:
        """residual / tolerance, above 1 where the form fails; nan counts as infinite."""
        return math.inf if math.isnan(self.residual) else self.residual / self.tolerance


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A numbered statement of the paper.

    Attributes:
        id: as "lemma-3.1".
        place: where it stands, as "Lemma 3.1".
        text: the true form, in our words.
        quantifier: for which points; for a limit, how far it was followed.
        equations: numbers of the paper's equations that it holds.
        errata: numbers of the errata that touch it, as "E12".
        functions: public names of layerpeel that embody it.
        test: the file under tests/ that goes into it.
        expected: the verdict on record.
        check: puts it to the test.
        remark: what the verdict does not say.
    """

    id: str
    place: str
    text: str
    quantifier: str
    functions: tuple[str, ...]
    test: str
    expected: Verdict
    check: Callable[[], Sequence[Evidence]] = field(repr=False)
    equations: tuple[int, ...] = ()
    errata: tuple[str, ...] = ()
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement with what its check found.

    Attributes:
        statement: what was put to the test.
        evidence: what was found; empty when the check crashed.
        seconds: wall time of the check.
        error: the exception that ended the check, in one line, or nothing.
    """

    statement: Statement
    evidence: tuple[Evidence, ...]
    seconds: float = 0.0
    error: str = ""

    @property
    def id(self) -> str:
        """The id of the statement."""
        return self.statement.id

    @property
    def text(self) -> str:
        """The statement in words."""
        return self.statement.text

    @property
    def verdict(self) -> Verdict | None:
        """Derived from the evidence; None when there is none."""
        return judge(self.evidence)

    @property
    def worst(self) -> Evidence | None:
        """The trial of the true form that came closest to failing, or failed by most."""
        return max((piece for piece in self.evidence if piece.erratum is None), key=lambda e: e.strain, default=None)

    @property
    def residual(self) -> float:
        """That of the worst trial; nan when there is none."""
        return math.nan if self.worst is None else self.worst.residual

    @property
    def tried(self) -> int:
        """Points, seeds or runs that the true form was tried on: those of its largest trial, as trials share points."""
        return max((piece.tried for piece in self.evidence if piece.erratum is None), default=0)

    @property
    def surprises(self) -> tuple[str, ...]:
        """What is not as it is on record, in sentences: none when all is well."""
        if self.error:
            return (f"{self.id}: the check crashed: {self.error}",)
        found = []
        if self.verdict is not self.statement.expected:
            worst = "" if self.worst is None else f" ({self.worst.form}: {self.worst.witness})"
            found.append(f"{self.id}: {self.verdict or 'no verdict'}, on record is: {self.statement.expected}{worst}")
        failing = {piece.erratum for piece in self.evidence if piece.fails}
        sound = (number for number in self.statement.errata if number not in failing)
        return (*found, *(f"{self.id}: the printed form of {number} does not fail" for number in sound))


def trial(
    form: str, findings: Iterable[tuple[float, str]], *, tolerance: float, erratum: str | None = None
) -> Evidence:
    """The evidence of one trial: the worst of its findings, (residual, where) each; nan is worse than all."""
    found = [(float(residual), where) for residual, where in findings]
    residual, witness = max(found, key=lambda finding: math.inf if math.isnan(finding[0]) else finding[0])
    return Evidence(
        form=form, residual=residual, tolerance=tolerance, tried=len(found), witness=witness, erratum=erratum
    )


def judge(evidence: Sequence[Evidence]) -> Verdict | None:
    """The verdict that the evidence gives; None without evidence of the true form."""
    true = [piece for piece in evidence if piece.erratum is None]
    if not true:
        return None
    if not all(piece.holds for piece in true):
        return Verdict.FAILS
    return Verdict.CORRECTED if any(piece.fails for piece in evidence) else Verdict.HOLDS
