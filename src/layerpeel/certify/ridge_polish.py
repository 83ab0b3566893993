"""Polish in a ridge problem: down to a critical point, away from it, and so on to the certified global optimum.

Each round descends by L-BFGS, which judges points by their values and ends at a distance of about sqrt(eps); goes on by
Newton's method for grad F = 0 (MINRES with exact Hessian products, no inverse along rotations), which squares the
distance; and asks :mod:`layerpeel.certify.ridge_escape` for the certificate or a lower state. F falls strictly from
round to round.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, minres
from threadpoolctl import threadpool_limits

from layerpeel.certify.flat_objective import FlatObjective
from layerpeel.certify.ridge_escape import RidgeEscape, ridge_escape
from layerpeel.problem import Problem, State
from layerpeel.problem.boundary import admit
from layerpeel.problem.options import need_integer
from layerpeel.progress import progress_bar
from layerpeel.wording import counted

__all__ = ["RidgeEnd", "RidgePolished", "ridge_polish"]

STEPS = 5000
"""Most L-BFGS steps of a round."""
FLAT = 1e-9
"""L-BFGS ends where no slope is larger than this part of the objective."""
NEWTON_STEPS = 10


class RidgeEnd(enum.Enum):
    """How polishing ended; the value is a sentence."""

    CERTIFIED = "Certified: the state is globally optimal."
    STUCK = "No lower state is to be seen, and the certificate leaves a gap."
    ROUNDS = "The rounds were used up; the objective was still falling."
    INTERRUPTED = "Interrupted; the state is the lowest of the rounds that were completed."

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, eq=False)
class RidgePolished:
    """What polishing reached.

    Attributes:
        state: the last state.
        last: what :func:`layerpeel.escape` says of it: the certificate, or why there is no lower state.
        escapes: the escapes that were taken, in order.
        outcome: how it ended.
        before: the objective of the first state.
        rounds: descents taken.
    """

    state: State
    last: RidgeEscape
    escapes: tuple[RidgeEscape, ...]
    outcome: RidgeEnd
    before: float
    rounds: int

    @property
    def value(self) -> float:
        """The objective of the last state."""
        return self.last.certificate.value

    @property
    def gap(self) -> float:
        """It is above the global optimum by this at most."""
        return self.last.gap

    @property
    def optimal(self) -> bool:
        """Whether the state is certified."""
        return self.last.optimal

    def __str__(self) -> str:
        cases = ", ".join(str(found.case) for found in self.escapes) or "none"
        return (
            f"{self.outcome} The objective fell from {self.before:.6g} to {self.value:.6g} in "
            f"{counted(self.rounds, 'round')}; escapes: {cases}. The last state: {self.last}."
        )


def ridge_polish(
    problem: Problem, state: State, *, tol: float | None = None, rounds: int = 50, progress: bool = False
) -> RidgePolished:
    """The lowest state that descent and escapes reach from ``state``, with its certificate.

    Args:
        problem: as for :func:`layerpeel.certify.ridge_escape.ridge_escape`, its loss smooth.
        state: any state; critical points and 0 are welcome.
        tol: the part of the objective to which it is to be optimal, 1e-10 if not given.
        rounds: most descents, >= 1.
        progress: whether to show a progress bar on stderr.

    Raises:
        ValueError: as ``ridge_escape``, for a loss with kinks, or for rounds < 1.
    """
    rounds = need_integer("rounds", rounds, least=1)
    if isinstance(problem, Problem) and not problem.loss.smooth:
        raise ValueError(f"need a loss with a continuous gradient to polish, got {problem.loss!r}")
    first, state = ridge_escape(problem, state, tol=tol), admit(problem, state)
    with threadpool_limits(limits=1, user_api="blas"), progress_bar(rounds, "rounds", shown=progress) as show:
        return _polish(FlatObjective(problem), state, first, tol, rounds, show)


def _polish(
    objective: FlatObjective,
    state: State,
    last: RidgeEscape,
    tol: float | None,
    rounds: int,
    show: Callable[[int], None],
) -> RidgePolished:
    before, escapes, done = last.certificate.value, [], 0
    outcome = RidgeEnd.ROUNDS
    try:
        for done in range(1, rounds + 1):
            state = newton(objective, descend_to_rest(objective, state))
            last = ridge_escape(objective.problem, state, tol=tol)
            show(done)
            if last.state is None:
                outcome = RidgeEnd.STUCK
                break
            if done < rounds:
                state = last.state
                escapes.append(last)
    except KeyboardInterrupt:
        outcome, last = RidgeEnd.INTERRUPTED, ridge_escape(objective.problem, state, tol=tol)
    return RidgePolished(state, last, tuple(escapes), RidgeEnd.CERTIFIED if last.optimal else outcome, before, done)


def descend_to_rest(objective: FlatObjective, state: State) -> State:
    """Where L-BFGS ends from ``state``; a saddle that it starts from it does not leave."""
    x = objective.vector(state)
    flat = FLAT * objective.value(state)
    options = {"maxcor": 20, "maxiter": STEPS, "maxfun": 4 * STEPS, "ftol": 0.0, "gtol": flat}
    found = minimize(objective.value_and_gradient, x, jac=True, method="L-BFGS-B", options=options)
    return objective.state(found.x)


def newton(objective: FlatObjective, state: State) -> State:
    """The critical point next to ``state``, as far as each step still halves the gradient and does not climb."""
    x = objective.vector(state)
    value, gradient = objective.value_and_gradient(x)
    for _ in range(NEWTON_STEPS if gradient.any() else 0):
        at = x
        hessian = LinearOperator((x.size, x.size), lambda y: objective.hessian_product(at, np.ravel(y)), dtype=float)  # noqa: B023
        y = x + minres(hessian, -gradient, rtol=1e-10, maxiter=500)[0]
        new_value, new_gradient = objective.value_and_gradient(y)
        falls = new_value <= value * (1 + 1e-12)
        if not (falls and np.linalg.norm(new_gradient) < np.linalg.norm(gradient) / 2):
            break
        x, value, gradient = y, new_value, new_gradient
    return objective.state(x)
