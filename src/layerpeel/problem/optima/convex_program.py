"""Optima that have no closed form: computed, with a proof by duality of how good they are.

Any class sizes, any bias; cross-entropy (smoothed or not), squared error and hinge; a ridge or norm balls. The convex
program (:mod:`.program`) is solved by interior points (:mod:`.conic`), its factors polished to rounding
(:mod:`.factored`), and the dual at the slopes found (:mod:`.dual_value`) bounds what any state can reach. The hinge,
which has kinks at its optimum, is not polished: its bound comes from the multipliers of the interior points.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from layerpeel.problem.losses import CrossEntropy, Hinge, SquaredError
from layerpeel.problem.optima.conic import ConicPoint, solve_conic
from layerpeel.problem.optima.dual_value import dual_value
from layerpeel.problem.optima.factored import polish
from layerpeel.problem.optima.optimum import Optimum, factors
from layerpeel.problem.optima.program import ConvexProgram, convex_program
from layerpeel.problem.state import State

if TYPE_CHECKING:
    from layerpeel.problem.problem import Problem

__all__ = ["computed_optimum"]

TOLERANCE = 1e-11
"""The part of its value within which an optimum has to be proved, or modes are added."""
ROUNDS = 6
SEEN = 1e-5
"""Singular values below this part of the largest start as 0: interior points leave about 1e-8 of nothing."""
ROUNDING = 1e-15
NOTHING = 1e-11
"""A mode that moves logits by less than this is 0."""


class Found(NamedTuple):
    """A point of the program, its value, and the dual value that nothing goes below, and the slopes that prove it."""

    M: Any
    b: Any
    value: float
    bound: float
    slopes: Any


def computed_optimum(problem: "Problem") -> Optimum | None:
    """The optimum of the convex program of ``problem``; None where it has none.

    Raises:
        ValueError: for d below the rank of the optimal logits.
        MissingRing: without cvxpy.
    """
    program = convex_program(problem)
    if program is None:
        return None
    found = _free_minimum(program)
    if found is None:
        if program.lam == 0 and not program.ball:
            return None  # cross-entropy with nothing that holds it
        found = _solve(program)
    weights = program.root**2 / np.asarray(problem.n)
    W, H = factors(found.M / program.root, problem.n, problem.d, ratio=program.ratio, weights=weights)
    within = program.scale * max(found.value - found.bound, ROUNDING * abs(found.value))
    return Optimum(
        value=program.scale * found.value,
        state=State(W, H, found.b if problem.bias else None),
        conditions=f"computed; within {within:.1e} of the optimum (duality)",
        source=SOURCES["balls" if program.ball else "ridge"],
        lower_bound=program.scale * found.bound,
    )


SOURCES = {
    "ridge": "the nuclear-norm program of regularised features (F1; Zhu et al. 2021, Hong and Ling 2023)",
    "balls": "the convex relaxation of Fang, He, Long and Su 2021, as a nuclear-norm program (F1)",
}


def _solve(program: ConvexProgram) -> Found:
    start = solve_conic(program)
    if isinstance(program.loss, Hinge):
        return _of_hinge(program, start)
    M, b, best = _without_modes(start.M, SEEN), start.b, None
    for _ in range(ROUNDS):
        M, b = polish(program, M, b, max(1, np.linalg.matrix_rank(M)))
        found = _judged(program, _without_modes(M, NOTHING, program.root.max()), b)
        best = found if best is None or found.bound > best.bound else best
        if found.value - found.bound <= TOLERANCE * abs(found.value):
            break
        M = _grown(program, found)
    assert best is not None
    return best


def _grown(program: ConvexProgram, found: Found) -> Any:
    """M with the modes that are missing: u v' of every singular value of -dL/dM above the price of the norm."""
    fall = -found.slopes * (program.c / program.root)
    U, s, Vt = np.linalg.svd(fall)
    price = np.sum(fall * found.M) / program.T if program.ball else program.lam
    new = s > price * (1 + 1e-10)
    mode, unit = U[:, new] @ Vt[new], max(np.linalg.norm(found.M, 2), program.root.min())

    def longer(t: float) -> Any:
        M = found.M + unit * np.exp(t) * mode
        return M * program.T / np.linalg.norm(M, "nuc") if program.ball else M

    span = (np.log(1e-10), 0.0)
    return longer(minimize_scalar(lambda t: program.value(longer(t), found.b), bounds=span, method="bounded").x)


def _judged(program: ConvexProgram, M: Any, b: Any, slopes: Any = None) -> Found:
    if program.bias and program.lam_b == 0 and not isinstance(program.loss, SquaredError):
        b = b - b.mean()  # these losses do not see a common shift of the logits
    value = program.value(M, b)
    slopes = program.losses(M, b)[1] if slopes is None else slopes
    return Found(M, b, value, min(dual_value(program, slopes), value), slopes)


def _of_hinge(program: ConvexProgram, start: ConicPoint) -> Found:
    """The point of the interior-point method, without the traces that it leaves of modes that are 0."""
    M = _without_modes(start.M, 1e-7)
    norm = float(np.linalg.norm(M, "nuc"))
    return _judged(program, M * min(1.0, program.T / norm) if norm else M, start.b, start.slopes)


def _without_modes(M: Any, part: float, unit: float = 0.0) -> Any:
    """M less its singular values up to this part of the largest, or of ``unit``."""
    U, s, Vt = np.linalg.svd(M)
    return (U * np.where(s > part * max(s[0], unit), s, 0.0)) @ Vt


def _free_minimum(program: ConvexProgram) -> Found | None:
    """The least loss of all logits, where the ball has room for it or nothing is paid for the norm.

    Squared error: X = I, 0. Hinge: X = P = I - J/K, 0. Smoothed cross-entropy: X = q P, q = log((1 - a + a/K)/(a/K)).
    """
    if program.lam > 0:
        return None
    P = np.eye(program.K) - 1 / program.K
    if isinstance(program.loss, SquaredError):
        X = np.eye(program.K)
    elif isinstance(program.loss, Hinge):
        X = P
    elif isinstance(program.loss, CrossEntropy) and program.loss.label_smoothing:
        X = P * np.log(program.targets[0, 0] / program.targets[1, 0])
    else:
        return None
    M, b = X * program.root, np.zeros(program.K)
    value = program.value(M, b)
    return Found(M, b, value, value, None) if np.linalg.norm(M, "nuc") <= program.T else None
