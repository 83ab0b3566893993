"""How far any point of a sphere can be from the global optimum on that sphere: a bound that holds at every point.

On |W|^2 + |H|^2 = rho^2 the logits Z = W H fill the ball |Z|_* <= rho^2/2 of the nuclear norm (its matrices of rank
at most d), and the loss is convex in Z. With G = dL/dZ, its largest singular value sigma_1 and the logits Z* of an
optimum,

    L - L* <= <G, Z - Z*> <= <G, Z> + sigma_1 rho^2/2 = (sigma_1 - lam) rho^2/2,    lam := -2 <G, Z>/rho^2.

lam = -<theta, grad L>/rho^2 is the multiplier of Theorem 3.4: a point is globally optimal as soon as sigma_1 <= lam,
and for d >= K only then; the bound is the duality gap of the Frank-Wolfe method on the ball. It needs neither a
critical point nor equal class sizes nor d >= K - 1 (below which an optimum need not close it), but a loss that is
convex in the logits and not negative.

Everything is in units of L at the point: gap = (L - L*)/L at most, exact past underflow. Where L is 0 in float64 there
is no unit and no gap: a loss that attains 0 is at its optimum, one without logarithm may have underflowed, and the
number 0 does not tell which. No state has a lower loss that float64 can tell from 0.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerpeel.certify.convex_loss import need_convex
from layerpeel.certify.logit_loss import LogitLoss
from layerpeel.certify.singular import top_singular_triple
from layerpeel.certify.sphere import admit_point, tangent
from layerpeel.problem import Problem, State

__all__ = ["GlobalCertificate", "certify_logits", "global_certificate"]

EPS = float(np.finfo(float).eps)
ROUNDINGS = 8
"""How many roundings to a result are allowed for."""


@dataclass(frozen=True, eq=False)
class GlobalCertificate:
    """The bound at one point, in units of its loss L.

    Attributes:
        sigma: sigma_1(G)/L.
        lam: lam/L, the multiplier of the sphere.
        residual: rho |grad L + lam theta|/L, the relative change of L a radian along the sphere; 0 iff critical.
        rho2: |W|^2 + |H|^2.
        log_value: log L.
        gradient: G/L.
        u: the left singular vector of G at sigma_1.
        v: the right one.
        resolution: the part of L that float64 resolves: a rounding of Z moves log L by sigma |Z|_* eps at most.
        gap_resolution: how far rounding each logit moves the gap, about eps |Z|_max sigma rho^2/2.
    """

    sigma: float
    lam: float
    residual: float
    rho2: float
    log_value: float
    gradient: Float[np.ndarray, "K N"]
    u: Float[np.ndarray, "K"]
    v: Float[np.ndarray, "N"]
    resolution: float
    gap_resolution: float

    @property
    def vanishes(self) -> bool:
        """Whether L is 0 in float64, by underflow or in truth, its slopes being 0 too."""
        return self.log_value == -math.inf

    @property
    def gap(self) -> float:
        """(sigma - lam) rho^2/2 >= (L - L*)/L: no state on this sphere has a loss below (1 - gap) L.

        nan where L is 0 in float64, which has no parts.
        """
        return math.nan if self.vanishes else max(0.0, (self.sigma - self.lam) * self.rho2 / 2)

    @property
    def log_lower_bound(self) -> float:
        """log of (1 - gap) L, which is at most log L*; -inf where the gap is 1 or more and so says nothing."""
        return self.log_value + math.log1p(-self.gap) if self.gap < 1 else -math.inf


def global_certificate(problem: Problem, state: State) -> GlobalCertificate:
    """A bound on how far ``state`` is above the least loss on its sphere |W|^2 + |H|^2 = rho^2.

    0 at the optimum for d >= K - 1; invariant to rotations of R^d and to the reduction; valid for a loss convex in the
    logits, any class sizes and any d.

    Raises:
        ValueError: for a problem with a bias, regulariser or constraint, a state that does not fit it, a seed axis,
            theta = 0, or a loss that is negative, not finite or rounded to 0 there.
    """
    return certify_logits(LogitLoss(problem), admit_point(problem, state))


def certify_logits(loss: LogitLoss, state: State) -> GlobalCertificate:
    """:func:`global_certificate` at an admitted state."""
    need_convex(loss.problem.loss)
    Z, rho2 = state.W @ state.H, float(state.squared_norm)
    log_value, gradient = loss.value_and_gradient(Z)
    if not (log_value < np.inf and np.isfinite(gradient).all()):  # nan fails too
        raise ValueError(f"need a loss that is finite and not negative at the state, got log L = {log_value:g}")
    sigma, u, v = top_singular_triple(gradient)
    residual = tangent(state, loss.state_gradient(state, gradient))
    scale = 1 + sigma * rho2 / 2
    return GlobalCertificate(
        sigma=sigma,
        lam=float(-2 * np.vdot(gradient, Z) / rho2) + 0.0,  # never -0
        residual=math.sqrt(rho2 * float(residual.squared_norm)),
        rho2=rho2,
        log_value=log_value,
        gradient=gradient,
        u=u,
        v=v,
        resolution=ROUNDINGS * EPS * (scale + (abs(log_value) if sigma > 0 else 0.0)),
        gap_resolution=ROUNDINGS * EPS * (1 + float(np.abs(Z).max())) * scale,
    )
