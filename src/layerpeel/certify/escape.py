"""Escape: from any point of the sphere |W|^2 + |H|^2 = rho^2 to a strictly lower one, or the proof that there is none.

Theorem 3.4 of Ji et al. 2022 says that for d >= K - 1 every critical point on the sphere is a global optimum or has a
direction of descent. Made constructive: where the certificate (sigma_1 - lam) rho^2/2 of
:mod:`layerpeel.certify.global_certificate` leaves a gap, a direction of
:mod:`layerpeel.certify.escape_directions` is followed along the sphere for as long as the loss falls. Every decrease is
measured, none is inferred from the theorem; what float64 cannot tell from its own rounding is not called a decrease.

Next to an optimum the gap is of first order in the distance and the decrease of second: at a relative distance of 1e-9
and rho^2 = 1e4 the gap is 2e-3 and no decrease is to be seen. There Newton's method goes on to the critical point next
to it, and if the certificate closes there, its bound on the least loss of the sphere is held against the loss here.

For d < K - 1 the theorem is false: with K=4, n=1, d=1, rho^2=200 there is a strict local minimum of L=2.333230 where
another point of the sphere has 1.686211, and with d=2, rho^2=20 one (a square) without a certificate that may be the
optimum. The certificate and the directions hold there too, and the lowest curvature of the Riemannian Hessian is tried
after them; a point may have neither certificate nor escape: then the result says so.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from layerpeel.certify.curvature import curvature
from layerpeel.certify.curve import Curve, downhill_curve, lowest_step
from layerpeel.certify.escape_directions import Case, directions, ignores_shifts
from layerpeel.certify.global_certificate import GlobalCertificate, certify_logits
from layerpeel.certify.logit_loss import LogitLoss
from layerpeel.certify.sphere import admit_point
from layerpeel.certify.sphere_descent import newton_on_sphere
from layerpeel.problem import Problem, State
from layerpeel.problem.options import need_not_negative

__all__ = ["Escape", "escape"]

TOL, LOOSEST = 1e-10, 1e-3
"""The default tolerance, and the most that rounding may make of it."""
UNRESOLVED = "along no direction of Theorem 3.4 does a smooth loss fall by more than the rounding of float64"
ZERO = "the loss is 0 in float64: no state has a lower loss that float64 can tell from 0"
MARGIN = 1e-6
"""A later case of the theorem is preferred to an earlier one only if it goes lower by more than this part."""


@dataclass(frozen=True, eq=False)
class Escape:
    """What was found at a point: a lower state, or that it is optimal, or why neither.

    Attributes:
        state: a state on the same sphere with a strictly lower loss; None where there is none to be seen.
        certificate: the bound on the suboptimality of the point that was left.
        tol: the gap up to which a point is called optimal.
        case: which case of Theorem 3.4 gave the direction, or None.
        direction: the unit tangent vector D that was followed, or None.
        step: s, the way along the great circle, ``state`` = cos(s/rho) theta + rho sin(s/rho) D; 0 without one.
        slope: d log L/ds at s = 0; 0 at a critical point.
        curvature: d^2 log L/ds^2 at s = 0, of the Riemannian Hessian; at a critical point, that of L over L.
        predicted: by how much log L should fall to second order, -(slope s + curvature s^2/2).
        decrease: by how much log L fell.
        reason: why there is no lower state, or nothing.
        neighbour: the certificate of the critical point next to the point, where it closes and was asked for.
    """

    state: State | None
    certificate: GlobalCertificate
    tol: float
    case: Case | None = None
    direction: State | None = None
    step: float = 0.0
    slope: float = 0.0
    curvature: float = 0.0
    predicted: float = 0.0
    decrease: float = 0.0
    reason: str = ""
    neighbour: GlobalCertificate | None = None

    @property
    def optimal(self) -> bool:
        """Whether no state on this sphere has a loss lower by more than the part ``tol``: proved, not guessed.

        False where the loss is 0 in float64: that may be underflow.
        """
        return self.gap <= self.tol

    @property
    def gap(self) -> float:
        """(L - L*)/L is at most this, by the certificate here or that of the neighbour; nan where L is 0 in float64."""
        if self.neighbour is None:
            return self.certificate.gap
        return min(self.certificate.gap, -math.expm1(min(0.0, self.log_lower_bound - self.certificate.log_value)))

    @property
    def log_lower_bound(self) -> float:
        """No state on this sphere has a log L below this, rounding allowed for; -inf where there is no such bound."""
        bounds = [self.certificate.log_lower_bound - self.certificate.resolution]
        if self.neighbour is not None:
            bounds.append(self.neighbour.log_lower_bound - self.neighbour.resolution - self.certificate.resolution)
        return max(bounds)

    @property
    def sigma(self) -> float:
        """sigma_1(G)/L."""
        return self.certificate.sigma

    @property
    def lam(self) -> float:
        """The multiplier of the sphere over L."""
        return self.certificate.lam

    def __str__(self) -> str:
        bound = f"gap {self.gap:.3g} of the loss, sigma_1 = {self.sigma:.6g}, lam = {self.lam:.6g}"
        if self.optimal:
            by = "" if self.neighbour is None else ", by the certificate of the critical point next to it"
            return f"globally optimal on its sphere, to a part {self.tol:g} of the loss{by} ({bound})"
        if self.certificate.vanishes:
            return self.reason
        if self.state is None:
            return f"no lower state found: {self.reason} ({bound})"
        return (
            f"a lower state by {self.case}: log L falls by {self.decrease:.6g} "
            f"(to second order {self.predicted:.6g}) in a step of {self.step:.3g} ({bound})"
        )


def escape(problem: Problem, state: State, *, tol: float | None = None) -> Escape:
    """A strictly lower state on the sphere of ``state``, or the certificate that ``state`` is optimal there.

    ``print`` of the result says which. For d >= K - 1 one or the other is found, up to the resolution of float64, for
    any class sizes and any loss that is smooth and convex in the logits and not negative. Of all directions that apply
    the one that goes lowest is taken, so that no threshold decides what is critical.

    Args:
        problem: one without bias, regulariser and constraint.
        state: any state but 0.
        tol: the part of the loss by which an optimal point may exceed the optimum; if not given, 1e-10 or what rounding
            the logits does to the gap (some 1e-9 at rho^2 = 1e4), whichever is larger. The result states it.

    Raises:
        ValueError: for another problem, a state that does not fit it, a seed axis, theta = 0, a tol that is not
            finite or < 0, or a loss that is negative, not finite or rounded to 0 at the state.
    """
    loss, state = LogitLoss(problem), admit_point(problem, state)
    certificate = certify_logits(loss, state)
    tol = _tolerance(certificate, tol)
    if certificate.vanishes:
        return Escape(None, certificate, tol, reason=ZERO)
    if certificate.gap <= tol:
        return Escape(None, certificate, tol, reason="it is optimal")
    best = _lowest(loss, certificate, state, tol, directions(loss, certificate, state))
    if best.state is None:
        best = _beside(loss, best, state)
    enough = problem.K - 1 if ignores_shifts(certificate.gradient) else problem.K
    if best.state is not None or best.neighbour is not None or problem.d >= enough:
        return best
    found = curvature(problem, state, method="lanczos", transversal=False, tolerance=1e-4)
    steepest = _lowest(loss, certificate, state, tol, [(Case.CURVATURE, found.direction)])
    return steepest if steepest.state is not None else replace(best, reason=_too_few(problem, enough, found.relative))


def _tolerance(certificate: GlobalCertificate, tol: Any) -> float:
    """The gap up to which a point is called optimal: ``tol``, or the default."""
    if tol is None:
        return max(TOL, min(certificate.gap_resolution, LOOSEST))
    return need_not_negative("tol", tol)


def _lowest(
    loss: LogitLoss,
    certificate: GlobalCertificate,
    state: State,
    tol: float,
    candidates: Iterable[tuple[Case, State]],
) -> Escape:
    """The escape that goes lowest; without a state and with the reason if none goes down."""
    best = Escape(None, certificate, tol, reason=UNRESOLVED)
    for case, direction in candidates:
        found = _along(loss, certificate, tol, case, downhill_curve(loss, certificate, state, direction))
        if found is not None and found.decrease > best.decrease * (1 + MARGIN):
            best = found
    return best


def _along(
    loss: LogitLoss, certificate: GlobalCertificate, tol: float, case: Case, curve: Curve | None
) -> Escape | None:
    """The escape along one curve, if the loss of the state itself has been seen to fall."""
    step = None if curve is None else lowest_step(loss, curve, certificate)
    if curve is None or step is None:
        return None
    state = curve.state(step)
    decrease = certificate.log_value - loss.value(state.W @ state.H)
    if not decrease > certificate.resolution:
        return None
    return Escape(
        state=state,
        certificate=certificate,
        tol=tol,
        case=case,
        direction=curve.direction,
        step=step,
        slope=curve.slope,
        curvature=curve.curvature,
        predicted=curve.predicted(step),
        decrease=decrease,
    )


def _beside(loss: LogitLoss, found: Escape, state: State) -> Escape:
    """``found`` with the certificate of the critical point next to ``state``, if it closes there."""
    neighbour = certify_logits(loss, newton_on_sphere(loss, state))
    if not neighbour.gap <= max(found.tol, _tolerance(neighbour, None)):
        return found
    bounded = replace(found, neighbour=neighbour)
    words = f"the critical point next to it is certified, and its loss is within a part {bounded.gap:.3g} of the least"
    return replace(bounded, reason=f"it is optimal: {words}" if bounded.optimal else f"{UNRESOLVED}; {words}")


def _too_few(problem: Problem, enough: int, lowest: float) -> str:
    name = "K-1" if enough < problem.K else "K"
    return (
        f"neither its gradient nor its lowest curvature, {lowest:.2g}, goes down by more than the rounding of float64, "
        f"and for d = {problem.d} < {name} = {enough} Theorem 3.4 does not hold: this may be a local minimum, or the "
        "optimum without a certificate"
    )
