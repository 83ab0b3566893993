"""One name for a question, whatever the problem: what lies lower than a state, and how to get there.

The unconstrained model has no least objective, so that its states are compared on their sphere; a ridge problem has
one, and its states are compared in the whole space.
"""

from layerpeel.certify.escape import Escape
from layerpeel.certify.escape import escape as sphere_escape
from layerpeel.certify.polish import Polished
from layerpeel.certify.polish import polish as sphere_polish
from layerpeel.certify.ridge_escape import RidgeEscape, ridge_escape
from layerpeel.certify.ridge_polish import RidgePolished, ridge_polish
from layerpeel.problem import Problem, State

__all__ = ["escape", "polish"]


def escape(problem: Problem, state: State, *, tol: float | None = None) -> Escape | RidgeEscape:
    """A strictly lower state, or the certificate that ``state`` is globally optimal; the result prints which.

    - Unconstrained model: on the sphere of ``state`` (Theorem 3.4 of Ji et al. 2022, d >= K - 1), decreases of log L:
      :func:`layerpeel.certify.escape.escape`.
    - With a ridge: in the whole space (Zhu et al. 2021, d >= K - 1), decreases of the objective:
      :func:`layerpeel.certify.ridge_escape.ridge_escape`.

    Args:
        problem: one without constraint, its loss convex and smooth in the logits.
        state: any state of it; not 0 on a sphere.
        tol: the part of the objective by which an optimal point may exceed the optimum, 1e-10 if not given (on a sphere
            what rounding makes of it).

    Raises:
        ValueError: for a problem with a constraint, a loss that is not convex, a state that does not fit, or
            a tol that is not finite or < 0.
    """
    return ridge_escape(problem, state, tol=tol) if _has_ridge(problem) else sphere_escape(problem, state, tol=tol)


def polish(
    problem: Problem, state: State, *, tol: float | None = None, rounds: int = 50, progress: bool = False
) -> Polished | RidgePolished:
    """The lowest state that descent and escapes reach from ``state``, with its certificate.

    On the sphere of ``state`` for the unconstrained model (:func:`layerpeel.certify.polish.polish`), in the whole space
    for a ridge problem (:func:`layerpeel.certify.ridge_polish.ridge_polish`).

    Args:
        problem, state, tol: as for :func:`escape`.
        rounds: most descents, >= 1.
        progress: whether to show a progress bar on stderr.

    Returns:
        The result, whose ``outcome`` says how it ended; Ctrl-C ends it early with the lowest state seen.

    Raises:
        ValueError: as :func:`escape`, for a loss with kinks, or for rounds < 1.
    """
    ask = ridge_polish if _has_ridge(problem) else sphere_polish
    return ask(problem, state, tol=tol, rounds=rounds, progress=progress)


def _has_ridge(problem: Problem) -> bool:
    return isinstance(problem, Problem) and problem.regulariser is not None
