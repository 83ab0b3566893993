"""Escape in a ridge problem: from any point to a strictly lower one, or the proof that there is none.

F = L(W H + b 1') + lam_W/2 |W|^2 + lam_H/2 |H|^2 + lam_b/2 |b|^2, lam = sqrt(lam_W lam_H), G = dL/dZ = sum sigma_i u_i
v_i'. At a critical point G H' = -lam_W W and W' G = -lam_H H, so that lam_W W'W = lam_H HH' and W, H' have the same
null vectors; it is globally optimal iff sigma_1 <= lam (:mod:`layerpeel.certify.duality`). Otherwise, with a unit a,
W a = 0 and H' a = 0, and alpha^4 = lam_H/lam_W,

    dW = alpha u_1 a',  dH = -a v_1'/alpha:    W H moves by exactly -s^2 u_1 v_1', the ridge by lam s^2, F by
                                               -(sigma_1 - lam) s^2 + O(s^4).

So it is a strict saddle, of curvature -2 (sigma_1 - lam)/(alpha^2 + alpha^-2) or less (Zhu et al. 2021). Such an a
exists for d >= K; for d = K - 1 if the loss ignores shifts of the logits: then 1'W = 0 at a critical point, and one
of rank K - 1 has all singular values of G but one equal to lam and that one 0, hence is optimal. W = H = 0 is no
exception.

Points that are not critical are left along minus the gradient, or along that direction with the a that is nearest to
null; the one that goes lower is taken, and no decrease is believed before it has been measured. Where neither helps
(d too small), the lowest curvature of the plain Hessian is tried; then the result says that nothing was found.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from layerpeel.certify.duality import TOL, DualityGap, duality_gap
from layerpeel.certify.flat_objective import FlatObjective
from layerpeel.certify.line import Line, downhill_line, lowest_point
from layerpeel.certify.lowest_curvature import lowest_eigenpair
from layerpeel.certify.singular import top_singular_triple
from layerpeel.certify.spectrum import Lanczos
from layerpeel.problem import Problem, Ridge, State
from layerpeel.problem.boundary import admit
from layerpeel.problem.problem import need_problem

__all__ = ["RidgeCase", "RidgeEscape", "ridge_escape"]

MARGIN = 1e-6
"""A later direction is preferred to an earlier one only if it goes lower by more than this part."""
SHIFTS = 1e-8
"""1'G below this part of G counts as 0."""


class RidgeCase(enum.Enum):
    """What gave a direction, as a sentence."""

    GRADIENT = "the gradient"
    NULL_VECTOR = "the top singular pair of G through a common null vector of W and H'"
    CURVATURE = "the lowest curvature of the Hessian"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, eq=False)
class RidgeEscape:
    """What was found at a point: a lower state, or that it is optimal, or why neither.

    Attributes:
        state: a state with a strictly lower objective; None where there is none to be seen.
        certificate: the duality gap of the point that was left.
        case: what gave the direction, or None.
        line: the straight line that was followed, with slope and curvature, or None.
        step: s, the way along it; 0 without one.
        predicted: by how much F should fall to second order.
        decrease: by how much F fell.
        reason: why there is no lower state, or nothing.
    """

    state: State | None
    certificate: DualityGap
    case: RidgeCase | None = None
    line: Line | None = None
    step: float = 0.0
    predicted: float = 0.0
    decrease: float = 0.0
    reason: str = ""

    @property
    def optimal(self) -> bool:
        """Whether the point is globally optimal to the part ``tol`` of its objective: proved, not guessed."""
        return self.certificate.optimal

    @property
    def gap(self) -> float:
        """F - F* is at most this."""
        return self.certificate.gap

    def __str__(self) -> str:
        if self.state is not None:
            return (
                f"a lower state by {self.case}: the objective falls by {self.decrease:.6g} (to second order "
                f"{self.predicted:.6g}) in a step of {self.step:.3g} ({self.certificate})"
            )
        return str(self.certificate) if self.optimal else f"no lower state found: {self.reason} ({self.certificate})"


def ridge_escape(problem: Problem, state: State, *, tol: float | None = None) -> RidgeEscape:
    """A strictly lower state, or the certificate that ``state`` is globally optimal.

    For d >= K, and d >= K - 1 where the loss ignores shifts of the logits (cross-entropy), one or the other is found,
    up to the resolution of float64, for any class sizes and any smooth convex loss.

    Args:
        problem: a ridge of positive weights on W and H, any bias, no constraint.
        state: any state, 0 included.
        tol: the part of the objective by which an optimal point may exceed the optimum; 1e-10 if not given.

    Raises:
        ValueError: for another problem, a loss that is not convex, a state that does not fit or is too large, a seed
            axis, or a tol that is not finite or < 0.
    """
    ridge = _admit_ridge(problem)
    with threadpool_limits(limits=1, user_api="blas"):
        certificate = duality_gap(problem, state, tol=TOL if tol is None else tol)
        state = admit(problem, state)
        if certificate.optimal:
            return RidgeEscape(None, certificate, reason="it is optimal")
        objective = FlatObjective(problem)
        best = _lowest(objective, certificate, state, _directions(objective, ridge, certificate, state))
        enough, name = _enough(problem, certificate)
        if best.state is not None or problem.d >= enough:
            return best
        found = lowest_eigenpair(objective, state, Lanczos(1e-4, 5000))
        reason = _too_few(problem, enough, name, found.eigenvalue)
        return _lowest(objective, certificate, state, iter([(RidgeCase.CURVATURE, found.direction)]), reason)


def _admit_ridge(problem: Problem) -> Ridge:
    need_problem(problem)
    ridge = problem.regulariser
    if not isinstance(ridge, Ridge) or not (float(ridge.lam_W) > 0 and float(ridge.lam_H) > 0):
        raise ValueError(f"need a layerpeel.Ridge with lam_W > 0 and lam_H > 0 to escape in, got {ridge!r}")
    if problem.constraint is not None:
        raise ValueError(f"need a ridge problem without a constraint to escape in, got {problem.constraint!r}")
    return ridge


def _directions(
    objective: FlatObjective, ridge: Ridge, certificate: DualityGap, state: State
) -> Iterator[tuple[RidgeCase, State]]:
    """Minus the gradient, and the direction of the construction; neither of length 1, the sign open."""
    yield RidgeCase.GRADIENT, objective.state(objective.value_and_gradient(objective.vector(state))[1])
    _, u, v = top_singular_triple(certificate.gradient)
    weights = np.sqrt(float(ridge.lam_W)), np.sqrt(float(ridge.lam_H))
    stacked = np.vstack([weights[0] * state.W, weights[1] * state.H.T])
    a = np.linalg.eigh(stacked.T @ stacked)[1][:, 0]
    alpha = np.sqrt(weights[1] / weights[0])
    b = None if state.b is None else np.zeros_like(state.b)
    yield RidgeCase.NULL_VECTOR, State(alpha * np.outer(u, a), -np.outer(a, v) / alpha, b)


def _lowest(
    objective: FlatObjective,
    certificate: DualityGap,
    state: State,
    candidates: Iterator[tuple[RidgeCase, State]],
    reason: str = "along no direction does a smooth objective fall by more than the rounding of float64",
) -> RidgeEscape:
    """The escape that goes lowest; without a state and with the reason if none goes down."""
    best = RidgeEscape(None, certificate, reason=reason)
    for case, direction in candidates:
        found = _along(objective, certificate, case, downhill_line(objective, state, direction))
        if found is not None and found.decrease > best.decrease * (1 + MARGIN):
            best = found
    return best


def _along(objective: FlatObjective, certificate: DualityGap, case: RidgeCase, line: Line | None) -> RidgeEscape | None:
    if line is None:
        return None
    step = lowest_point(objective, line, value=certificate.value, resolution=certificate.resolution)
    if step is None:
        return None
    state = line.state(step)
    decrease = certificate.value - objective.value(state)
    return RidgeEscape(state, certificate, case, line, step, line.predicted(step), decrease)


def _enough(problem: Problem, certificate: DualityGap) -> tuple[int, str]:
    """The d from which the construction covers every critical point, and its name."""
    G = certificate.gradient
    ignores_shifts = np.abs(G.sum(axis=0)).max() <= SHIFTS * np.abs(G).max()
    return (problem.K - 1, "K-1") if ignores_shifts else (problem.K, "K")


def _too_few(problem: Problem, enough: int, name: str, lowest: float) -> str:
    return (
        f"neither its gradient nor its lowest curvature, {lowest:.2g}, goes down by more than the rounding of float64, "
        f"and for d = {problem.d} < {name} = {enough} a critical point may be a local minimum, or the optimum without "
        "a certificate"
    )
