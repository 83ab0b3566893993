"""Polish: down the sphere |W|^2 + |H|^2 = rho^2 to a critical point, away from it, and so on to the certified optimum.

Each round descends to a critical point (:mod:`layerpeel.certify.sphere_descent`), asks for the certificate there and,
while it leaves a gap, takes the step of :func:`layerpeel.escape`. The loss falls strictly from round to round. For
d >= K - 1 nothing but the optimum ends it (Theorem 3.4), up to the resolution of float64; for d < K - 1 it may end at a
critical point that no certificate covers.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from layerpeel.certify.escape import Escape, escape
from layerpeel.certify.global_certificate import certify_logits
from layerpeel.certify.logit_loss import LogitLoss
from layerpeel.certify.sphere import admit_point
from layerpeel.certify.sphere_descent import descend_on_sphere, newton_on_sphere
from layerpeel.problem import Problem, State
from layerpeel.problem.options import need_integer, need_not_negative
from layerpeel.progress import progress_bar
from layerpeel.wording import counted

__all__ = ["PolishEnd", "Polished", "polish"]

STEPS = 3000
"""Most L-BFGS steps of a round."""
SMALL = 10**7
"""Products K d N below this are faster on one thread."""


class PolishEnd(enum.Enum):
    """How polishing ended; the value is a sentence."""

    CERTIFIED = "Certified: the state is globally optimal on its sphere."
    ZERO = "The loss is 0 in float64: no state has a lower loss that float64 can tell from 0."
    STUCK = "No lower state is to be seen, and the certificate leaves a gap."
    ROUNDS = "The rounds were used up; the loss was still falling."
    INTERRUPTED = "Interrupted; the state is the lowest seen so far."

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, eq=False)
class Polished:
    """What polishing reached.

    Attributes:
        state: the last state, on the sphere of the first.
        last: what :func:`layerpeel.escape` says of it: the certificate, or why there is no lower state.
        escapes: the escapes that were taken, in order.
        outcome: how it ended.
        log_before: log L of the first state.
        log_after: log L of the last.
        rounds: descents taken.
    """

    state: State
    last: Escape
    escapes: tuple[Escape, ...]
    outcome: PolishEnd
    log_before: float
    log_after: float
    rounds: int

    @property
    def gap(self) -> float:
        """(L - L*)/L is at most this; nan where L is 0 in float64."""
        return self.last.gap

    @property
    def optimal(self) -> bool:
        """Whether the state is certified."""
        return self.outcome is PolishEnd.CERTIFIED

    def __str__(self) -> str:
        cases = ", ".join(str(found.case) for found in self.escapes) or "none"
        return (
            f"{self.outcome} log L fell from {self.log_before:.6g} to {self.log_after:.6g} in "
            f"{counted(self.rounds, 'round')}; escapes: {cases}. The last state: {self.last}."
        )


def polish(
    problem: Problem,
    state: State,
    *,
    tol: float | None = None,
    rounds: int = 50,
    progress: bool = False,
) -> Polished:
    """The lowest state on the sphere of ``state`` that descent and escapes reach, with its certificate.

    Args:
        problem: one without bias, regulariser and constraint; its loss smooth and convex in the logits, not negative.
        state: any state but 0; critical points are welcome.
        tol: the gap to reach, as in :func:`layerpeel.escape`.
        rounds: most descents, >= 1.
        progress: whether to show a progress bar on stderr.

    Returns:
        The result, whose ``outcome`` says how it ended; Ctrl-C ends it early with the lowest state seen.

    Raises:
        ValueError: as :func:`layerpeel.escape`, or for rounds < 1.
    """
    rounds = need_integer("rounds", rounds, least=1)
    tol = None if tol is None else need_not_negative("tol", tol)
    loss, start = LogitLoss(problem), admit_point(problem, state)
    threads = 1 if problem.K * problem.d * problem.N < SMALL else None
    with threadpool_limits(limits=threads, user_api="blas"):
        course = _Course(loss, start, tol)
        with progress_bar(rounds, "rounds", shown=progress) as show:
            outcome = course.run(rounds, show)
        return course.result(outcome)


class _Course:
    """Polishing under way; ``state`` is always the lowest seen."""

    def __init__(self, loss: LogitLoss, start: State, tol: float | None) -> None:
        self.loss, self.tol = loss, tol
        self.state = start
        self.log_before = certify_logits(loss, start).log_value
        self.escapes: list[Escape] = []
        self.rounds = 0

    def run(self, rounds: int, show: Callable[[int], None]) -> PolishEnd:
        try:
            while self.rounds < rounds:
                self.descend()
                found = escape(self.loss.problem, self.state, tol=self.tol)
                show(self.rounds)
                if found.state is None:
                    return _end(found)
                self.state = found.state
                self.escapes.append(found)
        except KeyboardInterrupt:
            return PolishEnd.INTERRUPTED
        return PolishEnd.ROUNDS

    def descend(self) -> None:
        self.rounds += 1
        self.state = descend_on_sphere(self.loss, self.state, steps=STEPS, show=self.see)
        self.state = newton_on_sphere(self.loss, self.state)

    def see(self, state: State) -> None:
        self.state = state

    def result(self, outcome: PolishEnd) -> Polished:
        last = escape(self.loss.problem, self.state, tol=self.tol)
        return Polished(
            state=self.state,
            last=last,
            escapes=tuple(self.escapes),
            outcome=PolishEnd.CERTIFIED if last.optimal else outcome,
            log_before=self.log_before,
            log_after=last.certificate.log_value,
            rounds=self.rounds,
        )


def _end(found: Escape) -> PolishEnd:
    """How polishing ends at a state without a lower one."""
    if found.certificate.vanishes:
        return PolishEnd.ZERO
    return PolishEnd.CERTIFIED if found.optimal else PolishEnd.STUCK
